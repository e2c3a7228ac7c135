//! Conversations (section C).

mod concurrency;
mod cost;
mod listing;
mod numbering;
mod reading;
mod restoring;
mod retention;
mod retry;
mod statistics;
mod truncating;

use crate::scenario::Scenario;

pub(crate) fn all() -> Vec<Scenario> {
    [
        numbering::ALL,
        retry::ALL,
        retention::ALL,
        reading::ALL,
        statistics::ALL,
        listing::ALL,
        restoring::ALL,
        truncating::ALL,
        concurrency::ALL,
        cost::ALL,
    ]
    .concat()
}
