//! Conversations (section C).

mod concurrency;
mod numbering;
mod reading;
mod retention;
mod retry;
mod statistics;

use crate::scenario::Scenario;

pub(crate) fn all() -> Vec<Scenario> {
    [numbering::ALL, retry::ALL, retention::ALL, reading::ALL, statistics::ALL, concurrency::ALL]
        .concat()
}
