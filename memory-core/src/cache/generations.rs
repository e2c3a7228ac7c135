//! What may be kept, and how long it holds.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::time::Timestamp;

/// Counters of writers, each shared by many items by their hash. What was read while no writer was at
/// work on a stripe is valid until the next one begins.
#[derive(Debug)]
pub(super) struct GenerationStripes {
    stripes: Box<[Mutex<Stripe>]>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Stripe {
    /// How many writers have come.
    generation: u64,
    /// How many are inside.
    writers: u32,
    /// Until when nothing holds: a writer left, and nobody knows what it did or is yet to do.
    closed_until: Option<Timestamp>,
}

/// One stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At(usize);

/// A generation in which no writer is inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Generation(u64);

impl Generation {
    /// Whether this one came directly after `other`.
    pub(super) fn follows(self, other: Self) -> bool {
        self.0 == other.0 + 1
    }
}

impl GenerationStripes {
    pub(super) fn new(count: usize) -> Self {
        Self {
            stripes: (0..count.max(1)).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    pub(super) fn at(&self, item: impl Hash) -> At {
        let count = self.stripes.len() as u64;
        At(usize::try_from(self.hasher.hash_one(item) % count).unwrap_or_default())
    }

    /// The generation, unless a writer is inside or may be.
    pub(super) fn generation(&self, at: At, now: Timestamp) -> Option<Generation> {
        let mut stripe = self.lock(at);
        if stripe.closed_until.is_some_and(|until| now >= until) {
            stripe.closed_until = None;
        }
        (stripe.writers == 0 && stripe.closed_until.is_none())
            .then_some(Generation(stripe.generation))
    }

    /// A writer comes: nothing holds any longer that was read before. Gives the generation that it
    /// begins, if no other writer is inside: while that stays, it is alone.
    pub(super) fn enter(&self, at: At) -> Option<Generation> {
        let mut stripe = self.lock(at);
        stripe.generation += 1;
        stripe.writers += 1;
        (stripe.writers == 1).then_some(Generation(stripe.generation))
    }

    /// A writer leaves; with `closed_until` where nobody knows what it did.
    pub(super) fn leave(&self, at: At, closed_until: Option<Timestamp>) {
        let mut stripe = self.lock(at);
        stripe.writers = stripe.writers.saturating_sub(1);
        stripe.closed_until = stripe.closed_until.max(closed_until);
    }

    fn lock(&self, At(at): At) -> MutexGuard<'_, Stripe> {
        self.stripes[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
