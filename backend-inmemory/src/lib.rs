#![doc = include_str!("docs.md")]

mod admin;
mod config;
mod control;
mod conversations;
mod driver;
mod store;
mod vectors;
mod working;

pub use self::driver::{InMemory, driver};

const NAME: &str = "inmemory";

/// The URL schemes that the driver answers to.
pub const SCHEMES: &[&str] = &["memory", "inmemory"];
