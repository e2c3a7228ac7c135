#![doc = include_str!("docs.md")]

mod admin;
mod codec;
mod config;
mod control;
mod conversations;
mod driver;
#[cfg(feature = "entities")]
pub mod entities;
mod error;
mod indexing;
mod pool;
mod server;
mod store;
mod vectors;
mod working;

pub use self::config::url_from_environment;
pub use self::driver::{SCHEMES, driver};
