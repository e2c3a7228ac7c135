//! Retention (C4).
//!
//! Messages are evicted from the oldest on until the rest is within the limits. The conversation's
//! row counts the rest, so this reads only what it evicts.

use memquill_core::{ConversationSize, Lineage, Result, Retention, Role};
use sqlx::SqliteConnection;

use super::{Counters, ids};
use crate::codec::integer;
use crate::error::{damaged, translate};

/// The newest message always stays; it need not have the last number, where messages were restored.
const OLDEST: &str = "
SELECT seq, role, tokens, id IS NOT NULL FROM conversation_buffers
WHERE conversation = ?1 AND seq >= ?2 AND (role <> 0 OR ?3)
    AND seq < (SELECT max(seq) FROM conversation_buffers WHERE conversation = ?1) AND seq <= ?5
ORDER BY seq LIMIT ?4";

const EVICT: &str = "
DELETE FROM conversation_buffers
WHERE conversation = ?1 AND seq BETWEEN ?2 AND ?3 AND (role <> 0 OR ?4)";

const SET_COUNTERS: &str = "
UPDATE conversations SET others_from = ?2, system_count = ?3, user_count = ?4,
    assistant_count = ?5, tool_count = ?6, tokens = ?7, system_tokens = ?8, revision = ?9,
    summarized_through = ?10
WHERE conversation = ?1";

/// Messages read beyond those that must be evicted because of their number.
const LOOK_AHEAD: u64 = 32;

/// Messages from `first` to `last`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) first: u64,
    pub(super) last: u64,
    /// Whether system messages are among them.
    pub(super) with_system: bool,
}

impl Range {
    pub(super) fn everything(counters: &Counters) -> Self {
        Self { first: 0, last: counters.last_seq, with_system: true }
    }
}

/// Evicts what the rule does not keep; returns the counters after that, and the number of messages
/// evicted.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    counters: Counters,
    rule: &Retention,
) -> Result<(Counters, u64)> {
    let mut left = counters;
    if let Some(seq) = rule.up_to_seq {
        let through = &mut left.lineage.summarized_through;
        *through = seq.min(counters.last_seq).max(*through);
    }
    let mut gone = Range {
        first: if rule.keep_system { counters.others_from } else { 0 },
        last: 0,
        with_system: !rule.keep_system,
    };
    let mut with_ids = false;
    'evicting: while let Some(excess) = excess(&left, rule) {
        let rows: Vec<(i64, u32, u32, bool)> = sqlx::query_as(OLDEST)
            .bind(counters.conversation)
            .bind(integer(gone.first.max(gone.last + 1)))
            .bind(gone.with_system)
            .bind(integer(excess.messages.saturating_add(LOOK_AHEAD)))
            .bind(integer(rule.up_to_seq.unwrap_or(u64::MAX)))
            .fetch_all(&mut *connection)
            .await
            .map_err(translate)?;
        if rows.is_empty() {
            break;
        }
        for (seq, role, tokens, with_id) in rows {
            if self::excess(&left, rule).is_none() {
                break 'evicting;
            }
            left.remove(role, 1, tokens.into())?;
            gone.last = seq.unsigned_abs();
            with_ids |= with_id;
        }
    }
    let evicted = counters.messages() - left.messages();
    if evicted > 0 {
        left.others_from = counters.others_from.max(gone.last + 1);
        if with_ids {
            ids::retire(connection, &counters, gone).await?;
        }
        evict(connection, counters.conversation, gone).await?;
    }
    if evicted > 0 || left.lineage != counters.lineage {
        set(connection, &left).await?;
    }
    Ok((left, evicted))
}

/// Computes by how much the messages that can be evicted exceed the rest of the budget; none if they
/// fit.
fn excess(counters: &Counters, rule: &Retention) -> Option<ConversationSize> {
    let budget = rule.budget(counters.system());
    let mut held = counters.all();
    if rule.keep_system {
        held.messages -= counters.system().messages;
        held.tokens -= counters.system().tokens;
    }
    let excess = ConversationSize {
        messages: held.messages.saturating_sub(budget.messages),
        tokens: held.tokens.saturating_sub(budget.tokens),
    };
    (excess != ConversationSize::default()).then_some(excess)
}

impl Counters {
    /// Counts messages of a role out.
    pub(super) fn remove(&mut self, role: u32, messages: u64, tokens: u64) -> Result<()> {
        let wrong = || damaged("a conversation's counter");
        let count = self.counts.get_mut(role as usize).ok_or_else(wrong)?;
        *count = count.checked_sub(messages).ok_or_else(wrong)?;
        self.tokens = self.tokens.checked_sub(tokens).ok_or_else(wrong)?;
        if role == Role::System as u32 {
            self.system_tokens = self.system_tokens.checked_sub(tokens).ok_or_else(wrong)?;
        }
        Ok(())
    }
}

async fn evict(connection: &mut SqliteConnection, conversation: i64, gone: Range) -> Result<()> {
    let query = sqlx::query(EVICT)
        .bind(conversation)
        .bind(integer(gone.first))
        .bind(integer(gone.last))
        .bind(gone.with_system);
    query.execute(connection).await.map_err(translate)?;
    Ok(())
}

/// Writes counters and lineage back.
pub(super) async fn set(connection: &mut SqliteConnection, counters: &Counters) -> Result<()> {
    let mut query =
        sqlx::query(SET_COUNTERS).bind(counters.conversation).bind(integer(counters.others_from));
    for count in counters.counts {
        query = query.bind(integer(count));
    }
    let Lineage { revision, summarized_through, .. } = counters.lineage;
    let query = query
        .bind(integer(counters.tokens))
        .bind(integer(counters.system_tokens))
        .bind(integer(revision))
        .bind(integer(summarized_through));
    query.execute(connection).await.map_err(translate)?;
    Ok(())
}
