//! The part of a conversation that is read to cut a window out of it.

use futures_util::future;

use super::ConversationBuffer;
use super::render::Writer;
use crate::conversation::{Messages, ReadMessages, Role, StoredMessage, Window};
use crate::error::Result;
use crate::limits::Limits;

/// How many of the newest messages are looked through for those that fit, unless the window is for
/// more than half of them.
const LOOK_BACK: usize = 1_000;
/// How many messages beside a quarter of the window are read with its newest, so that calls at its
/// edge seldom need another read.
const MARGIN: usize = 4;
/// How many messages may be searched for system messages without asking where these are.
const SEARCHED_WHOLE: u64 = 2 * LOOK_BACK as u64;

/// What a window is cut out of.
#[derive(Debug)]
pub(super) struct View {
    /// The newest messages without gaps, and before them, where needed, the newest system messages
    /// and the user's message that is served.
    pub(super) messages: Vec<StoredMessage>,
    /// How many messages the conversation holds.
    pub(super) total: u64,
}

impl ConversationBuffer {
    /// Reads what the window can show, and not the whole conversation.
    ///
    /// A window of `n` messages needs the newest `n` and a few more, the newest `n` system messages,
    /// and the user's message before them. Only where messages are left out, older ones are read, up
    /// to [`LOOK_BACK`].
    pub(super) async fn view(&self, window: &Window, writer: Writer<'_>) -> Result<View> {
        let page = Limits::CONTRACT.page_items;
        let wanted = usize::try_from(window.max_messages.unwrap_or(u64::MAX)).unwrap_or(page);
        let wanted = wanted.min(page);
        let reach = LOOK_BACK.max(2 * wanted).min(page);
        let limit = (wanted + wanted / 4 + MARGIN).min(page);
        let Messages { mut messages, total } = self.newest(limit).await?;
        let mut seen = messages.len();
        let mut ended = seen < limit || seen as u64 >= total;
        let mut from = messages.first().map_or(0, |first| first.seq);
        if window.include_system && !ended {
            let outside = total - seen as u64;
            let system = messages.iter().filter(|m| m.message.role == Role::System).count();
            let older = self.system_before(from, outside, wanted, system as u64).await?;
            merge(&mut messages, older);
        }
        let mut asked = false;
        loop {
            let (needs_older, needs_request) = {
                let plan = writer.plan(&messages, window);
                (plan.needs_older, plan.needs_request)
            };
            if needs_older && !ended && seen < reach {
                let limit = (4 * seen).min(reach - seen);
                let request = ReadMessages { before_seq: Some(from), ..self.read_newest(limit) };
                let older = self.store.read(&self.scope, &request).await?.messages;
                ended = older.len() < limit;
                seen += older.len();
                from = older.first().map_or(from, |first| first.seq);
                merge(&mut messages, older);
            } else if needs_request && !ended && !asked {
                asked = true;
                merge(&mut messages, self.user_before(from).await?);
            } else {
                return Ok(View { messages, total });
            }
        }
    }

    /// Reads the last user message and what follows it, or the newest messages after it.
    pub(super) async fn last_exchange(&self, max_messages: u64) -> Result<Vec<StoredMessage>> {
        let page = Limits::CONTRACT.page_items;
        let limit = usize::try_from(max_messages).unwrap_or(page).min(page);
        let Messages { mut messages, total } = self.newest(limit).await?;
        let all = messages.len() as u64 >= total;
        if let Some(first) = messages.first().map(|first| first.seq)
            && !all
            && !messages.iter().any(|m| m.message.is_from_user())
        {
            merge(&mut messages, self.user_before(first).await?);
        }
        Ok(messages)
    }

    fn read_newest(&self, limit: usize) -> ReadMessages {
        ReadMessages::newest(self.conversation.as_str(), limit)
    }

    async fn newest(&self, limit: usize) -> Result<Messages> {
        self.store.read(&self.scope, &self.read_newest(limit)).await
    }

    /// Reads the nearest message among the 10,000 numbers before `seq` in which a user says
    /// something, past those that only bring the results of calls.
    async fn user_before(&self, seq: u64) -> Result<Option<StoredMessage>> {
        let page = Limits::CONTRACT.page_items;
        let after_seq = Some(seq.saturating_sub(1 + page as u64));
        let (mut before, mut limit) = (seq, 1);
        loop {
            let request = ReadMessages {
                roles: vec![Role::User],
                after_seq,
                before_seq: Some(before),
                ..self.read_newest(limit)
            };
            let mut read = self.store.read(&self.scope, &request).await?.messages;
            let (first, ended) = (read.first().map(|m| m.seq), read.len() < limit);
            if let Some(at) = read.iter().rposition(|m| m.message.is_from_user()) {
                return Ok(Some(read.swap_remove(at)));
            }
            let Some(first) = first.filter(|_| !ended) else { return Ok(None) };
            before = first;
            limit = (4 * limit).min(LOOK_BACK);
        }
    }

    /// Reads the newest `limit` system messages before `seq`; `outside` messages are before it, and
    /// `seen` system messages are not.
    ///
    /// In a long conversation they are mostly its first messages or among its newest, and there they
    /// are looked for. Only where the statistics say that there are more, all between is searched.
    async fn system_before(
        &self,
        seq: u64,
        outside: u64,
        limit: usize,
        seen: u64,
    ) -> Result<Vec<StoredMessage>> {
        let between = |after: u64, before: u64, limit: usize| {
            let request = ReadMessages {
                roles: vec![Role::System],
                after_seq: Some(after),
                before_seq: Some(before),
                ..self.read_newest(limit)
            };
            async move { Ok(self.store.read(&self.scope, &request).await?.messages) }
        };
        let (oldest, newest) = (LOOK_BACK as u64, seq.saturating_sub(1 + LOOK_BACK as u64));
        if outside <= SEARCHED_WHOLE || newest <= oldest {
            return between(0, seq, limit).await;
        }
        let (statistics, mut found, mut system) = future::try_join3(
            self.statistics(),
            between(0, oldest + 1, limit),
            between(newest, seq, limit),
        )
        .await?;
        let missing = statistics
            .system_count
            .saturating_sub(seen)
            .saturating_sub((found.len() + system.len()) as u64);
        let left =
            usize::try_from(missing).unwrap_or(limit).min(limit.saturating_sub(system.len()));
        if left > 0 {
            found.extend(between(oldest, newest + 1, left).await?);
        }
        found.append(&mut system);
        Ok(found)
    }
}

/// Adds messages that were read apart, each once.
fn merge(messages: &mut Vec<StoredMessage>, others: impl IntoIterator<Item = StoredMessage>) {
    messages.extend(others);
    messages.sort_by_key(|message| message.seq);
    messages.dedup_by_key(|message| message.seq);
}
