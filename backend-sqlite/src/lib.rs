#![doc = include_str!("docs.md")]

mod admin;
mod codec;
mod config;
mod control;
mod conversations;
mod driver;
mod error;
mod functions;
mod location;
mod schema;
mod store;
mod vectors;
mod working;

use std::sync::Arc;

use memquill_core::{Clock, Driver, SystemClock};

const NAME: &str = "sqlite";

/// The URL schemes that the driver answers to.
pub const SCHEMES: &[&str] = &["sqlite"];

/// Returns the driver, to be given to a registry.
pub fn driver() -> Arc<dyn Driver> {
    driver_with_clock(Arc::new(SystemClock))
}

/// Returns a driver whose stores take their time from `clock`, as a test may want.
pub fn driver_with_clock(clock: Arc<dyn Clock>) -> Arc<dyn Driver> {
    Arc::new(driver::SqliteDriver { clock })
}
