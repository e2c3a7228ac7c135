//! Conversations with faults.

use memquill_conformance::async_trait;
use memquill_core::{
    Append, Appended, Clock as _, ConversationStatistics, ConversationStore, ConversationSummary,
    Lineage, ListConversations, Message, MessagePosition, Messages, Page, PageRequest, Pop,
    ReadMessages, RestoreMessages, Restored, Result, Retention, Scope, StoredMessage, Timestamp,
    Trim, Truncate,
};

use super::{Broken, Fault, others_turn};

impl Broken {
    /// The conversation under the name it is stored by.
    async fn conversation(&self, scope: &Scope, name: &str) -> String {
        if !self.is(Fault::RestartsNumbersAfterClear) {
            return name.to_owned();
        }
        let state = self.state.lock().await;
        let clears = state.clears.get(&(scope.clone(), name.to_owned())).copied().unwrap_or(0);
        format!("{name} {clears}")
    }

    /// How far below its value a number is reported.
    async fn shift(&self, scope: &Scope, conversation: &str) -> Result<u64> {
        if !self.is(Fault::ReusesEvictedNumbers) {
            return Ok(0);
        }
        let held = self.conversations().statistics(scope, conversation).await?;
        Ok(held.last_seq - held.message_count)
    }

    async fn read_all(&self, scope: &Scope, conversation: &str) -> Result<()> {
        let read = self.conversations().read(scope, &ReadMessages::all(conversation)).await?;
        // As one reads who adds up what was said.
        let said: usize = read.messages.iter().map(|m| m.message.text().chars().count()).sum();
        assert!(said < usize::MAX);
        Ok(())
    }

    async fn append_one_by_one(&self, scope: &Scope, request: &Append) -> Result<Appended> {
        let mut whole: Option<Appended> = None;
        for message in &request.messages {
            let one = Append { messages: vec![message.clone()], ..request.clone() };
            let part = self.conversations().append(scope, &one).await?;
            others_turn().await;
            whole = Some(match whole {
                None => part,
                Some(mut whole) => {
                    whole.messages.extend(part.messages);
                    whole.evicted += part.evicted;
                    Appended { messages: whole.messages, evicted: whole.evicted, ..part }
                }
            });
        }
        Ok(whole.expect("a batch has a message"))
    }

    async fn append_unless_overtaken(&self, scope: &Scope, request: &Append) -> Result<Appended> {
        let before = self.conversations().statistics(scope, &request.conversation).await?;
        others_turn().await;
        let now = self.conversations().statistics(scope, &request.conversation).await?;
        if before == now {
            return self.conversations().append(scope, request).await;
        }
        let numbered = |seq| MessagePosition { seq, created_at: now.newest.unwrap_or_default() };
        Ok(Appended {
            messages: (before.last_seq + 1..).map(numbered).take(request.messages.len()).collect(),
            replayed: false,
            evicted: 0,
            message_count: now.message_count,
            token_count: now.token_count,
        })
    }

    fn retention(&self, retention: Retention) -> Retention {
        match self.fault {
            Fault::EvictsSystemMessages => Retention { keep_system: false, ..retention },
            Fault::IgnoresTokenLimits => Retention { max_tokens: None, ..retention },
            Fault::EvictsBehindTheLast => Retention { up_to_seq: None, ..retention },
            _ => retention,
        }
    }

    /// What a replay does that the fault takes for a new batch.
    async fn after_replay(
        &self,
        scope: &Scope,
        request: &Append,
        appended: Appended,
    ) -> Result<Appended> {
        let conversations = self.conversations();
        let held = conversations.read(scope, &ReadMessages::all(&request.conversation)).await?;
        let is_held = |m: &Message| held.messages.iter().any(|held| held.message.id == m.id);
        let forgotten = !request.messages.iter().all(is_held);
        let key = (scope.clone(), request.conversation.clone());
        let cleared = self.state.lock().await.clears.contains_key(&key);
        let again = match self.fault {
            Fault::StoresRetriesTwice => true,
            Fault::ForgetsIdsOfTheEvicted => forgotten && !cleared,
            Fault::ForgetsIdsAtClear => forgotten && cleared,
            _ => false,
        };
        if again {
            let messages = request.messages.iter();
            let new = messages.map(|message| Message { id: None, ..message.clone() }).collect();
            return conversations.append(scope, &Append { messages: new, ..request.clone() }).await;
        }
        if self.is(Fault::TrimsOnReplay)
            && let Some(retention) = request.retention
        {
            let trim = Trim::new(&request.conversation, retention);
            conversations.trim(scope, &trim).await?;
        }
        Ok(appended)
    }

    /// Evicts even the newest message where it is over the limit of tokens alone.
    async fn evict_the_newest(&self, scope: &Scope, request: &Append) -> Result<()> {
        let most = request.retention.and_then(|retention| retention.max_tokens);
        let newest = request.messages.last().map(|message| u64::from(message.tokens()));
        if newest > most && most.is_some() {
            self.conversations().clear(scope, &request.conversation).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl ConversationStore for Broken {
    async fn append(&self, scope: &Scope, request: &Append) -> Result<Appended> {
        let scope = self.scope(scope);
        let mut request = Append {
            conversation: self.conversation(&scope, &request.conversation).await,
            retention: request.retention.map(|retention| self.retention(retention)),
            ..request.clone()
        };
        match self.fault {
            Fault::DropsNames => request.messages.iter_mut().for_each(|m| m.name = None),
            Fault::AppendsByReadingAll => self.read_all(&scope, &request.conversation).await?,
            _ => {}
        }
        let mut appended = match self.fault {
            Fault::SplitsBatches => self.append_one_by_one(&scope, &request).await?,
            Fault::LosesMessagesToOthers => self.append_unless_overtaken(&scope, &request).await?,
            _ => self.conversations().append(&scope, &request).await?,
        };
        if appended.replayed {
            appended = self.after_replay(&scope, &request, appended).await?;
        } else if self.is(Fault::EvictsTheNewest) {
            self.evict_the_newest(&scope, &request).await?;
        }
        let shift = self.shift(&scope, &request.conversation).await?;
        appended.messages.iter_mut().for_each(|m| m.seq = m.seq.saturating_sub(shift));
        Ok(appended)
    }

    async fn read(&self, scope: &Scope, request: &ReadMessages) -> Result<Messages> {
        if !self.reach()? {
            return Ok(Messages::default());
        }
        let scope = self.scope(scope);
        let mut asked = request.clone();
        asked.conversation = self.conversation(&scope, &request.conversation).await;
        match self.fault {
            Fault::IgnoresRoles => asked.roles.clear(),
            Fault::LimitsBeforeFiltering => {
                asked =
                    ReadMessages { limit: asked.limit, ..ReadMessages::all(asked.conversation) };
            }
            Fault::TakesSinceAsExclusive => {
                let later = |since: Timestamp| since.saturating_add(memquill_core::MIN_TTL);
                asked.since = asked.since.map(later);
            }
            Fault::TakesUntilAsInclusive => {
                let later = |until: Timestamp| until.saturating_add(memquill_core::MIN_TTL);
                asked.until = asked.until.map(later);
            }
            Fault::TakesAfterAsInclusive => {
                asked.after_seq = asked.after_seq.map(|after| after.saturating_sub(1));
            }
            Fault::ReadsTheOldest => asked.limit = None,
            _ => {}
        }
        let mut read = self.conversations().read(&scope, &asked).await?;
        if self.is(Fault::LimitsBeforeFiltering) {
            read.messages.retain(|message| request.matches(message));
        }
        match self.fault {
            Fault::TotalsWhatMatches => read.total = read.messages.len() as u64,
            Fault::ReadsTheOldest => read.messages.truncate(request.limit.unwrap_or(usize::MAX)),
            Fault::ReadsDescending => read.messages.reverse(),
            _ => {}
        }
        let shift = self.shift(&scope, &asked.conversation).await?;
        read.messages.iter_mut().for_each(|m| m.seq = m.seq.saturating_sub(shift));
        Ok(read)
    }

    async fn trim(&self, scope: &Scope, request: &Trim) -> Result<u64> {
        let scope = self.scope(scope);
        let mut request = Trim {
            conversation: self.conversation(&scope, &request.conversation).await,
            retention: self.retention(request.retention),
            ..request.clone()
        };
        if self.is(Fault::TrimsOneTooMany) {
            let fewer = |most: u64| most.saturating_sub(1).max(1);
            request.retention.max_messages = request.retention.max_messages.map(fewer);
        }
        self.conversations().trim(&scope, &request).await
    }

    async fn truncate(&self, scope: &Scope, request: &Truncate) -> Result<u64> {
        let scope = self.scope(scope);
        let mut request = Truncate {
            conversation: self.conversation(&scope, &request.conversation).await,
            ..request.clone()
        };
        match self.fault {
            Fault::TruncatesOneTooFew => request.after_seq = request.after_seq.saturating_add(1),
            Fault::IgnoresTheNewestSeq => request.if_newest_seq = None,
            _ => {}
        }
        self.conversations().truncate(&scope, &request).await
    }

    async fn pop(&self, scope: &Scope, request: &Pop) -> Result<Vec<StoredMessage>> {
        let scope = self.scope(scope);
        let mut request = Pop {
            conversation: self.conversation(&scope, &request.conversation).await,
            ..request.clone()
        };
        if self.is(Fault::IgnoresTheNewestSeq) {
            request.if_newest_seq = None;
        }
        let mut popped = self.conversations().pop(&scope, &request).await?;
        if self.is(Fault::PopsNewestFirst) {
            popped.reverse();
        }
        Ok(popped)
    }

    async fn clear(&self, scope: &Scope, conversation: &str) -> Result<u64> {
        let scope = self.scope(scope);
        let stored = self.conversation(&scope, conversation).await;
        let cleared = self.conversations().clear(&scope, &stored).await;
        if self.is(Fault::ClearsTheScope) {
            let listed = self
                .conversations()
                .list(&scope, &ListConversations::by_name(PageRequest::first(1_000)))
                .await?;
            for sibling in listed.items {
                self.conversations().clear(&scope, &sibling.conversation).await?;
            }
        }
        let mut state = self.state.lock().await;
        *state.clears.entry((scope, conversation.to_owned())).or_default() += 1;
        cleared
    }

    async fn delete(&self, scope: &Scope, conversation: &str) -> Result<bool> {
        let (scope, conversation) =
            (self.scope(scope), self.conversation(scope, conversation).await);
        if self.is(Fault::ClearsForDelete) {
            return Ok(self.conversations().clear(&scope, &conversation).await? > 0);
        }
        self.conversations().delete(&scope, &conversation).await
    }

    async fn restore(&self, scope: &Scope, request: &RestoreMessages) -> Result<Restored> {
        let scope = self.scope(scope);
        let conversation = self.conversation(&scope, &request.conversation).await;
        if self.is(Fault::RestoresByAppending) && !request.messages.is_empty() {
            let messages: Vec<_> = request.messages.iter().map(|m| m.message.clone()).collect();
            let written = messages.len();
            self.conversations().append(&scope, &Append::new(conversation, messages)).await?;
            return Ok(Restored::of(written, written));
        }
        let mut request = RestoreMessages { conversation, ..request.clone() };
        if self.is(Fault::RestoresWithoutTimes) {
            let now = self.clock.now();
            request.messages.iter_mut().for_each(|message| message.created_at = now);
        }
        if self.is(Fault::RestoresWithoutLineage) {
            request.lineage = Lineage::default();
        }
        self.conversations().restore(&scope, &request).await
    }

    async fn statistics(
        &self,
        scope: &Scope,
        conversation: &str,
    ) -> Result<ConversationStatistics> {
        let scope = self.scope(scope);
        let conversation = self.conversation(&scope, conversation).await;
        let mut statistics = self.conversations().statistics(&scope, &conversation).await?;
        match self.fault {
            Fault::CountsByReadingAll => self.read_all(&scope, &conversation).await?,
            Fault::CountsToolsAsUsers => {
                statistics.user_count += std::mem::take(&mut statistics.tool_count);
            }
            _ => {}
        }
        if self.is(Fault::KeepsTheIncarnation) && statistics.last_seq > 0 {
            statistics.lineage.incarnation = 1 + conversation.len() as u64;
        }
        if self.is(Fault::CountsTokensIn32Bits) {
            statistics.token_count &= u64::from(u32::MAX);
        }
        if self.is(Fault::ReusesEvictedNumbers) {
            statistics.last_seq = statistics.message_count;
        }
        Ok(statistics)
    }

    async fn list(
        &self,
        scope: &Scope,
        request: &ListConversations,
    ) -> Result<Page<ConversationSummary>> {
        let request = match self.fault {
            Fault::ListsByNameAlone => &ListConversations::by_name(request.page.clone()),
            _ => request,
        };
        let mut listed = self.conversations().list(&self.scope(scope), request).await?;
        if self.is(Fault::HidesCleared) {
            listed.items.retain(|summary| summary.statistics.message_count > 0);
        }
        Ok(listed)
    }
}
