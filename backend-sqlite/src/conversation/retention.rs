//! Retention (C4).
//!
//! The longest suffix within the limits is what is left when messages go from the old end until
//! the rest is within them. The conversation's row says what the rest amounts to, so this reads
//! only what it evicts.

use memquill_core::{Kept, Result, Retention, Role};
use sqlx::SqliteConnection;

use super::{Figures, ids};
use crate::error::{damaged, sql};
use crate::rows::integer;

/// The newest message always stays; it need not have the last number, where messages were restored.
const OLDEST: &str = "
SELECT seq, role, tokens, id IS NOT NULL FROM messages
WHERE conversation = ?1 AND seq >= ?2 AND (role <> 0 OR ?3)
    AND seq < (SELECT max(seq) FROM messages WHERE conversation = ?1)
ORDER BY seq LIMIT ?4";

const EVICT: &str = "
DELETE FROM messages
WHERE conversation = ?1 AND seq BETWEEN ?2 AND ?3 AND (role <> 0 OR ?4)";

const SET_FIGURES: &str = "
UPDATE conversations SET others_from = ?2, system_count = ?3, user_count = ?4,
    assistant_count = ?5, tool_count = ?6, tokens = ?7, system_tokens = ?8
WHERE conversation = ?1";

/// Messages looked at beyond those that must go by their number.
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
    pub(super) fn everything(figures: &Figures) -> Self {
        Self { first: 0, last: figures.last_seq, with_system: true }
    }
}

/// Evicts what the rule does not keep; gives the figures then, and how many messages went.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    figures: Figures,
    rule: &Retention,
) -> Result<(Figures, u64)> {
    let mut left = figures;
    let mut gone = Range {
        first: if rule.keep_system { figures.others_from } else { 0 },
        last: 0,
        with_system: !rule.keep_system,
    };
    let mut with_ids = false;
    'evicting: while let Some(excess) = excess(&left, rule) {
        let rows: Vec<(i64, u32, u32, bool)> = sqlx::query_as(OLDEST)
            .bind(figures.conversation)
            .bind(integer(gone.first.max(gone.last + 1)))
            .bind(gone.with_system)
            .bind(integer(excess.messages.saturating_add(LOOK_AHEAD)))
            .fetch_all(&mut *connection)
            .await
            .map_err(sql)?;
        if rows.is_empty() {
            break;
        }
        for (seq, role, tokens, with_id) in rows {
            if self::excess(&left, rule).is_none() {
                break 'evicting;
            }
            left.remove(role, tokens)?;
            gone.last = seq.unsigned_abs();
            with_ids |= with_id;
        }
    }
    let evicted = figures.messages() - left.messages();
    if evicted > 0 {
        left.others_from = figures.others_from.max(gone.last + 1);
        if with_ids {
            ids::retire(connection, &figures, gone).await?;
        }
        evict(connection, figures.conversation, gone).await?;
        set(connection, &left).await?;
    }
    Ok((left, evicted))
}

/// By how much the messages that can go are over what is left for them; nothing if they fit.
fn excess(figures: &Figures, rule: &Retention) -> Option<Kept> {
    let budget = rule.budget(figures.system());
    let mut held = figures.all();
    if rule.keep_system {
        held.messages -= figures.system().messages;
        held.tokens -= figures.system().tokens;
    }
    let excess = Kept {
        messages: held.messages.saturating_sub(budget.messages),
        tokens: held.tokens.saturating_sub(budget.tokens),
    };
    (excess != Kept::default()).then_some(excess)
}

impl Figures {
    fn remove(&mut self, role: u32, tokens: u32) -> Result<()> {
        let wrong = || damaged("a conversation's figure");
        let count = self.counts.get_mut(role as usize).ok_or_else(wrong)?;
        *count = count.checked_sub(1).ok_or_else(wrong)?;
        self.tokens = self.tokens.checked_sub(tokens.into()).ok_or_else(wrong)?;
        if role == Role::System as u32 {
            self.system_tokens = self.system_tokens.checked_sub(tokens.into()).ok_or_else(wrong)?;
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
    query.execute(connection).await.map_err(sql)?;
    Ok(())
}

async fn set(connection: &mut SqliteConnection, figures: &Figures) -> Result<()> {
    let mut query =
        sqlx::query(SET_FIGURES).bind(figures.conversation).bind(integer(figures.others_from));
    for count in figures.counts {
        query = query.bind(integer(count));
    }
    let query = query.bind(integer(figures.tokens)).bind(integer(figures.system_tokens));
    query.execute(connection).await.map_err(sql)?;
    Ok(())
}
