//! The fault suite: a store is broken while several workers are at work on it, healed, and then
//! everything that was asked and answered is checked against what is there (contract: G1, G5 to
//! G8, C1, C3, W2, W3, W6, V12).
//!
//! A [`Workload`] does seeded random operations through a [`Memory`](memquill::Memory) and puts
//! each into a [`History`]; the [`Proxy`] breaks the network at a chosen phase of a request; and
//! [`check`] says which promises the history shows broken. `tests/main.rs` has the stores, the
//! faults, and a test for each pair of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "this is a test: it fails by panicking"
)]

mod checker;
mod found;
mod history;
mod operation;
mod perform;
mod plan;
mod proxy;
mod witness;
mod workload;

pub use self::checker::{Expected, check};
pub use self::found::Found;
pub use self::history::{Event, History, Outcome};
pub use self::operation::{Answer, Condition, Operation, Seen, Tag, scope, scopes};
pub use self::proxy::{Phase, Proxy, Trouble};
pub use self::witness::Witness;
pub use self::workload::{Running, Workload};
