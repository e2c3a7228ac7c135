//! Models: embedders, text in, vectors out; and chat models, a chat in, text or JSON out.
//!
//! Each is one module and one type that implements [`memquill_core::Embedder`] or
//! [`memquill_core::ChatModel`]. What needs a model or a service stands behind a cargo feature of
//! its own; [`HashingEmbedder`] needs neither and is always there. How a model is to work is plain
//! data, there whatever the features: [`FastembedConfig`], [`OpenAiConfig`], [`OpenAiChatConfig`].
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "cache")]
mod caching;
mod config;
#[cfg(any(feature = "fastembed", feature = "openai"))]
mod families;
#[cfg(feature = "fastembed")]
mod fastembed;
mod hashing;
#[cfg(feature = "openai")]
mod openai;
#[cfg(any(feature = "fastembed", feature = "openai"))]
mod profile;

#[cfg(feature = "cache")]
pub use self::caching::CachingEmbedder;
pub use self::config::{FastembedConfig, JsonOutput, OpenAiChatConfig, OpenAiConfig, Pooling};
#[cfg(feature = "fastembed")]
pub use self::fastembed::{FastembedEmbedder, models_folder};
pub use self::hashing::HashingEmbedder;
#[cfg(feature = "openai")]
pub use self::openai::{OpenAiChat, OpenAiEmbedder};
