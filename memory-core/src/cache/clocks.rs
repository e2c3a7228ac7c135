//! Time: this process's, and what is known of the store's.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::time::{Clock, SystemClock, Timestamp};

/// A clock that nobody sets back.
#[derive(Debug)]
pub(super) struct MonotonicClock {
    start: Timestamp,
    since: Instant,
}

impl MonotonicClock {
    pub(super) fn new() -> Self {
        Self { start: SystemClock.now(), since: Instant::now() }
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Timestamp {
        let millis = i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX);
        let now = self.start.as_millis().saturating_add(millis);
        Timestamp::from_millis(now).unwrap_or(Timestamp::MAX)
    }
}

/// The latest time that it can be by the store's clock (G8), from its answers to writes.
#[derive(Debug, Default)]
pub(super) struct StoreTime(Mutex<Option<Seen>>);

/// A time that the store reported, and a moment before that by this process's clock.
#[derive(Debug, Clone, Copy)]
struct Seen {
    reported: Timestamp,
    before: Timestamp,
}

/// What the rounding of two clocks to milliseconds can hide.
const ROUNDING_MS: i64 = 2;

/// The store's clock is taken to run at most so much faster than this process's: by a thousandth.
const DRIFT: i64 = 1_000;

impl StoreTime {
    /// Records the time that the store reported in the answer to a call that began at `before`.
    pub(super) fn reported(&self, reported: Timestamp, before: Timestamp) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Some(Seen { reported, before });
    }

    /// Whether `moment` has surely not come yet by the store's clock, at `now` of this process's.
    pub(super) fn surely_before(&self, moment: Timestamp, now: Timestamp) -> bool {
        let seen = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.is_some_and(|Seen { reported, before }| {
            let passed = now.as_millis().saturating_sub(before.as_millis()).max(0);
            let latest = reported.as_millis() + passed + passed / DRIFT + ROUNDING_MS;
            moment.as_millis() > latest
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    #[test]
    fn w2_nothing_is_sure_before_the_store_told_its_time() {
        let time = StoreTime::default();
        assert!(!time.surely_before(Timestamp::MAX, at(0)));
        // The store's clock is 5 s slow.
        time.reported(at(95_000), at(100_000));
        assert!(time.surely_before(at(96_000), at(100_900)));
        assert!(!time.surely_before(at(96_000), at(101_000)));
        // After 1,000 s a thousandth of drift is allowed for.
        assert!(!time.surely_before(at(1_096_000), at(1_100_500)));
        assert!(time.surely_before(at(1_096_000), at(1_099_500)));
    }
}
