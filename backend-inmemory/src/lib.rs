#![doc = include_str!("docs.md")]

mod admin;
mod config;
mod control;
mod conversations;
mod driver;
mod store;
mod vectors;
mod working;

pub use self::driver::{InMemory, SCHEMES, driver};
