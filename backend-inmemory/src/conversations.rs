//! Conversations.

mod truncating;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use memquill_core::{
    Append, Appended, ConversationOrder, ConversationSize, ConversationStatistics,
    ConversationStore, ConversationSummary, Limits, Lineage, ListConversations, Message,
    MessagePosition, Messages, Page, Pop, ReadMessages, RestoreMessages, Restored, Result,
    Retention, Role, Scope, StoredMessage, Timestamp, Trim, Truncate,
};

use crate::store::{Held, Memory, Part, Store};

/// For so many numbers of the conversation an id stays known after its message went (C3).
const IDS_OUTLIVE: u64 = 1_000;

/// A scope's conversations.
#[derive(Debug, Default)]
pub(crate) struct HeldConversations {
    all: BTreeMap<Arc<str>, Conversation>,
    /// All of them in their order by activity.
    by_activity: BTreeSet<(Reverse<i64>, Arc<str>)>,
}

/// One conversation. System messages stand apart, so that an eviction that spares them finds the
/// next message to go without a search; reading puts the two runs together again.
#[derive(Debug, Default)]
struct Conversation {
    system: Run,
    others: Run,
    /// The counts, `last_seq` and lineage; the rest is filled in when asked for.
    figures: ConversationStatistics,
    /// The ids that are known, and what was stored under them.
    ids: HashMap<String, Known>,
    /// The known ids without a message, and the last number when it went; oldest first.
    outliving: VecDeque<(u64, String)>,
}

/// Messages in ascending `seq`.
#[derive(Debug, Default)]
struct Run {
    messages: VecDeque<Counted>,
    tokens: u64,
}

#[derive(Debug)]
struct Counted {
    stored: StoredMessage,
    tokens: u32,
}

#[derive(Debug)]
struct Known {
    numbered: MessagePosition,
    digest: String,
}

impl Held for HeldConversations {
    fn part(memory: &Memory) -> &Part<Self> {
        &memory.conversations
    }

    fn next_due(&self) -> Option<Timestamp> {
        None
    }

    fn sweep(&mut self, _now: Timestamp) -> u64 {
        0
    }

    fn count(&self) -> u64 {
        self.all.values().map(|conversation| conversation.figures.message_count).sum()
    }

    fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

impl HeldConversations {
    /// Changes a conversation, and its place in the order by activity.
    fn change<T>(&mut self, name: &str, change: impl FnOnce(&mut Conversation) -> T) -> Option<T> {
        let conversation = self.all.get_mut(name)?;
        let before = conversation.activity();
        let changed = change(conversation);
        let after = conversation.activity();
        self.move_from(before, after, name);
        Some(changed)
    }

    /// Changes a conversation, which begins where there is none.
    fn change_or_begin<T>(&mut self, name: &str, change: impl FnOnce(&mut Conversation) -> T) -> T {
        // A look-up first rather than an owned name for every call.
        let Some(conversation) = self.all.get_mut(name) else {
            let mut begun = Conversation::default();
            begun.figures.lineage = Lineage::begun(fastrand::u64(..));
            let changed = change(&mut begun);
            let name: Arc<str> = name.into();
            self.by_activity.insert((Reverse(begun.activity()), Arc::clone(&name)));
            self.all.insert(name, begun);
            return changed;
        };
        let before = conversation.activity();
        let changed = change(conversation);
        let after = conversation.activity();
        self.move_from(before, after, name);
        changed
    }

    fn move_from(&mut self, before: i64, after: i64, name: &str) {
        if before != after
            && let Some((name, _)) = self.all.get_key_value(name)
        {
            self.by_activity.remove(&(Reverse(before), Arc::clone(name)));
            self.by_activity.insert((Reverse(after), Arc::clone(name)));
        }
    }

    fn delete(&mut self, name: &str) -> bool {
        let Some((name, conversation)) = self.all.remove_entry(name) else { return false };
        self.by_activity.remove(&(Reverse(conversation.activity()), name))
    }

    /// Up to `most` conversations behind a position.
    fn list(
        &self,
        order: ConversationOrder,
        after: Option<(i64, String)>,
        most: usize,
    ) -> Vec<ConversationSummary> {
        let summary = |name: &str, conversation: &Conversation| ConversationSummary {
            conversation: name.to_owned(),
            statistics: conversation.statistics(),
        };
        match order {
            ConversationOrder::Name => {
                let after = after.as_ref().map(|(_, name)| name.as_str());
                let start = after.map_or(Bound::Unbounded, Bound::Excluded);
                let rest = self.all.range::<str, _>((start, Bound::Unbounded)).take(most);
                rest.map(|(name, conversation)| summary(name, conversation)).collect()
            }
            ConversationOrder::Activity => {
                let after = after.map(|(newest, name)| (Reverse(newest), Arc::from(name)));
                let start = after.map_or(Bound::Unbounded, Bound::Excluded);
                let rest = self.by_activity.range((start, Bound::Unbounded)).take(most);
                rest.map(|(_, name)| summary(name, &self.all[name])).collect()
            }
        }
    }
}

impl Run {
    fn push(&mut self, message: Counted) {
        self.tokens += u64::from(message.tokens);
        self.messages.push_back(message);
    }

    fn pop_oldest(&mut self) -> Option<Counted> {
        let oldest = self.messages.pop_front()?;
        self.tokens -= u64::from(oldest.tokens);
        Some(oldest)
    }

    fn pop_newest(&mut self) -> Option<Counted> {
        let newest = self.messages.pop_back()?;
        self.tokens -= u64::from(newest.tokens);
        Some(newest)
    }

    fn oldest(&self) -> Option<&StoredMessage> {
        self.messages.front().map(|message| &message.stored)
    }

    fn newest(&self) -> Option<&StoredMessage> {
        self.messages.back().map(|message| &message.stored)
    }

    fn size(&self) -> ConversationSize {
        ConversationSize { messages: self.messages.len() as u64, tokens: self.tokens }
    }

    /// The messages between two numbers, newest first.
    fn between(
        &self,
        after: Option<u64>,
        before: Option<u64>,
    ) -> impl Iterator<Item = &StoredMessage> {
        let index = |seq| self.messages.partition_point(|message| message.stored.seq < seq);
        let end = before.map_or(self.messages.len(), index);
        let start = after.map_or(0, |after| index(after.saturating_add(1)));
        self.messages.range(start.min(end)..end).rev().map(|message| &message.stored)
    }
}

impl Conversation {
    fn append(&mut self, request: &Append, now: Timestamp) -> Result<Appended> {
        let known =
            |id: &str| self.ids.get(id).map(|known| (known.digest.as_str(), known.numbered));
        if let Some(messages) = request.replay(known)? {
            return Ok(self.appended(messages, true, 0));
        }
        let next = self.figures.last_seq + 1;
        let messages = request
            .messages
            .iter()
            .zip(next..)
            .map(|(message, seq)| self.push(message, MessagePosition { seq, created_at: now }))
            .collect();
        let evicted = request.retention.map_or(0, |retention| self.retain(retention));
        self.forget_ids();
        Ok(self.appended(messages, false, evicted))
    }

    fn appended(&self, messages: Vec<MessagePosition>, replayed: bool, evicted: u64) -> Appended {
        Appended {
            messages,
            replayed,
            evicted,
            message_count: self.figures.message_count,
            token_count: self.figures.token_count,
        }
    }

    fn push(&mut self, message: &Message, numbered: MessagePosition) -> MessagePosition {
        let tokens = message.tokens();
        let MessagePosition { seq, created_at } = numbered;
        self.figures.last_seq = seq;
        self.figures.message_count += 1;
        self.figures.token_count += u64::from(tokens);
        *self.figures.count_mut(message.role) += 1;
        if let Some(id) = &message.id {
            self.ids.insert(id.clone(), Known { numbered, digest: message.body_digest() });
        }
        let run = if message.role == Role::System { &mut self.system } else { &mut self.others };
        let stored = StoredMessage { seq, created_at, message: message.clone() };
        run.push(Counted { stored, tokens });
        numbered
    }

    /// Puts messages back behind what is held (C11).
    fn restore(&mut self, request: &RestoreMessages) -> Result<Restored> {
        let begins = self.figures.last_seq == 0;
        let numbers = request.messages.first().zip(request.messages.last());
        let mut held: Vec<_> = numbers.map_or_else(Vec::new, |(first, last)| {
            self.between(Some(first.seq - 1), Some(last.seq + 1)).cloned().collect()
        });
        held.reverse();
        let missing = request.missing(self.figures.last_seq, &held)?;
        let mut ids = missing.iter().filter_map(|stored| stored.message.id.as_ref());
        if let Some(id) = ids.find(|id| self.ids.contains_key(*id)) {
            return Err(request.id_taken(id));
        }
        for StoredMessage { seq, created_at, message } in missing {
            self.push(message, MessagePosition { seq: *seq, created_at: *created_at });
        }
        self.figures.lineage = if begins && request.lineage.incarnation > 0 {
            request.lineage
        } else {
            self.figures.lineage.joined(request.lineage)
        };
        self.figures.last_seq = self.figures.last_seq.max(request.last_seq);
        self.forget_ids();
        Ok(Restored::of(request.messages.len(), missing.len()))
    }

    /// Evicts the oldest until the rest is within the limits (C4), and says how many went.
    fn retain(&mut self, retention: Retention) -> u64 {
        if let Some(seq) = retention.up_to_seq {
            let lineage = &mut self.figures.lineage;
            let seq = seq.min(self.figures.last_seq);
            lineage.summarized_through = lineage.summarized_through.max(seq);
        }
        let budget = retention.budget(self.system.size());
        let last = retention.up_to_seq.unwrap_or(u64::MAX);
        let newest = self.newest().map_or(0, |message| message.seq);
        let mut evicted = 0;
        loop {
            let (others, system) = (self.others.size(), self.system.size());
            let (messages, tokens) = if retention.keep_system {
                (others.messages, others.tokens)
            } else {
                (others.messages + system.messages, others.tokens + system.tokens)
            };
            if messages <= budget.messages && tokens <= budget.tokens {
                return evicted;
            }
            let run = if retention.keep_system { &mut self.others } else { self.older_run() };
            // The newest message always stays, even alone over the limit.
            if run.oldest().is_none_or(|oldest| oldest.seq == newest || oldest.seq > last) {
                return evicted;
            }
            if let Some(gone) = run.pop_oldest() {
                self.drop_message(gone);
                evicted += 1;
            }
        }
    }

    fn clear(&mut self) -> u64 {
        let mut cleared = 0;
        while let Some(gone) = self.older_run().pop_oldest() {
            self.drop_message(gone);
            cleared += 1;
        }
        self.figures.lineage = self.figures.lineage.truncated(0);
        cleared
    }

    /// The run with the oldest message.
    fn older_run(&mut self) -> &mut Run {
        match (self.system.oldest(), self.others.oldest()) {
            (Some(system), Some(other)) if system.seq < other.seq => &mut self.system,
            (Some(_), None) => &mut self.system,
            _ => &mut self.others,
        }
    }

    fn drop_message(&mut self, gone: Counted) {
        let message = gone.stored.message;
        self.figures.message_count -= 1;
        self.figures.token_count -= u64::from(gone.tokens);
        *self.figures.count_mut(message.role) -= 1;
        self.outliving.extend(message.id.map(|id| (self.figures.last_seq, id)));
    }

    fn forget_ids(&mut self) {
        let last = self.figures.last_seq;
        while self.outliving.front().is_some_and(|(went, _)| last - went > IDS_OUTLIVE) {
            if let Some((_, id)) = self.outliving.pop_front() {
                self.ids.remove(&id);
            }
        }
    }

    fn newest(&self) -> Option<&StoredMessage> {
        let (system, other) = (self.system.newest(), self.others.newest());
        system.into_iter().chain(other).max_by_key(|message| message.seq)
    }

    fn oldest(&self) -> Option<&StoredMessage> {
        let (system, other) = (self.system.oldest(), self.others.oldest());
        system.into_iter().chain(other).min_by_key(|message| message.seq)
    }

    /// Both runs between two numbers, newest first.
    fn between(
        &self,
        after: Option<u64>,
        before: Option<u64>,
    ) -> impl Iterator<Item = &StoredMessage> {
        let mut system = self.system.between(after, before).peekable();
        let mut others = self.others.between(after, before).peekable();
        std::iter::from_fn(move || match (system.peek(), others.peek()) {
            (Some(s), Some(o)) if s.seq < o.seq => others.next(),
            (None, _) => others.next(),
            _ => system.next(),
        })
    }

    fn read(&self, request: &ReadMessages) -> Messages {
        let limit = request.limit.unwrap_or(Limits::CONTRACT.page_items);
        let newest_first: Vec<_> = self
            .between(request.after_seq, request.before_seq)
            .filter(|message| request.matches(message))
            .take(limit)
            .collect();
        let messages = newest_first.into_iter().rev().cloned().collect();
        Messages { messages, total: self.figures.message_count }
    }

    /// The place in a listing by activity.
    fn activity(&self) -> i64 {
        self.newest().map_or(-1, |newest| newest.created_at.as_millis())
    }

    fn statistics(&self) -> ConversationStatistics {
        ConversationStatistics {
            oldest: self.oldest().map(|message| message.created_at),
            newest: self.newest().map(|message| message.created_at),
            ..self.figures.clone()
        }
    }
}

/// Appends as [`ConversationStore::append`] does.
pub(crate) fn append(store: &Store, scope: &Scope, request: &Append) -> Result<Appended> {
    store.write(scope, |held: &mut HeldConversations, now| {
        held.change_or_begin(&request.conversation, |conversation| {
            conversation.append(request, now)
        })
    })
}

/// The conversations of a store.
#[derive(Debug)]
pub(crate) struct Conversations(pub(crate) Arc<Store>);

#[async_trait]
impl ConversationStore for Conversations {
    async fn append(&self, scope: &Scope, request: &Append) -> Result<Appended> {
        append(&self.0, scope, request)
    }

    async fn read(&self, scope: &Scope, request: &ReadMessages) -> Result<Messages> {
        Ok(self.0.read(scope, |held: &HeldConversations| {
            held.all.get(request.conversation.as_str()).map(|c| c.read(request)).unwrap_or_default()
        }))
    }

    async fn trim(&self, scope: &Scope, request: &Trim) -> Result<u64> {
        let trim = |conversation: &mut Conversation| {
            conversation.figures.lineage.check(&request.conversation, request.if_lineage)?;
            Ok(conversation.retain(request.retention))
        };
        let changed = self.0.alter(scope, |held: &mut HeldConversations, _| {
            held.change(&request.conversation, trim)
        });
        changed.unwrap_or_else(|| trim(&mut Conversation::default()))
    }

    async fn truncate(&self, scope: &Scope, request: &Truncate) -> Result<u64> {
        let changed = self.0.alter(scope, |held: &mut HeldConversations, _| {
            held.change(&request.conversation, |c| c.truncate(request))
        });
        changed.unwrap_or_else(|| Conversation::default().truncate(request))
    }

    async fn pop(&self, scope: &Scope, request: &Pop) -> Result<Vec<StoredMessage>> {
        let changed = self.0.alter(scope, |held: &mut HeldConversations, _| {
            held.change(&request.conversation, |c| c.pop(request))
        });
        changed.unwrap_or_else(|| Conversation::default().pop(request))
    }

    async fn clear(&self, scope: &Scope, conversation: &str) -> Result<u64> {
        Ok(self.0.alter(scope, |held: &mut HeldConversations, _| {
            held.change(conversation, Conversation::clear).unwrap_or_default()
        }))
    }

    async fn delete(&self, scope: &Scope, conversation: &str) -> Result<bool> {
        Ok(self.0.alter(scope, |held: &mut HeldConversations, _| held.delete(conversation)))
    }

    async fn restore(&self, scope: &Scope, request: &RestoreMessages) -> Result<Restored> {
        self.0.write(scope, |held: &mut HeldConversations, _| {
            held.change_or_begin(&request.conversation, |conversation| {
                conversation.restore(request)
            })
        })
    }

    async fn statistics(
        &self,
        scope: &Scope,
        conversation: &str,
    ) -> Result<ConversationStatistics> {
        Ok(self.0.read(scope, |held: &HeldConversations| {
            held.all.get(conversation).map(Conversation::statistics).unwrap_or_default()
        }))
    }

    async fn list(
        &self,
        scope: &Scope,
        request: &ListConversations,
    ) -> Result<Page<ConversationSummary>> {
        let after = request.position()?;
        let most = request.page.limit + 1;
        let items =
            self.0.read(scope, |held: &HeldConversations| held.list(request.order, after, most));
        Ok(request.cut(items))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::MIN;

    fn keyed(id: u64) -> Message {
        Message::user("x").with_id(id.to_string())
    }

    #[test]
    fn c3_ids_outlive_their_messages_by_1000_numbers_and_no_longer() {
        let mut conversation = Conversation::default();
        let one = |id| Append::new("c", vec![keyed(id)]).with_retention(Retention::messages(1));
        for id in 1..=5_000 {
            conversation.append(&one(id), NOW).unwrap();
            assert!(conversation.ids.len() <= 1_002 && conversation.outliving.len() <= 1_001);
        }
        // Message n went when n + 1 came.
        for id in 3_999..=5_000 {
            assert!(conversation.append(&one(id), NOW).unwrap().replayed, "{id}");
        }
        let appended = conversation.append(&one(3_900), NOW).unwrap();
        assert!(!appended.replayed);
        assert_eq!(appended.messages[0].seq, 5_001);
    }

    #[test]
    fn c3_a_batch_of_1000_evicted_at_once_can_be_repeated_behind_another() {
        let mut conversation = Conversation::default();
        let batch = |ids: std::ops::Range<u64>| {
            Append::new("c", ids.map(keyed).collect()).with_retention(Retention::messages(1))
        };
        let first = conversation.append(&batch(0..1_000), NOW).unwrap();
        conversation.append(&batch(1_000..2_000), NOW).unwrap();
        let again = conversation.append(&batch(0..1_000), NOW).unwrap();
        assert!(again.replayed);
        assert_eq!(again.messages, first.messages);
    }

    fn role() -> impl Strategy<Value = Role> {
        proptest::sample::select(&Role::ALL[..])
    }

    proptest! {
        #[test]
        fn c4_what_stays_is_what_the_reference_keeps(
            batches in proptest::collection::vec(
                (
                    proptest::collection::vec((role(), 0..20_u32), 1..6),
                    proptest::option::of(1..8_u64),
                    proptest::option::of(1..60_u64),
                    any::<bool>(),
                    proptest::option::of(0..40_u64),
                ),
                1..12,
            ),
        ) {
            let mut conversation = Conversation::default();
            let mut expected: Vec<(u64, Role, u32)> = Vec::new();
            let mut seq = 0;
            for (batch, max_messages, max_tokens, keep_system, up_to_seq) in batches {
                let retention =
                    Retention { max_messages, max_tokens, keep_system, up_to_seq };
                let messages = batch
                    .iter()
                    .map(|(role, tokens)| Message::new(*role, "x").with_token_count(*tokens))
                    .collect();
                conversation
                    .append(&Append::new("c", messages).with_retention(retention), NOW)
                    .unwrap();
                for (role, tokens) in batch {
                    seq += 1;
                    expected.push((seq, role, tokens));
                }
                let mut keeps = retention.keeps(&expected).into_iter();
                expected.retain(|_| keeps.next().unwrap());

                let held = conversation.read(&ReadMessages::all("c"));
                let held: Vec<_> = held
                    .messages
                    .iter()
                    .map(|m| (m.seq, m.message.role, m.message.tokens()))
                    .collect();
                prop_assert_eq!(&held, &expected);
                let figures = conversation.statistics();
                prop_assert_eq!(figures.message_count, expected.len() as u64);
                let tokens: u64 = expected.iter().map(|(_, _, t)| u64::from(*t)).sum();
                prop_assert_eq!(figures.token_count, tokens);
                for role in Role::ALL {
                    let count = expected.iter().filter(|(_, r, _)| *r == role).count() as u64;
                    prop_assert_eq!(figures.count(role), count);
                }
            }
        }
    }
}
