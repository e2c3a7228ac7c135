//! The summary and the window as text for a model.

use super::{ConversationDigest, SummarizedContext, SummarizedConversation, SummarizedMessages};
use crate::conversation::Window;
use crate::error::Result;
use crate::kinds::ConversationFormat;
use crate::kinds::context::{Context, indent};
use crate::kinds::strict::at_least_one;
use crate::summarizer::cut;

impl SummarizedConversation {
    /// Writes the summary and the messages behind it, within `max_tokens` or those configured.
    pub async fn context(&self, max_tokens: Option<u64>) -> Result<SummarizedContext> {
        let max_tokens = max_tokens.unwrap_or(self.config.max_total_tokens);
        at_least_one("max_tokens", max_tokens)?;
        // A window looks no further back (C7).
        let SummarizedMessages { digest, messages, total } = self.retrieve(Some(1_000)).await?;
        let whole = digest.as_ref().map(|digest| self.written(digest, u32::MAX));
        let whole = whole.unwrap_or_default();
        let share = self.share(max_tokens);
        let tokens = |text: &str| u64::from(self.counter.count(text));
        let window = |max: u64| {
            let window = Window { max_tokens: Some(max), ..Window::default() };
            ConversationFormat::Conversation.window(&messages, &window, &*self.counter)
        };
        // What the summary leaves is the window's, and the other way about.
        let given = tokens(&whole).min(share);
        let (mut context, mut shown) = window(max_tokens.saturating_sub(given));
        let room = max_tokens.saturating_sub(u64::from(context.tokens));
        let mut room = u32::try_from(room).unwrap_or(u32::MAX);
        loop {
            let summary = match &digest {
                Some(digest) => self.written(digest, room),
                None => String::new(),
            };
            let parts = [summary.as_str(), context.text.as_str()];
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            let text = parts.join("\n\n");
            let count = tokens(&text);
            if count <= max_tokens {
                let shown: Vec<_> = shown.into_iter().cloned().collect();
                let held = usize::try_from(total).unwrap_or(usize::MAX);
                let counted = u32::try_from(count).unwrap_or(u32::MAX);
                let context = Context {
                    text,
                    items: shown.len(),
                    omitted: held.saturating_sub(shown.len()),
                    tokens: counted,
                };
                return Ok(SummarizedContext { context, summary, messages: shown });
            }
            // Counters need not add up: the whole counts for more than its parts.
            let over = u32::try_from(count - max_tokens).unwrap_or(u32::MAX);
            if room > 0 && !summary.is_empty() {
                room = room.min(self.counter.count(&summary)).saturating_sub(over);
            } else {
                let left = u64::from(context.tokens).saturating_sub(over.into());
                (context, shown) = window(left);
            }
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a number of tokens, which saturates"
    )]
    fn share(&self, max_tokens: u64) -> u64 {
        (max_tokens as f64 * self.config.summary_context_weight) as u64
    }

    /// Writes the summary as one item: its lines behind a heading and indented, so that none can
    /// pass for a message (M5). Empty where not even a sentence fits.
    fn written(&self, digest: &ConversationDigest, max_tokens: u32) -> String {
        let heading = format!("Summary of {} earlier messages:", digest.messages);
        let whole = indent(&format!("{heading}\n{}", digest.text));
        if self.counter.count(&whole) <= max_tokens {
            return whole;
        }
        let least = self.counter.count(&heading);
        let mut room = max_tokens.saturating_sub(least);
        while room > 0 {
            let text = cut(&digest.text, room, &*self.counter);
            if text.is_empty() {
                return String::new();
            }
            let written = indent(&format!("{heading}\n{text}"));
            let tokens = self.counter.count(&written);
            if tokens <= max_tokens {
                return written;
            }
            room = room.saturating_sub((tokens - max_tokens).max(1));
        }
        String::new()
    }
}
