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
mod functions;
mod location;
mod schema;
mod store;
mod vectors;
mod working;

pub use self::driver::{SCHEMES, driver, driver_with_clock};
