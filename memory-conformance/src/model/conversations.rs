//! Conversations (section C).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use memquill_core::{
    Append, Appended, Clock, ConversationOrder, ConversationStatistics, ConversationStore,
    ConversationSummary, Lineage, ListConversations, Message, MessagePosition, Messages, Page, Pop,
    ReadMessages, RestoreMessages, Restored, Result, Retention, Role, Scope, StoredMessage, Trim,
    Truncate, conflict,
};

use super::lock;

/// Conversations in lists.
#[derive(Debug)]
pub(crate) struct Conversations {
    clock: Arc<dyn Clock>,
    pub(super) state: Mutex<BTreeMap<(Scope, String), Conversation>>,
}

#[derive(Debug, Default)]
pub(super) struct Conversation {
    last_seq: u64,
    lineage: Lineage,
    pub(super) messages: Vec<StoredMessage>,
    /// Every message that ever came with an id; the contract lets a store forget sooner.
    known: Vec<(Message, MessagePosition)>,
}

impl Conversations {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default() }
    }

    fn with<T>(
        &self,
        scope: &Scope,
        conversation: &str,
        look: impl FnOnce(&Conversation) -> T,
    ) -> T {
        let key = (scope.clone(), conversation.to_owned());
        look(lock(&self.state).get(&key).unwrap_or(&Conversation::default()))
    }

    fn change<T>(
        &self,
        scope: &Scope,
        conversation: &str,
        change: impl FnOnce(&mut Conversation) -> T,
    ) -> Option<T> {
        lock(&self.state).get_mut(&(scope.clone(), conversation.to_owned())).map(change)
    }
}

impl Conversation {
    fn append(&mut self, request: &Append, now: memquill_core::Timestamp) -> Result<Appended> {
        let known: Vec<Option<&(Message, MessagePosition)>> = request
            .messages
            .iter()
            .map(|new| self.known.iter().find(|(old, _)| new.id.is_some() && old.id == new.id))
            .collect();
        let other = known.iter().zip(&request.messages).find(|(known, new)| {
            known.is_some_and(|(old, _)| old.body_digest() != new.body_digest())
        });
        if let Some((_, new)) = other {
            return Err(conflict::message_id_taken(new.id.as_deref().unwrap_or_default()));
        }
        match known.iter().flatten().count() {
            0 => {}
            all if all == request.messages.len() => {
                let messages = known.into_iter().flatten().map(|(_, numbered)| *numbered);
                return Ok(self.appended(messages.collect(), true, 0));
            }
            some => return Err(conflict::batch_partly_known(some, request.messages.len())),
        }
        if self.last_seq == 0 {
            self.lineage = Lineage::begun(fastrand::u64(..));
        }
        let mut messages = Vec::new();
        for message in &request.messages {
            self.last_seq += 1;
            let numbered = MessagePosition { seq: self.last_seq, created_at: now };
            if message.id.is_some() {
                self.known.push((message.clone(), numbered));
            }
            self.messages.push(StoredMessage {
                seq: numbered.seq,
                created_at: now,
                message: message.clone(),
            });
            messages.push(numbered);
        }
        let evicted = request.retention.map_or(0, |retention| self.keep(&retention));
        Ok(self.appended(messages, false, evicted))
    }

    fn restore(&mut self, request: &RestoreMessages) -> Result<Restored> {
        let missing = request.missing(self.last_seq, &self.messages)?;
        let is_known = |id: &&String| self.known.iter().any(|(m, _)| m.id.as_ref() == Some(id));
        if let Some(id) = missing.iter().filter_map(|m| m.message.id.as_ref()).find(is_known) {
            return Err(request.id_taken(id));
        }
        for stored in missing {
            if stored.message.id.is_some() {
                let numbered = MessagePosition { seq: stored.seq, created_at: stored.created_at };
                self.known.push((stored.message.clone(), numbered));
            }
        }
        self.messages.extend_from_slice(missing);
        self.lineage = match self.last_seq {
            0 if request.lineage.incarnation > 0 => request.lineage,
            0 => Lineage::begun(fastrand::u64(..)),
            _ => self.lineage.joined(request.lineage),
        };
        self.last_seq = self.last_seq.max(request.last_seq);
        Ok(Restored::of(request.messages.len(), missing.len()))
    }

    fn appended(&self, messages: Vec<MessagePosition>, replayed: bool, evicted: u64) -> Appended {
        let statistics = self.statistics();
        Appended {
            messages,
            replayed,
            evicted,
            message_count: statistics.message_count,
            token_count: statistics.token_count,
        }
    }

    fn keep(&mut self, retention: &Retention) -> u64 {
        if let Some(seq) = retention.up_to_seq {
            let through = &mut self.lineage.summarized_through;
            *through = seq.min(self.last_seq).max(*through);
        }
        let sizes: Vec<(u64, Role, u32)> =
            self.messages.iter().map(|m| (m.seq, m.message.role, m.message.tokens())).collect();
        let before = self.messages.len();
        let mut keeps = retention.keeps(&sizes).into_iter();
        self.messages.retain(|_| keeps.next().unwrap_or(true));
        (before - self.messages.len()) as u64
    }

    fn check_newest(&self, name: &str, wanted: Option<u64>) -> Result<()> {
        let newest = self.messages.last().map_or(0, |newest| newest.seq);
        match wanted {
            Some(wanted) if wanted != newest => Err(conflict::newer_message(name, newest)),
            _ => Ok(()),
        }
    }

    fn truncate(&mut self, after_seq: u64) -> Vec<StoredMessage> {
        if after_seq < self.last_seq {
            self.lineage = self.lineage.truncated(after_seq);
        }
        let kept = self.messages.partition_point(|message| message.seq <= after_seq);
        self.messages.split_off(kept)
    }

    fn statistics(&self) -> ConversationStatistics {
        let mut statistics = ConversationStatistics {
            message_count: self.messages.len() as u64,
            oldest: self.messages.first().map(|m| m.created_at),
            newest: self.messages.last().map(|m| m.created_at),
            last_seq: self.last_seq,
            lineage: self.lineage,
            ..ConversationStatistics::default()
        };
        for StoredMessage { message, .. } in &self.messages {
            statistics.token_count += u64::from(message.tokens());
            *statistics.count_mut(message.role) += 1;
        }
        statistics
    }
}

#[async_trait]
impl ConversationStore for Conversations {
    async fn append(&self, scope: &Scope, request: &Append) -> Result<Appended> {
        let key = (scope.clone(), request.conversation.clone());
        lock(&self.state).entry(key).or_default().append(request, self.clock.now())
    }

    async fn read(&self, scope: &Scope, request: &ReadMessages) -> Result<Messages> {
        Ok(self.with(scope, &request.conversation, |conversation| {
            let mut messages: Vec<_> =
                conversation.messages.iter().filter(|m| request.matches(m)).cloned().collect();
            let limit = request.limit.unwrap_or(10_000);
            messages.drain(..messages.len().saturating_sub(limit));
            Messages { messages, total: conversation.messages.len() as u64 }
        }))
    }

    async fn trim(&self, scope: &Scope, request: &Trim) -> Result<u64> {
        let trim = |conversation: &mut Conversation| {
            conversation.lineage.check(&request.conversation, request.if_lineage)?;
            Ok(conversation.keep(&request.retention))
        };
        let nothing = || trim(&mut Conversation::default());
        self.change(scope, &request.conversation, trim).unwrap_or_else(nothing)
    }

    async fn clear(&self, scope: &Scope, conversation: &str) -> Result<u64> {
        let clear = |conversation: &mut Conversation| {
            conversation.lineage = conversation.lineage.truncated(0);
            conversation.messages.drain(..).count()
        };
        Ok(self.change(scope, conversation, clear).unwrap_or(0) as u64)
    }

    async fn truncate(&self, scope: &Scope, request: &Truncate) -> Result<u64> {
        let Truncate { conversation: name, after_seq, if_newest_seq } = request;
        let truncate = |conversation: &mut Conversation| {
            conversation.check_newest(name, *if_newest_seq)?;
            Ok(conversation.truncate(*after_seq).len() as u64)
        };
        let nothing = || Conversation::default().check_newest(name, *if_newest_seq).map(|()| 0);
        self.change(scope, name, truncate).unwrap_or_else(nothing)
    }

    async fn pop(&self, scope: &Scope, request: &Pop) -> Result<Vec<StoredMessage>> {
        let Pop { conversation: name, count, if_newest_seq } = request;
        let pop = |conversation: &mut Conversation| {
            conversation.check_newest(name, *if_newest_seq)?;
            let kept = conversation.messages.len().saturating_sub(*count);
            let first = conversation.messages.get(kept).map(|first| first.seq - 1);
            Ok(first.map(|after| conversation.truncate(after)).unwrap_or_default())
        };
        let nothing =
            || Conversation::default().check_newest(name, *if_newest_seq).map(|()| Vec::new());
        self.change(scope, name, pop).unwrap_or_else(nothing)
    }

    async fn delete(&self, scope: &Scope, conversation: &str) -> Result<bool> {
        let key = (scope.clone(), conversation.to_owned());
        Ok(lock(&self.state).remove(&key).is_some())
    }

    async fn restore(&self, scope: &Scope, request: &RestoreMessages) -> Result<Restored> {
        let key = (scope.clone(), request.conversation.clone());
        lock(&self.state).entry(key).or_default().restore(request)
    }

    async fn statistics(
        &self,
        scope: &Scope,
        conversation: &str,
    ) -> Result<ConversationStatistics> {
        Ok(self.with(scope, conversation, Conversation::statistics))
    }

    async fn list(
        &self,
        scope: &Scope,
        request: &ListConversations,
    ) -> Result<Page<ConversationSummary>> {
        let mut all: Vec<_> = lock(&self.state)
            .iter()
            .filter(|((of, _), _)| of == scope)
            .map(|((_, name), conversation)| ConversationSummary {
                conversation: name.clone(),
                statistics: conversation.statistics(),
            })
            .collect();
        let place = |summary: &ConversationSummary| {
            let by_name = request.order == ConversationOrder::Name;
            let activity = if by_name { 0 } else { -summary.statistics.activity() };
            (activity, summary.conversation.clone())
        };
        all.sort_by_key(place);
        if let Some((activity, name)) = request.position()? {
            let by_name = request.order == ConversationOrder::Name;
            let last = (if by_name { 0 } else { -activity }, name);
            all.retain(|summary| place(summary) > last);
        }
        all.truncate(request.page.limit + 1);
        Ok(request.cut(all))
    }
}
