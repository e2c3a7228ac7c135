//! Taking back what was said (contract, C14).

/// Removes all messages behind a number (C14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncate {
    /// The conversation.
    pub conversation: String,
    /// The number behind which nothing stays; 0 to remove all.
    pub after_seq: u64,
    /// Only if this is the number of the newest message held, else `Conflict`; 0 if none is held.
    pub if_newest_seq: Option<u64>,
}

impl Truncate {
    /// Removes what `conversation` holds behind the number `after_seq`.
    pub fn new(conversation: impl Into<String>, after_seq: u64) -> Self {
        Self { conversation: conversation.into(), after_seq, if_newest_seq: None }
    }

    /// Removes only if the newest message held has this number.
    #[must_use]
    pub fn if_newest_seq(mut self, seq: u64) -> Self {
        self.if_newest_seq = Some(seq);
        self
    }
}

/// Removes the newest messages and returns them (C14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pop {
    /// The conversation.
    pub conversation: String,
    /// The most messages to remove, 1 to 1,000.
    pub count: usize,
    /// As in [`Truncate`]; it makes a repeated pop safe.
    pub if_newest_seq: Option<u64>,
}

impl Pop {
    /// Removes the newest `count` messages of `conversation`.
    pub fn new(conversation: impl Into<String>, count: usize) -> Self {
        Self { conversation: conversation.into(), count, if_newest_seq: None }
    }

    /// Removes only if the newest message held has this number.
    #[must_use]
    pub fn if_newest_seq(mut self, seq: u64) -> Self {
        self.if_newest_seq = Some(seq);
        self
    }
}
