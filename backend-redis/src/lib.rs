#![doc = include_str!("docs.md")]

mod admin;
mod cache;
mod cluster;
mod codec;
mod config;
mod connection;
mod control;
mod conversations;
mod driver;
mod error;
mod keys;
mod node;
mod probe;
mod registry;
mod rights;
mod schema;
mod server;
mod store;
mod working;

pub use self::driver::{SCHEMES, driver};
