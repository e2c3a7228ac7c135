//! Making the summary cover more (S1 to S6).

use super::{
    Advanced, ConversationDigest, SummarizedConversation, SummaryTrigger, TimeRange,
    WhenUnsummarised,
};
use crate::conversation::{ConversationStatistics, ReadMessages, Retention, StoredMessage, Trim};
use crate::error::{Error, ErrorKind, Result};
use crate::summarizer::{MAX_KEY_POINTS, Summarize, Summary, SummaryStyle, cut};
use crate::working::{Get, Put, PutCondition};

/// The most messages of one summary; more are covered by the next.
const RUN: u64 = 1_000;
/// The texts of one level of a hierarchical summary that become one of the next.
const WIDTH: usize = 10;

/// The summary that there is, and the messages that are to be added to it.
struct Due {
    /// The summary before, where it holds.
    digest: Option<ConversationDigest>,
    /// The version of the entry that it stands in, valid or not.
    version: Option<u64>,
    statistics: ConversationStatistics,
    /// The messages to be covered; empty for none.
    messages: Vec<StoredMessage>,
    /// The number through which these reach.
    through: u64,
}

impl SummarizedConversation {
    /// Whether a conversation that holds so many messages and tokens can be due for a summary.
    pub(super) fn may_be_due(&self, messages: u64, tokens: u64) -> bool {
        let beyond = messages.saturating_sub(self.config.buffer_window_size);
        let threshold = self.config.trigger_threshold;
        beyond > 0
            && match self.config.summary_trigger {
                SummaryTrigger::MessageCount => beyond >= threshold,
                SummaryTrigger::TokenCount => tokens >= threshold,
                SummaryTrigger::TimeInterval => true,
            }
    }

    /// Makes a summary where it is due, or `force` asks for it, and lets go of what it covers.
    pub(super) async fn advance(&self, force: bool) -> Advanced {
        match self.try_advance(force).await {
            Ok(advanced) => advanced,
            Err(error) => {
                let evicted = self.evict_past_the_limit().await.unwrap_or(0);
                Advanced {
                    error: Some(error),
                    unsummarised_evicted: evicted,
                    ..Advanced::default()
                }
            }
        }
    }

    async fn try_advance(&self, force: bool) -> Result<Advanced> {
        let mut due = self.due(force).await?;
        let held = due.digest.as_ref().map_or(0, |digest| digest.through_seq);
        // Whoever stored the summary may have died before it let go of what it covers.
        if due.digest.is_some() && held > due.statistics.lineage.summarized_through {
            self.let_go(held, &due.statistics).await?;
        }
        if due.messages.is_empty() {
            return Ok(Advanced { through_seq: held, ..Advanced::default() });
        }
        let digest = self.next(&due).await?;
        let condition = due.version.take().map_or(PutCondition::IfAbsent, PutCondition::IfVersion);
        let put = Put::new(self.key(), digest.write()?).with_condition(condition);
        match self.working.put(&self.scope, &put).await {
            Ok(_) => {}
            // Another summarizer was first: its summary stands (S2).
            Err(error) if error.kind() == ErrorKind::Conflict => {
                return Ok(Advanced { through_seq: held, ..Advanced::default() });
            }
            Err(error) => return Err(error),
        }
        self.let_go(digest.through_seq, &due.statistics).await?;
        Ok(Advanced { updated: true, through_seq: digest.through_seq, ..Advanced::default() })
    }

    /// Evicts what a stored summary covers (S1); nothing where the conversation was corrected since,
    /// as the summary then no longer holds.
    async fn let_go(&self, through: u64, statistics: &ConversationStatistics) -> Result<()> {
        let retention = Retention {
            keep_system: self.config.keep_system,
            ..Retention::messages(1).up_to_seq(through)
        };
        let trim =
            Trim::new(&self.config.conversation_id, retention).if_lineage(statistics.lineage);
        match self.conversations.trim(&self.scope, &trim).await {
            Err(error) if error.kind() != ErrorKind::Conflict => Err(error),
            _ => Ok(()),
        }
    }

    /// Reads what a summary is to be made of.
    async fn due(&self, force: bool) -> Result<Due> {
        let conversation = self.config.conversation_id.as_str();
        let window = usize::try_from(self.config.buffer_window_size).unwrap_or(usize::MAX);
        let newest = ReadMessages::newest(conversation, window.saturating_add(1));
        let (entry, statistics, newest) = futures_util::future::try_join3(
            async { self.working.get(&self.scope, &Get::new(self.key())).await },
            self.conversations.statistics(&self.scope, conversation),
            self.conversations.read(&self.scope, &newest),
        )
        .await?;
        let version = entry.as_ref().map(|entry| entry.version);
        let digest = entry.map(|entry| ConversationDigest::read(entry.value)).transpose()?;
        let digest = digest.filter(|digest| digest.holds(statistics.lineage));
        let covered = digest.as_ref().map_or(0, |digest| digest.through_seq);
        let mut due = Due { digest, version, statistics, messages: Vec::new(), through: covered };
        // The window stays: a cut is before it.
        let recent = newest.messages;
        if recent.len() <= window || recent[0].seq <= covered {
            return Ok(due);
        }
        let last = recent[0].seq;
        let mut after = covered;
        let mut found = Vec::new();
        while found.is_empty() && after < last {
            let before = last.min(after.saturating_add(RUN)).saturating_add(1);
            let request = ReadMessages::all(conversation).after_seq(after).before_seq(before);
            found = self.conversations.read(&self.scope, &request).await?.messages;
            after = before - 1;
        }
        let behind = recent.into_iter().filter(|stored| stored.seq > after);
        let all: Vec<StoredMessage> = found.into_iter().chain(behind).collect();
        let cut = whole_exchanges(&all, after);
        due.through = all[..cut].last().map_or(covered, |last| last.seq);
        due.messages = all.into_iter().take(cut).filter(|stored| !self.stays(stored)).collect();
        if !force && !self.is_due(&due) {
            due.messages.clear();
        }
        Ok(due)
    }

    fn is_due(&self, due: &Due) -> bool {
        let threshold = self.config.trigger_threshold;
        match self.config.summary_trigger {
            SummaryTrigger::MessageCount => due.messages.len() as u64 >= threshold,
            SummaryTrigger::TokenCount => {
                let tokens = due.messages.iter().map(|m| u64::from(m.message.tokens()));
                tokens.sum::<u64>() >= threshold
            }
            SummaryTrigger::TimeInterval => {
                // By the store's clock: the newest message has just come.
                let (Some(first), Some(now)) = (due.messages.first(), due.statistics.newest) else {
                    return false;
                };
                let age = now.as_millis().saturating_sub(first.created_at.as_millis());
                u64::try_from(age).unwrap_or(0) >= threshold.saturating_mul(60_000)
            }
        }
    }

    /// Makes the next summary, of the one before and exactly the messages behind it (S3).
    async fn next(&self, due: &Due) -> Result<ConversationDigest> {
        let before = due.digest.clone().unwrap_or_default();
        let style = self.config.summary_style;
        let max_tokens = self.config.summary_tokens();
        let hierarchical = style == SummaryStyle::Hierarchical;
        let previous = Some(before.text.as_str()).filter(|text| !text.is_empty() && !hierarchical);
        let run = if hierarchical { max_tokens / 4 } else { max_tokens };
        let request = Summarize {
            previous,
            messages: &due.messages,
            style,
            max_tokens: run.max(1),
            counter: &*self.counter,
        };
        let summary = self.summarizer.summarize(&request).await?;
        let (text, key_points, levels) = match style {
            SummaryStyle::Progressive => (summary.text.clone(), Vec::new(), Vec::new()),
            SummaryStyle::KeyPoints => {
                let points = self.points(&summary, max_tokens);
                (points.join("\n"), points, Vec::new())
            }
            SummaryStyle::Hierarchical => {
                let levels = self.levels(before.levels, summary.text.clone(), max_tokens).await?;
                let texts: Vec<&str> = levels.iter().rev().flatten().map(String::as_str).collect();
                (texts.join("\n"), Vec::new(), levels)
            }
        };
        let mut entities = before.entities;
        for entity in summary.entities {
            if self.config.preserve_entities && !entities.contains(&entity) {
                entities.push(entity);
            }
        }
        let (first, last) = (due.messages.first(), due.messages.last());
        let start = before.time_range.map(|range| range.start).or(first.map(|m| m.created_at));
        let end = last.map(|m| m.created_at);
        Ok(ConversationDigest {
            text: cut(&text, max_tokens, &*self.counter),
            key_points,
            entities,
            levels,
            through_seq: due.through,
            messages: before.messages + due.messages.len() as u64,
            generation: before.generation + 1,
            model: self.summarizer.name().to_owned(),
            version: self.summarizer.version(),
            time_range: start.zip(end).map(|(start, end)| TimeRange { start, end }),
            lineage: due.statistics.lineage,
            summarized_at: due.statistics.newest,
        })
    }

    /// The key points that fit, each once.
    fn points(&self, summary: &Summary, max_tokens: u32) -> Vec<String> {
        let mut points: Vec<String> = Vec::new();
        for point in &summary.key_points {
            let point = crate::kinds::context::fold(point);
            if !point.is_empty() && !points.contains(&point) && points.len() < MAX_KEY_POINTS {
                points.push(point);
            }
        }
        while self.counter.count(&points.join("\n")) > max_tokens && points.pop().is_some() {}
        points
    }

    /// Adds the text of a run; ten texts of a level become one of the next, and the oldest too where
    /// all together are too long.
    async fn levels(
        &self,
        mut levels: Vec<Vec<String>>,
        text: String,
        max_tokens: u32,
    ) -> Result<Vec<Vec<String>>> {
        let mut carry = text;
        let mut at = 0;
        loop {
            if levels.len() == at {
                levels.push(Vec::new());
            }
            levels[at].push(carry);
            if levels[at].len() < WIDTH {
                break;
            }
            let texts = std::mem::take(&mut levels[at]);
            carry = self.condense(&texts, max_tokens / 4).await?;
            at += 1;
        }
        let total = |levels: &[Vec<String>]| {
            self.counter
                .count(&levels.iter().rev().flatten().cloned().collect::<Vec<_>>().join("\n"))
        };
        while total(&levels) > max_tokens {
            let texts: Vec<String> = levels.drain(..).rev().flatten().collect();
            if texts.len() < 2 {
                let only = texts.first().map(|text| cut(text, max_tokens, &*self.counter));
                return Ok(vec![only.into_iter().collect()]);
            }
            levels = vec![Vec::new(), vec![self.condense(&texts, max_tokens / 2).await?]];
        }
        Ok(levels)
    }

    /// Makes one text of several.
    async fn condense(&self, texts: &[String], max_tokens: u32) -> Result<String> {
        let request = Summarize {
            previous: Some(&texts.join("\n")),
            messages: &[],
            style: SummaryStyle::Progressive,
            max_tokens: max_tokens.max(1),
            counter: &*self.counter,
        };
        let summary = self.summarizer.summarize(&request).await?;
        Ok(cut(&summary.text, max_tokens.max(1), &*self.counter))
    }

    /// How many messages may wait for a summary (S5).
    fn limit(&self) -> u64 {
        2 * (self.config.buffer_window_size + self.config.trigger_threshold.min(1_000))
    }

    /// Evicts the oldest messages past twice the limit although no summary covers them.
    async fn evict_past_the_limit(&self) -> Result<u64> {
        if self.config.when_unsummarised == WhenUnsummarised::Refuse {
            return Ok(0);
        }
        let retention =
            Retention { keep_system: self.config.keep_system, ..Retention::messages(self.limit()) };
        let trim = Trim::new(&self.config.conversation_id, retention);
        self.conversations.trim(&self.scope, &trim).await
    }

    /// Refuses to store more where too many messages wait for a summary.
    pub(super) async fn refuse_if_full(&self) -> Result<()> {
        let held = self.statistics().await?;
        let waiting = if self.config.keep_system {
            held.message_count - held.system_count
        } else {
            held.message_count
        };
        if waiting < self.limit() {
            return Ok(());
        }
        // The summarizer may work again.
        let advanced = self.try_advance(true).await.map_err(|error| {
            Error::unavailable(format!(
                "{waiting} messages wait for a summary, which fails: {error}"
            ))
            .with_hint("look at the summarizer, or set when_unsummarised to evict")
        })?;
        if advanced.updated { Ok(()) } else { Err(full(waiting)) }
    }
}

fn full(waiting: u64) -> Error {
    Error::unavailable(format!("{waiting} messages wait for a summary"))
        .with_hint("store again when the summary is made, or set when_unsummarised to evict")
}

/// How many of the messages can be covered: up to those of the number `last`, and fewer so that no
/// call is separated from a result of it (S4).
fn whole_exchanges(messages: &[StoredMessage], last: u64) -> usize {
    let mut cut = messages.partition_point(|stored| stored.seq <= last);
    let mut at = messages.len();
    // From behind: what the cut leaves behind it may itself answer a call before.
    while at > cut {
        at -= 1;
        for result in messages[at].message.results() {
            let called = messages[..at].iter().rposition(|earlier| match result {
                Some(id) => earlier.message.calls().any(|call| call == id),
                None => !earlier.message.tool_calls().is_empty(),
            });
            cut = cut.min(called.unwrap_or(cut));
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::conversation::{Message, Role};
    use crate::time::Timestamp;

    fn stored(messages: Vec<Message>) -> Vec<StoredMessage> {
        (1..)
            .zip(messages)
            .map(|(seq, message)| StoredMessage { seq, created_at: Timestamp::default(), message })
            .collect()
    }

    fn call(id: &str) -> Message {
        Message {
            content: None,
            tool_calls: vec![json!({"id": id, "function": {"name": "f"}})],
            ..Message::assistant("")
        }
    }

    #[test]
    fn s4_a_cut_moves_down_to_where_no_call_is_separated_from_its_results() {
        let user = || Message::user("x");
        let result = |id| Message::tool(id, "42");
        let messages = stored(vec![user(), call("a"), user(), result("a"), user()]);
        for (last, expected) in [(1, 1), (2, 1), (3, 1), (4, 4), (5, 5)] {
            assert_eq!(whole_exchanges(&messages, last), expected, "{last}");
        }
        // One exchange begins within another.
        let messages = stored(vec![user(), call("a"), call("b"), result("a"), user(), result("b")]);
        assert_eq!(whole_exchanges(&messages, 5), 1);
        // A result without an id answers the nearest calls; one without a call answers none.
        let lost = Message { tool_call_id: None, ..Message::new(Role::Tool, "42") };
        let messages = stored(vec![user(), call("a"), lost, result("gone"), user()]);
        assert_eq!(whole_exchanges(&messages, 2), 1);
        assert_eq!(whole_exchanges(&messages, 3), 3);
    }
}
