//! The cache: what one process sees, and what another one does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod interleavings;
mod processes;
#[path = "../support/shared.rs"]
mod shared;
