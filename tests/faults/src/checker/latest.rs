//! What had been seen by when.

/// Values, each known since some time: answers the greatest known before a time.
#[derive(Debug, Default)]
pub(super) struct Latest {
    /// Ascending by time, and each with the greatest value up to then.
    known: Vec<(u64, i64)>,
}

impl FromIterator<(u64, i64)> for Latest {
    fn from_iter<I: IntoIterator<Item = (u64, i64)>>(values: I) -> Self {
        let mut known: Vec<_> = values.into_iter().collect();
        known.sort_unstable();
        let mut greatest = i64::MIN;
        for (_, value) in &mut known {
            greatest = greatest.max(*value);
            *value = greatest;
        }
        Self { known }
    }
}

impl Latest {
    /// The greatest value that was known before `time`.
    pub(super) fn before(&self, time: u64) -> Option<i64> {
        let count = self.known.partition_point(|(known, _)| *known < time);
        count.checked_sub(1).map(|last| self.known[last].1)
    }
}
