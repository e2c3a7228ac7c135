//! Stores to test on: where they come from, and how they end.
#![allow(dead_code, reason = "no test uses all of it")]

pub(crate) mod certificates;
pub(crate) mod fixture;
pub(crate) mod place;
pub(crate) mod strict;
