//! The best of many.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A record that a search found. The greater of two is the worse (V6).
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) score: f64,
    pub(super) id: &'a str,
    pub(super) row: usize,
    pub(super) similarity: Option<f32>,
}

impl Ord for Found<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then_with(|| self.id.cmp(other.id))
    }
}

impl PartialOrd for Found<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Found<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Found<'_> {}

/// Keeps the best of what it is offered, up to a number.
#[derive(Debug)]
pub(super) struct Top<'a> {
    limit: usize,
    heap: BinaryHeap<Found<'a>>,
}

impl<'a> Top<'a> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, heap: BinaryHeap::new() }
    }

    /// The score below which nothing is taken any more.
    pub(super) fn floor(&self) -> Option<f64> {
        self.worst().map(|worst| worst.score)
    }

    pub(super) fn would_take(&self, found: &Found<'_>) -> bool {
        self.worst().is_none_or(|worst| found < worst)
    }

    pub(super) fn offer(&mut self, found: Found<'a>) {
        if self.would_take(&found) {
            if self.heap.len() == self.limit {
                self.heap.pop();
            }
            self.heap.push(found);
        }
    }

    /// What was kept, best first.
    pub(super) fn into_sorted(self) -> Vec<Found<'a>> {
        self.heap.into_sorted_vec()
    }

    /// The worst of those kept, once there is no more room.
    fn worst(&self) -> Option<&Found<'a>> {
        self.heap.peek().filter(|_| self.heap.len() == self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v6_the_best_are_kept_and_ties_go_by_id() {
        let mut top = Top::new(3);
        for (score, id) in [(0.5, "d"), (0.1, "a"), (0.9, "e"), (0.5, "c"), (0.5, "b")] {
            top.offer(Found { score, id, row: 0, similarity: None });
        }
        assert_eq!(top.floor(), Some(0.5));
        let ids: Vec<_> = top.into_sorted().iter().map(|found| found.id).collect();
        assert_eq!(ids, ["e", "b", "c"]);
    }
}
