//! Conversations with faults.

use memquill_conformance::async_trait;
use memquill_core::{
    Append, Appended, ConversationStatistics, ConversationStore, ConversationSummary, Message,
    Messages, Numbered, Page, PageRequest, ReadMessages, RestoreMessages, Restored, Result,
    Retention, Scope, Timestamp, Trim,
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

    /// How far a number is told below what it is.
    async fn shift(&self, scope: &Scope, conversation: &str) -> Result<u64> {
        if !self.is(Fault::ReusesEvictedNumbers) {
            return Ok(0);
        }
        let held = self.conversations().statistics(scope, conversation).await?;
        Ok(held.last_seq - held.message_count)
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
        let numbered = |seq| Numbered { seq, created_at: now.newest.unwrap_or_default() };
        Ok(Appended {
            messages: (before.last_seq + 1..).map(numbered).take(request.messages.len()).collect(),
            replayed: false,
            evicted: 0,
            message_count: now.message_count,
            token_count: now.token_count,
        })
    }

    fn retention(&self, retention: Retention) -> Retention {
        if self.is(Fault::EvictsSystemMessages) {
            return Retention { keep_system: false, ..retention };
        }
        retention
    }
}

#[async_trait]
impl ConversationStore for Broken {
    async fn append(&self, scope: &Scope, request: &Append) -> Result<Appended> {
        let scope = self.scope(scope);
        let request = Append {
            conversation: self.conversation(&scope, &request.conversation).await,
            retention: request.retention.map(|retention| self.retention(retention)),
            ..request.clone()
        };
        let mut appended = match self.fault {
            Fault::SplitsBatches => self.append_one_by_one(&scope, &request).await?,
            Fault::LosesMessagesToOthers => self.append_unless_overtaken(&scope, &request).await?,
            _ => self.conversations().append(&scope, &request).await?,
        };
        if self.is(Fault::StoresRetriesTwice) && appended.replayed {
            let messages = request.messages.iter();
            let anew = messages.map(|message| Message { id: None, ..message.clone() }).collect();
            let request = Append { messages: anew, ..request.clone() };
            appended = self.conversations().append(&scope, &request).await?;
        }
        let shift = self.shift(&scope, &request.conversation).await?;
        appended.messages.iter_mut().for_each(|m| m.seq = m.seq.saturating_sub(shift));
        Ok(appended)
    }

    async fn read(&self, scope: &Scope, request: &ReadMessages) -> Result<Messages> {
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
            _ => {}
        }
        let mut read = self.conversations().read(&scope, &asked).await?;
        if self.is(Fault::LimitsBeforeFiltering) {
            read.messages.retain(|message| request.matches(message));
        }
        let shift = self.shift(&scope, &asked.conversation).await?;
        read.messages.iter_mut().for_each(|m| m.seq = m.seq.saturating_sub(shift));
        Ok(read)
    }

    async fn trim(&self, scope: &Scope, request: &Trim) -> Result<u64> {
        let scope = self.scope(scope);
        let request = Trim {
            conversation: self.conversation(&scope, &request.conversation).await,
            retention: self.retention(request.retention),
        };
        self.conversations().trim(&scope, &request).await
    }

    async fn clear(&self, scope: &Scope, conversation: &str) -> Result<u64> {
        let scope = self.scope(scope);
        let stored = self.conversation(&scope, conversation).await;
        let cleared = self.conversations().clear(&scope, &stored).await;
        let mut state = self.state.lock().await;
        *state.clears.entry((scope, conversation.to_owned())).or_default() += 1;
        cleared
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
        let request = RestoreMessages { conversation, ..request.clone() };
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
        if self.is(Fault::CountsTokensIn32Bits) {
            statistics.token_count &= u64::from(u32::MAX);
        }
        if self.is(Fault::ReusesEvictedNumbers) {
            statistics.last_seq = statistics.message_count;
        }
        Ok(statistics)
    }

    async fn list(&self, scope: &Scope, page: &PageRequest) -> Result<Page<ConversationSummary>> {
        self.conversations().list(&self.scope(scope), page).await
    }
}
