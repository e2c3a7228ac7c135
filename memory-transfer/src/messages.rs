//! A conversation's messages, oldest first and a part at a time, whatever holes retention left.

use memquill_core::{ConversationStore, ReadMessages, Result, Scope, StoredMessage};

/// One conversation to read.
pub(crate) struct Reading<'a> {
    pub(crate) store: &'a dyn ConversationStore,
    pub(crate) scope: &'a Scope,
    pub(crate) conversation: &'a str,
    /// Nothing behind this number is read.
    pub(crate) last_seq: u64,
}

impl Reading<'_> {
    /// The next messages behind `after`, from up to `span` numbers; none at the end.
    pub(crate) async fn next(&self, after: u64, span: u64) -> Result<Vec<StoredMessage>> {
        let mut low = after;
        while low < self.last_seq {
            let high = self.last_seq.min(low.saturating_add(span));
            let messages = self.between(low, high, usize::try_from(span).unwrap_or(1)).await?;
            if !messages.is_empty() {
                return Ok(messages);
            }
            low = self.gap_ends(high, span).await?;
        }
        Ok(Vec::new())
    }

    /// The highest number known to have no message between itself and `low`: found by doubling and
    /// halving, so that a wide gap costs few reads.
    async fn gap_ends(&self, mut low: u64, span: u64) -> Result<u64> {
        let mut step = span.saturating_mul(2);
        let mut high = low;
        while high < self.last_seq {
            high = self.last_seq.min(low.saturating_add(step));
            if !self.between(low, high, 1).await?.is_empty() {
                break;
            }
            low = high;
            step = step.saturating_mul(2);
        }
        while high - low > span {
            let middle = low + (high - low) / 2;
            if self.between(low, middle, 1).await?.is_empty() {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The newest `limit` messages of numbers greater than `low` and up to `high`.
    async fn between(&self, low: u64, high: u64, limit: usize) -> Result<Vec<StoredMessage>> {
        let request = ReadMessages {
            limit: Some(limit),
            after_seq: Some(low),
            before_seq: Some(high.saturating_add(1)),
            ..ReadMessages::all(self.conversation)
        };
        Ok(self.store.read(self.scope, &request).await?.messages)
    }
}
