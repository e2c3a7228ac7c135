//! A naive model of a store, scanning lists and obviously right: what properties compare drivers
//! with.
//!
//! The contract leaves two things to the store: what time it is, and which numbers versions are.
//! The model takes both from the driver's answers, so that all else can be compared for equality.

mod conversations;
#[cfg(test)]
mod tests;
mod vectors;
mod working;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use memquill_core::{Clock, ManualClock, Timestamp};

pub(crate) use self::conversations::Conversations;
pub(crate) use self::vectors::{Vectors, relevance};
pub(crate) use self::working::Working;

/// Moves the clock to `moment`, unless it is past that already.
pub(crate) fn follow(clock: &ManualClock, moment: Timestamp) {
    let ahead = moment.as_millis() - clock.now().as_millis();
    clock.advance(Duration::from_millis(u64::try_from(ahead).unwrap_or(0)));
}

/// Whether something that expires then, if ever, is still there.
fn is_live(expires_at: Option<Timestamp>, now: Timestamp) -> bool {
    expires_at.is_none_or(|expires_at| now < expires_at)
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lists the items after a page's position, one more than fit, in the order of their names.
fn next_items<T: Clone>(
    mut all: Vec<T>,
    position: Option<String>,
    limit: usize,
    name: impl Fn(&T) -> &str,
) -> Vec<T> {
    all.sort_by(|a, b| name(a).cmp(name(b)));
    let is_next = |item: &T| position.as_deref().is_none_or(|position| name(item) > position);
    all.into_iter().filter(is_next).take(limit + 1).collect()
}
