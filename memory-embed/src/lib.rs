//! Embedders: text in, vectors out.
//!
//! Each is one module and one type that implements [`memory_core::Embedder`]. What needs a model
//! or a service stands behind a cargo feature of its own; [`HashingEmbedder`] needs neither and is
//! always there.

mod hashing;

pub use self::hashing::HashingEmbedder;
