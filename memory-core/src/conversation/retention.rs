//! Which messages stay (contract, C4).

use serde::{Deserialize, Serialize};

use super::Role;

/// The limits of what a conversation keeps.
///
/// Kept is the longest suffix within both limits; the newest message always stays, even alone over
/// the token limit. With `keep_system`, system messages are never evicted: they count against the
/// limits first, and the suffix is of the other messages within what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// The largest number of messages, at least 1.
    pub max_messages: Option<u64>,
    /// The largest number of tokens, at least 1.
    pub max_tokens: Option<u64>,
    /// Whether system messages always stay.
    pub keep_system: bool,
    /// The last number that may be evicted; none for any. Whoever summarizes a conversation lets go
    /// of what a stored summary covers, and of nothing else; the number is remembered as
    /// [`Lineage::summarized_through`](crate::Lineage::summarized_through).
    pub up_to_seq: Option<u64>,
}

/// A number of messages and their tokens: a total, a budget or an excess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConversationSize {
    /// Messages.
    pub messages: u64,
    /// Tokens.
    pub tokens: u64,
}

impl Retention {
    /// At most `max_messages` messages.
    pub fn messages(max_messages: u64) -> Self {
        Self { max_messages: Some(max_messages), ..Self::default() }
    }

    /// At most `max_tokens` tokens.
    pub fn tokens(max_tokens: u64) -> Self {
        Self { max_tokens: Some(max_tokens), ..Self::default() }
    }

    /// Evicts no message behind the number `seq`.
    #[must_use]
    pub fn up_to_seq(self, seq: u64) -> Self {
        Self { up_to_seq: Some(seq), ..self }
    }

    /// Never evicts system messages.
    #[must_use]
    pub fn keeping_system(self) -> Self {
        Self { keep_system: true, ..self }
    }

    /// What is left for the suffix, after the system messages where they are kept. `u64::MAX`
    /// means no limit.
    pub fn budget(&self, system: ConversationSize) -> ConversationSize {
        let system = if self.keep_system { system } else { ConversationSize::default() };
        let left = |max: Option<u64>, used| max.map_or(u64::MAX, |max| max.saturating_sub(used));
        ConversationSize {
            messages: left(self.max_messages, system.messages),
            tokens: left(self.max_tokens, system.tokens),
        }
    }

    /// The reference: for messages in order, as number, role and tokens, whether each stays.
    pub fn keeps(&self, messages: &[(u64, Role, u32)]) -> Vec<bool> {
        let pinned = |role: Role| self.keep_system && role == Role::System;
        let system = messages.iter().filter(|(_, role, _)| *role == Role::System).fold(
            ConversationSize::default(),
            |sum, (_, _, tokens)| ConversationSize {
                messages: sum.messages + 1,
                tokens: sum.tokens + u64::from(*tokens),
            },
        );
        let mut left = self.budget(system);
        let mut full = false;
        let newest = messages.len().saturating_sub(1);
        let mut kept: Vec<bool> = messages
            .iter()
            .enumerate()
            .rev()
            .map(|(at, &(seq, role, tokens))| {
                if pinned(role) {
                    return true;
                }
                let tokens = u64::from(tokens);
                full |= left.messages == 0 || left.tokens < tokens;
                if !full {
                    left.messages -= 1;
                    left.tokens -= tokens;
                }
                !full || at == newest || self.up_to_seq.is_some_and(|last| seq > last)
            })
            .collect();
        kept.reverse();
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEM: Role = Role::System;
    const USER: Role = Role::User;

    fn numbered(messages: &[(Role, u32)]) -> Vec<(u64, Role, u32)> {
        (1..).zip(messages).map(|(seq, (role, tokens))| (seq, *role, *tokens)).collect()
    }

    #[test]
    fn c4_the_longest_suffix_within_both_limits_is_kept() {
        let messages = [(USER, 5), (USER, 1), (USER, 2), (USER, 3)];
        assert_eq!(Retention::messages(2).keeps(&numbered(&messages)), [false, false, true, true]);
        assert_eq!(Retention::tokens(6).keeps(&numbered(&messages)), [false, true, true, true]);
        let both = Retention { max_messages: Some(3), max_tokens: Some(5), ..Retention::default() };
        assert_eq!(both.keeps(&numbered(&messages)), [false, false, true, true]);
    }

    #[test]
    fn c4_a_suffix_has_no_holes() {
        let messages = [(USER, 1), (USER, 9), (USER, 1)];
        assert_eq!(Retention::tokens(5).keeps(&numbered(&messages)), [false, false, true]);
    }

    #[test]
    fn c4_the_newest_stays_alone_over_the_limit() {
        assert_eq!(Retention::tokens(5).keeps(&numbered(&[(USER, 1), (USER, 9)])), [false, true]);
    }

    #[test]
    fn c4_system_messages_count_first_and_stay() {
        let messages = [(SYSTEM, 4), (USER, 1), (SYSTEM, 4), (USER, 1), (USER, 1)];
        let retention = Retention::messages(3).keeping_system();
        assert_eq!(retention.keeps(&numbered(&messages)), [true, false, true, false, true]);
        let retention = Retention::tokens(8).keeping_system();
        assert_eq!(retention.keeps(&numbered(&messages)), [true, false, true, false, true]);
        assert_eq!(
            Retention::messages(1).keeping_system().keeps(&numbered(&[
                (SYSTEM, 1),
                (USER, 1),
                (SYSTEM, 1)
            ])),
            [true, false, true]
        );
    }

    #[test]
    fn c4_nothing_is_evicted_behind_the_last_number_that_may_be() {
        let messages = numbered(&[(USER, 1), (SYSTEM, 1), (USER, 1), (USER, 1), (USER, 1)]);
        let retention = Retention::messages(1).up_to_seq(3);
        assert_eq!(retention.keeps(&messages), [false, false, false, true, true]);
        let retention = Retention::messages(4).up_to_seq(3);
        assert_eq!(retention.keeps(&messages), [false, true, true, true, true]);
        let retention = Retention::messages(1).keeping_system().up_to_seq(3);
        assert_eq!(retention.keeps(&messages), [false, true, false, true, true]);
    }
}
