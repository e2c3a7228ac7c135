//! Vectors (section V, and G for records), by example and under concurrency.

mod concurrency;
mod deleting;
mod expiry;
mod filters;
mod identity;
mod language;
mod ranking;
mod reading;
mod rebinding;
mod restoring;
mod similarity;
mod space;
pub(crate) mod support;
mod text;
mod values;

use crate::scenario::Scenario;

pub(crate) fn all() -> Vec<Scenario> {
    [
        identity::ALL,
        space::ALL,
        similarity::ALL,
        filters::ALL,
        language::ALL,
        text::ALL,
        ranking::ALL,
        expiry::ALL,
        deleting::ALL,
        reading::ALL,
        rebinding::ALL,
        restoring::ALL,
        values::ALL,
        concurrency::ALL,
    ]
    .concat()
}
