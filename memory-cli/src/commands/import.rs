//! `chat import`: transcripts into conversations.

pub(super) mod forms;
mod index;
mod transcript;

use std::collections::{BTreeSet, HashMap};
use std::io::{self, BufRead};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use indicatif::ProgressBar;
use memquill::kinds::KindName;
use memquill::transfer::LeftOut;
use memquill::transfer::items::{Item, Items};
use memquill::{
    Append, ConversationStore, Error, ErrorKind, Limits, Message, Result, Scope, StoredMessage,
};
use serde_json::json;

use self::index::Index;
use self::transcript::Transcript;
pub(super) use self::transcript::is_derived;
use super::search::{documents, of_space};
use super::{chat, progress};
use crate::args;
use crate::input::{self, concerns_the_item, leave_out, text};
use crate::output::{BOLD, Output, failure_of, rounded, write_left_out};
use crate::session::Session;
use crate::{Done, Failure};

/// The work of an import, in numbers.
#[derive(Default)]
struct Summary {
    conversations: u64,
    messages: u64,
    tool_calls: u64,
    /// Messages that were there already.
    known: u64,
    /// Turns that were stored to be found, where that was asked for.
    indexed: Option<u64>,
    /// Keys of lines that say something which no store keeps.
    not_kept: BTreeSet<&'static str>,
    left_out: LeftOut,
}

pub(crate) async fn import(args: args::Import, session: &Session, output: Output) -> Done {
    let begun = Instant::now();
    let file = args.file.as_path();
    let (reader, bytes) = text::open(file).map_err(|error| input::at(file, None, error))?;
    let memory = session.memory().await?;
    let index =
        if args.index { Some(Index::new(&args, documents(session, &memory)?)) } else { None };
    let mut import = Import {
        file,
        options: session.flags(),
        strict: args.strict,
        store: Arc::clone(memory.conversations()?),
        scope: session.scope(KindName::ConversationBuffer)?,
        index,
    };
    let bar = progress(bytes, "bytes");
    let mut summary = Summary::default();
    let imported = import.items(Items::new(reader), &mut summary, &bar).await;
    bar.finish_and_clear();
    imported?;
    summary.print(begun.elapsed().as_secs_f64(), output)?;
    if summary.left_out.is_empty() { Ok(()) } else { Err(Failure::Answered) }
}

struct Import<'a> {
    file: &'a Path,
    /// The options that lead to the same store, for hints.
    options: &'a str,
    strict: bool,
    store: Arc<dyn ConversationStore>,
    scope: Scope,
    index: Option<Index>,
}

impl Import<'_> {
    async fn items(
        &mut self,
        mut items: Items<impl BufRead>,
        summary: &mut Summary,
        bar: &ProgressBar,
    ) -> Result<()> {
        let mut no_json = None;
        while let Some(Item { line, text, .. }) =
            items.next().map_err(|error| input::at(self.file, None, error))?
        {
            if no_json.is_none() {
                let text = text.as_deref().unwrap_or("{");
                no_json = Some((line, forms::is_no_json(text).then(|| forms::no_json(text))));
            }
            bar.set_position(items.read());
            let transcript = text.and_then(|text| Transcript::parse(&text, line));
            let imported = match transcript {
                Ok(transcript) => {
                    self.conversation(&transcript, summary).await.map(|()| transcript)
                }
                // The first item of a file in another form speaks for all.
                Err(error) if forms::is_named(&error) && summary.conversations == 0 => {
                    let error = forms::complete(error, &text::shown(self.file), self.options);
                    return Err(input::at(self.file, Some(line), error));
                }
                Err(error) => Err(error),
            };
            match imported {
                Ok(transcript) => {
                    // The index is one for all: what it refuses is no fault of the conversation.
                    let indexed = self.index(&transcript).await;
                    indexed.map_err(|error| summary.stopped(self.file, line, error))?;
                    bar.set_message(format!("{} conversations", summary.conversations));
                }
                Err(error) if self.strict || !concerns_the_item(&error) => {
                    return Err(summary.stopped(self.file, line, error));
                }
                Err(error) => leave_out(&mut summary.left_out, self.file, Some(line), &error),
            }
        }
        // A file that begins with text and holds no conversation is no damaged transcript.
        if let (0, Some((line, Some(error)))) = (summary.conversations, no_json) {
            let error = forms::complete(error, &text::shown(self.file), self.options);
            return Err(input::at(self.file, Some(line), error));
        }
        if let Some(index) = &mut self.index {
            let finished = index.finish().await;
            let namespace = index.namespace();
            summary.indexed =
                Some(finished.map_err(|error| of_space(error, namespace, self.options))?);
        }
        Ok(())
    }

    async fn conversation(&self, transcript: &Transcript, summary: &mut Summary) -> Result<()> {
        let Transcript { conversation, messages, not_kept, .. } = transcript;
        let added = self.append(conversation, messages).await?;
        summary.conversations += 1;
        summary.messages += added;
        summary.known += messages.len() as u64 - added;
        summary.tool_calls += messages.iter().map(|m| m.tool_calls.len() as u64).sum::<u64>();
        summary.not_kept.extend(not_kept.iter().copied());
        Ok(())
    }

    /// Stores the turns of a conversation to be found, where that was asked for.
    async fn index(&mut self, transcript: &Transcript) -> Result<()> {
        let Some(index) = &mut self.index else { return Ok(()) };
        let Transcript { conversation, messages, date, .. } = transcript;
        let stored = chat::read(self.store.as_ref(), &self.scope, conversation, None).await?;
        let added = index.add(conversation, date.as_deref(), messages, &stored).await;
        added.map_err(|error| of_space(error, index.namespace(), self.options))
    }

    /// Appends the messages that are not there yet, and returns how many these are. Where one of
    /// them differs from what is there, nothing is appended.
    async fn append(&self, conversation: &str, messages: &[Message]) -> Result<u64> {
        if messages.is_empty() {
            return Err(Error::invalid_input("the conversation has no message")
                .with_hint("leave the line out"));
        }
        // A conversation of one batch is one call; the store says whether it has grown.
        if messages.len() <= Limits::CONTRACT.batch_items {
            match self.append_batch(conversation, 0, messages).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                done => return done,
            }
        }
        let stored = chat::read(self.store.as_ref(), &self.scope, conversation, None).await?;
        let known = known(messages, &stored)?;
        let mut added = 0;
        for (at, batch) in messages[known..].chunks(Limits::CONTRACT.batch_items).enumerate() {
            let before = known + at * Limits::CONTRACT.batch_items;
            added += self.append_batch(conversation, before, batch).await?;
        }
        Ok(added)
    }

    /// Appends messages that follow `before` others.
    async fn append_batch(
        &self,
        conversation: &str,
        before: usize,
        batch: &[Message],
    ) -> Result<u64> {
        let append = Append::new(conversation, batch.to_vec());
        let appended = self.store.append(&self.scope, &append).await.map_err(|error| {
            if before == 0 { error } else { error.at(format_args!("behind message {before}")) }
        })?;
        Ok(if appended.replayed { 0 } else { batch.len() as u64 })
    }
}

/// Counts the messages at the beginning that are stored exactly so. A later one that is stored, too,
/// or one that is stored with another body, is a conflict.
fn known(messages: &[Message], stored: &[StoredMessage]) -> Result<usize> {
    let stored: HashMap<_, _> =
        stored.iter().map(|stored| (&stored.message.id, &stored.message)).collect();
    let same = |message: &Message| {
        stored.get(&message.id).is_some_and(|s| s.body_digest() == message.body_digest())
    };
    let known = messages.iter().position(|message| !same(message)).unwrap_or(messages.len());
    match messages[known..].iter().position(|message| stored.contains_key(&message.id)) {
        None => Ok(known),
        Some(0) => Err(Error::conflict(format!(
            "message {}: it differs from the one that was imported before",
            known + 1
        ))
        .with_hint("to keep both, give the conversation another conversation_id")),
        Some(at) => Err(Error::conflict(format!(
            "message {}: it was imported before, but message {} was not",
            known + at + 1,
            known + 1
        ))
        .with_hint("to keep both, give the conversation another conversation_id")),
    }
}

impl Summary {
    fn print(&self, seconds: f64, output: Output) -> io::Result<()> {
        let mut value = json!({
            "success": self.left_out.is_empty(),
            "conversations": self.conversations,
            "messages": self.messages,
            "already_there": self.known,
            "tool_calls": self.tool_calls,
            "indexed": self.indexed,
            "not_kept": self.not_kept,
            "left_out": self.left_out,
            "seconds": rounded(seconds),
        });
        failure_of(&mut value, &self.left_out);
        output.answer(&value, |out| {
            writeln!(
                out,
                "{BOLD}{}{BOLD:#} conversations with {BOLD}{}{BOLD:#} new messages ({} were there \
                 already) and {} tool calls in {seconds:.1} s",
                self.conversations, self.messages, self.known, self.tool_calls
            )?;
            if let Some(turns) = self.indexed {
                writeln!(out, "{BOLD}{turns}{BOLD:#} turns stored to be found")?;
            }
            if !self.not_kept.is_empty() {
                let keys: Vec<_> = self.not_kept.iter().copied().collect();
                writeln!(
                    out,
                    "not kept, since they are no part of a message: {}",
                    keys.join(", ")
                )?;
            }
            write_left_out(out, &self.left_out)
        })
    }

    /// The error that stopped an import, with what the lines before it came to.
    fn stopped(&self, file: &Path, line: u64, error: Error) -> Error {
        let hint = format!(
            "{}{}{} conversations before it are imported; import the file again once the line is \
             right",
            error.hint().unwrap_or_default(),
            if error.hint().is_some() { "; " } else { "" },
            self.conversations,
        );
        input::at(file, Some(line), error).with_hint(hint)
    }
}
