//! Embedders: text in, vectors out.
//!
//! Each is one module and one type that implements [`memory_core::Embedder`]. What needs a model
//! or a service stands behind a cargo feature of its own; [`HashingEmbedder`] needs neither and is
//! always there. Which embedder is meant and how it is to work is plain data, there whatever the
//! features: [`FastembedConfig`].

mod config;
#[cfg(feature = "fastembed")]
mod fastembed;
mod hashing;

pub use self::config::{FastembedConfig, Pooling};
#[cfg(feature = "fastembed")]
pub use self::fastembed::{FastembedEmbedder, models_folder};
pub use self::hashing::HashingEmbedder;
