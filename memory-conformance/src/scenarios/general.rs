//! What holds for every facet (section G), on those that the backend offers.

mod admin;
mod cancellation;
mod closing;
mod durability;
mod erasure;
mod features;
mod health;
mod identifiers;
mod isolation;
mod limits;
mod pages;
mod refusals;
mod time;
mod traces;
mod values;

pub(crate) use self::traces::{plant, reads};
use crate::scenario::Scenario;

pub(crate) fn all() -> Vec<Scenario> {
    [
        isolation::ALL,
        identifiers::ALL,
        values::ALL,
        limits::ALL,
        durability::ALL,
        closing::ALL,
        time::ALL,
        cancellation::ALL,
        features::ALL,
        pages::ALL,
        refusals::ALL,
        erasure::ALL,
        admin::ALL,
        health::ALL,
    ]
    .concat()
}
