#![doc = include_str!("docs.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod admin;
mod bindings;
mod codec;
mod config;
mod control;
mod driver;
#[cfg(feature = "edge")]
#[doc(hidden)]
pub mod edge;
mod error;
mod facts;
mod filter;
mod grpc;
mod layout;
mod store;
mod transport;
mod vectors;

pub use self::driver::{SCHEMES, driver};
