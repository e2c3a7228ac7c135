//! `chat import`: transcripts into conversations.

pub(super) mod forms;
mod index;

use std::collections::{BTreeSet, HashMap};
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use indicatif::ProgressBar;
use memquill::driver::{ConversationStore, Limits};
use memquill::kinds::KindName;
use memquill::transfer::transcript::{Conversation, Found, Transcripts};
use memquill::transfer::{LeftOut, Omission};
use memquill::{Append, Error, ErrorKind, Memory, Message, Result, Scope, StoredMessage};
use serde_json::json;

use self::index::Index;
use super::search::{documents, of_space};
use super::{chat, progress};
use crate::args;
use crate::input::{self, concerns_the_item, leave_out, text};
use crate::output::{BOLD, Output, failure_of, printable, rounded, table, write_left_out};
use crate::session::Session;
use crate::{Done, Failure};

/// The work of an import, in numbers.
#[derive(Default)]
struct Summary {
    files: Vec<FileSummary>,
    tool_calls: u64,
    /// Turns that were stored to be found, where that was asked for.
    indexed: Option<u64>,
    /// Fields that say something which no store keeps.
    not_kept: BTreeSet<String>,
    /// What the transcripts hold beside the conversations.
    set_aside: LeftOut,
    left_out: LeftOut,
}

/// The work on a file.
struct FileSummary {
    file: PathBuf,
    /// The forms that it has.
    forms: BTreeSet<&'static str>,
    conversations: u64,
    messages: u64,
    /// Messages that were there already.
    known: u64,
    left_out: u64,
}

pub(crate) async fn import(args: args::Import, session: &Session, output: Output) -> Done {
    let begun = Instant::now();
    let target = match session.existing_memory().await {
        // The first conversation creates it.
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        opened => Some(Target::of(&opened?, &args, session)?),
    };
    let mut import = Import { session, args: &args, target };
    let mut summary = Summary::default();
    for file in &args.files {
        import.file(file, &mut summary).await?;
    }
    import.finish_index(&mut summary).await?;
    summary.print(begun.elapsed().as_secs_f64(), output)?;
    if summary.left_out.is_empty() { Ok(()) } else { Err(Failure::Answered) }
}

struct Import<'a> {
    session: &'a Session,
    args: &'a args::Import,
    /// None until there is a conversation to store, where the store does not exist.
    target: Option<Target<'a>>,
}

/// Where conversations go.
struct Target<'a> {
    /// The options that lead to the same store, for hints.
    options: &'a str,
    store: Arc<dyn ConversationStore>,
    scope: Scope,
    index: Option<Index>,
}

impl<'a> Target<'a> {
    fn of(memory: &Memory, args: &args::Import, session: &'a Session) -> Result<Self> {
        let index =
            if args.index { Some(Index::new(args, documents(session, memory)?)) } else { None };
        Ok(Self {
            options: session.flags(),
            store: Arc::clone(memory.conversations()?),
            scope: session.scope(KindName::ConversationBuffer)?,
            index,
        })
    }

    /// Stores the turns of a conversation to be found, where that was asked for.
    async fn index(&mut self, read: &Conversation) -> Result<()> {
        let Some(index) = &mut self.index else { return Ok(()) };
        let stored = chat::read(self.store.as_ref(), &self.scope, &read.id, None).await?;
        let added = index.add(read, &stored).await;
        added.map_err(|error| of_space(error, index.namespace(), self.options))
    }

    /// Appends the messages that are not there yet, and returns how many these are. Where one of
    /// them differs from what is there, nothing is appended.
    async fn append(&self, read: &Conversation) -> Result<u64> {
        let Conversation { id: conversation, messages, .. } = read;
        // A conversation of one batch is one call; the store says whether it has grown.
        if messages.len() <= Limits::CONTRACT.batch_items {
            match self.append_batch(conversation, 0, messages).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                done => return done,
            }
        }
        let stored = chat::read(self.store.as_ref(), &self.scope, conversation, None).await?;
        let known = known(read, &stored)?;
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

impl<'a> Import<'a> {
    /// Returns where conversations go; the first one creates a store that does not exist.
    async fn target(&mut self) -> Result<&mut Target<'a>> {
        Ok(match &mut self.target {
            Some(target) => target,
            none => {
                let memory = self.session.memory().await?;
                none.insert(Target::of(&memory, self.args, self.session)?)
            }
        })
    }

    async fn file(&mut self, file: &Path, summary: &mut Summary) -> Result<()> {
        let (reader, bytes) = match text::open(file) {
            Ok(opened) => opened,
            // One of several files holds no other.
            Err(error) if self.args.files.len() > 1 && !self.args.strict => {
                leave_out(&mut summary.left_out, file, None, &error);
                return Ok(());
            }
            Err(error) => return Err(input::at(file, None, error)),
        };
        let mut transcripts = Transcripts::new(reader).with_unknown(forms::no_transcript);
        if let Some(form) = self.args.from {
            transcripts = transcripts.with_form(form);
        }
        if let Some(name) = file.file_stem().and_then(|name| name.to_str()).filter(|n| *n != "-") {
            transcripts = transcripts.with_name(name);
        }
        summary.files.push(FileSummary {
            file: file.to_owned(),
            forms: BTreeSet::new(),
            conversations: 0,
            messages: 0,
            known: 0,
            left_out: 0,
        });
        let bar = progress(bytes, "bytes");
        let read = self.conversations(file, transcripts, summary, &bar).await;
        bar.finish_and_clear();
        read
    }

    async fn conversations(
        &mut self,
        file: &Path,
        mut transcripts: Transcripts<impl BufRead>,
        summary: &mut Summary,
        bar: &ProgressBar,
    ) -> Result<()> {
        let mut first = None;
        while let Some(Found { line, conversation }) =
            transcripts.next().map_err(|error| input::at(file, None, error))?
        {
            bar.set_position(transcripts.read());
            let imported = match conversation {
                Ok(conversation) => {
                    if let Some(error) = self.refused(&conversation) {
                        Err(error)
                    } else {
                        let target = self.target().await?;
                        let added = target.append(&conversation).await;
                        added.map(|added| summary.add(&conversation, added)).map(|()| conversation)
                    }
                }
                // The first item of a file in another form speaks for all.
                Err(error)
                    if forms::is_named(&error)
                        && !forms::is_no_json(&error)
                        && summary.in_file() == 0 =>
                {
                    return self.other_file(file, line, error, summary);
                }
                Err(error) => Err(error),
            };
            match imported {
                Ok(conversation) => {
                    // The index is one for all: what it refuses is no fault of the conversation.
                    let indexed = self.target().await?.index(&conversation).await;
                    indexed.map_err(|error| summary.stopped(file, line, error))?;
                    summary.set_aside(file, line, &conversation);
                    summary.leave_out(file, line, &conversation);
                    bar.set_message(format!("{} conversations", summary.conversations()));
                }
                Err(error) => {
                    if first.is_none() {
                        first = Some(forms::is_no_json(&error).then(|| (line, error.clone())));
                    }
                    if self.args.strict || !concerns_the_item(&error) {
                        return Err(summary.stopped(file, line, error));
                    }
                    leave_out(&mut summary.left_out, file, Some(line), &error);
                    if let Some(file) = summary.files.last_mut() {
                        file.left_out += 1;
                    }
                }
            }
        }
        // A file that begins with text and holds no conversation is no damaged transcript.
        match first {
            Some(Some((line, error))) if summary.in_file() == 0 && self.args.files.len() == 1 => {
                self.other_file(file, line, error, summary)
            }
            _ => Ok(()),
        }
    }

    /// Reports a file that is no transcript. It holds no other of several.
    fn other_file(
        &self,
        file: &Path,
        line: u64,
        error: Error,
        summary: &mut Summary,
    ) -> Result<()> {
        let error = forms::complete(error, &text::shown(file), self.session.flags());
        if self.args.strict || self.args.files.len() == 1 {
            return Err(input::at(file, Some(line), error));
        }
        leave_out(&mut summary.left_out, file, Some(line), &error);
        if let Some(file) = summary.files.last_mut() {
            file.left_out += 1;
        }
        Ok(())
    }

    /// Says why a conversation is refused for a message that is wrong: where one is to stop at what
    /// is wrong.
    fn refused(&self, read: &Conversation) -> Option<Error> {
        let first = read.left_out.first().filter(|_| self.args.strict)?;
        let error = Error::invalid_input(first.reason.clone());
        Some(match &first.hint {
            Some(hint) => error.with_hint(hint.clone()),
            None => error,
        })
    }

    async fn finish_index(&mut self, summary: &mut Summary) -> Result<()> {
        if !self.args.index {
            return Ok(());
        }
        let mut turns = 0;
        if let Some(Target { index: Some(index), options, .. }) = &mut self.target {
            let finished = index.finish().await;
            turns = finished.map_err(|error| of_space(error, index.namespace(), options))?;
        }
        summary.indexed = Some(turns);
        Ok(())
    }
}

/// Counts the messages at the beginning that are stored exactly so. A later one that is stored, too,
/// or one that is stored with another body, is a conflict.
fn known(read: &Conversation, stored: &[StoredMessage]) -> Result<usize> {
    let messages = &read.messages;
    let stored: HashMap<_, _> =
        stored.iter().map(|stored| (&stored.message.id, &stored.message)).collect();
    let same = |message: &Message| {
        stored.get(&message.id).is_some_and(|s| s.body_digest() == message.body_digest())
    };
    let known = messages.iter().position(|message| !same(message)).unwrap_or(messages.len());
    let left = |id: &String| stored.contains_key(&Some(id.clone()));
    if known < messages.len() && read.other_branches.iter().any(left) {
        return Err(Error::conflict(format!(
            "message {}: the conversation went on in another branch since it was imported",
            known + 1
        ))
        .with_hint("to have it as it is now, import it as another --user or at another --node"));
    }
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
    /// Counts a conversation of which `added` messages are new.
    fn add(&mut self, read: &Conversation, added: u64) {
        if let Some(file) = self.files.last_mut() {
            file.forms.insert(read.form.as_str());
            file.conversations += 1;
            file.messages += added;
            file.known += read.messages.len() as u64 - added;
        }
        self.tool_calls += read.messages.iter().map(|m| m.calls().count() as u64).sum::<u64>();
        self.not_kept.extend(read.not_kept.iter().cloned());
    }

    /// Reports the messages of a conversation that were left out.
    fn leave_out(&mut self, file: &Path, line: u64, read: &Conversation) {
        for omission in &read.left_out {
            self.left_out.add(Omission {
                file: Some(file.display().to_string()),
                line: Some(line),
                ..omission.clone()
            });
            if let Some(file) = self.files.last_mut() {
                file.left_out += 1;
            }
        }
    }

    fn conversations(&self) -> u64 {
        self.files.iter().map(|file| file.conversations).sum()
    }

    /// The number of conversations of the file that is being read.
    fn in_file(&self) -> u64 {
        self.files.last().map_or(0, |file| file.conversations)
    }

    /// Notes what the form holds beside a conversation.
    fn set_aside(&mut self, file: &Path, line: u64, read: &Conversation) {
        for what in &read.set_aside {
            self.set_aside.add(Omission {
                file: Some(file.display().to_string()),
                line: Some(line),
                reason: format!("conversation {:?}: {what}", read.id),
                ..Omission::default()
            });
        }
    }

    fn print(&self, seconds: f64, output: Output) -> io::Result<()> {
        let total = |of: fn(&FileSummary) -> u64| self.files.iter().map(of).sum::<u64>();
        let (messages, known) = (total(|file| file.messages), total(|file| file.known));
        let mut value = json!({
            "success": self.left_out.is_empty(),
            "conversations": self.conversations(),
            "messages": messages,
            "already_there": known,
            "tool_calls": self.tool_calls,
            "indexed": self.indexed,
            "not_kept": self.not_kept,
            "set_aside": self.set_aside,
            "left_out": self.left_out,
            "seconds": rounded(seconds),
        });
        failure_of(&mut value, &self.left_out);
        output.answer(&value, |out| {
            let mut lines =
                table(["file", "form", "conversations", "new messages", "already there", "left out"]);
            for file in &self.files {
                lines.add_row([
                    printable(&file.file.display().to_string()),
                    file.forms.iter().copied().collect::<Vec<_>>().join(", "),
                    file.conversations.to_string(),
                    file.messages.to_string(),
                    file.known.to_string(),
                    file.left_out.to_string(),
                ]);
            }
            writeln!(out, "{lines}")?;
            writeln!(
                out,
                "{BOLD}{}{BOLD:#} conversations with {BOLD}{messages}{BOLD:#} new messages ({known} \
                 were there already) and {} tool calls in {seconds:.1} s",
                self.conversations(),
                self.tool_calls
            )?;
            if let Some(turns) = self.indexed {
                writeln!(out, "{BOLD}{turns}{BOLD:#} turns stored to be found")?;
            }
            if !self.not_kept.is_empty() {
                let keys: Vec<_> = self.not_kept.iter().map(|key| printable(key)).collect();
                writeln!(
                    out,
                    "not kept, since they are no part of a message: {}",
                    keys.join(", ")
                )?;
            }
            if !self.set_aside.is_empty() {
                writeln!(out, "beside the conversations:")?;
                for omission in &self.set_aside.items {
                    writeln!(out, "  {}", printable(&omission.to_string()))?;
                }
                let more = self.set_aside.count - self.set_aside.items.len() as u64;
                if more > 0 {
                    writeln!(out, "  and {more} more")?;
                }
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
            self.conversations(),
        );
        input::at(file, Some(line), error).with_hint(hint)
    }
}
