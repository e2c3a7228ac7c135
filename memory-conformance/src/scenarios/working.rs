//! Working memory (section W).

mod concurrency;
mod conditions;
mod counters;
mod expiry;
mod listing;
mod many;
mod restoring;
mod sliding;
mod values;

use crate::scenario::Scenario;

pub(crate) fn all() -> Vec<Scenario> {
    [
        values::ALL,
        expiry::ALL,
        conditions::ALL,
        sliding::ALL,
        listing::ALL,
        counters::ALL,
        many::ALL,
        restoring::ALL,
        concurrency::ALL,
    ]
    .concat()
}
