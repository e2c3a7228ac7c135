//! Removing the newest messages (C14).

use memquill_core::{Pop, Result, Role, StoredMessage, Truncate, conflict};

use super::Conversation;

impl Conversation {
    /// Refuses a removal whose condition fails (C14).
    fn check_newest(&self, conversation: &str, wanted: Option<u64>) -> Result<()> {
        let newest = self.newest().map_or(0, |message| message.seq);
        match wanted {
            Some(wanted) if wanted != newest => Err(conflict::newer_message(conversation, newest)),
            _ => Ok(()),
        }
    }

    pub(super) fn truncate(&mut self, request: &Truncate) -> Result<u64> {
        self.check_newest(&request.conversation, request.if_newest_seq)?;
        let held = self.figures.message_count;
        while self.pop_newest(request.after_seq).is_some() {}
        if request.after_seq < self.figures.last_seq {
            self.figures.lineage = self.figures.lineage.truncated(request.after_seq);
        }
        Ok(held - self.figures.message_count)
    }

    pub(super) fn pop(&mut self, request: &Pop) -> Result<Vec<StoredMessage>> {
        self.check_newest(&request.conversation, request.if_newest_seq)?;
        let mut popped: Vec<StoredMessage> =
            std::iter::from_fn(|| self.pop_newest(0)).take(request.count).collect();
        popped.reverse();
        if let Some(first) = popped.first() {
            self.figures.lineage = self.figures.lineage.truncated(first.seq - 1);
        }
        Ok(popped)
    }

    /// Removes the newest message behind `seq`.
    fn pop_newest(&mut self, seq: u64) -> Option<StoredMessage> {
        let newest = self.newest().filter(|newest| newest.seq > seq)?;
        let run =
            if newest.message.role == Role::System { &mut self.system } else { &mut self.others };
        let gone = run.pop_newest()?;
        let stored = gone.stored.clone();
        self.drop_message(gone);
        Some(stored)
    }
}
