//! The memory kinds of core, on this driver (contract, section M).
#![expect(clippy::unwrap_used, reason = "helpers of tests, which clippy does not take for tests")]

mod any_input;
mod conversation_buffer;
mod conversation_summary;
mod searching;
mod support;
mod vector_database;
mod windows;
mod working_memory;
