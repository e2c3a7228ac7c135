//! `chat import`: transcripts into conversations.

mod index;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use indicatif::ProgressBar;
use memquill::kinds::{KindName, strict};
use memquill::{
    Append, ConversationStore, Error, ErrorKind, Limits, Message, ReadMessages, Result, Scope,
    content_hash, json,
};
use serde::Deserialize;
use serde_json::{Value, json};

use self::index::Index;
use super::search::documents;
use super::{chat, progress, unreadable};
use crate::Done;
use crate::args;
use crate::output::{BOLD, Output};
use crate::session::Session;

/// The id that a message without one of its own is given, so that importing it again is a replay
/// (C3). It says where the message stands in its conversation, and cannot be met by chance.
pub(super) fn derived_id(conversation: &str, position: usize) -> String {
    let hash = content_hash(&format!("{conversation}\0{position}"));
    format!("import-{position}-{}", &hash[..16])
}

/// Whether an id was derived by [`derived_id`] for a message of the conversation.
pub(super) fn is_derived(conversation: &str, id: &str) -> bool {
    id.strip_prefix("import-")
        .and_then(|rest| rest.split_once('-'))
        .and_then(|(position, _)| position.parse().ok())
        .is_some_and(|position| derived_id(conversation, position) == id)
}

/// A line of the file.
#[derive(Deserialize)]
struct Transcript {
    conversation_id: String,
    messages: Vec<Value>,
    /// When it took place, in the metadata of turns that are stored to be found.
    date: Option<String>,
}

impl Transcript {
    fn parse(line: &str) -> Result<Self> {
        let Value::Object(object) = json::parse(line)? else {
            return Err(Error::invalid_input("a line is a JSON object")
                .with_hint(r#"write {"conversation_id": "…", "messages": […]}"#));
        };
        strict::from_object("a conversation", &object)
    }

    /// The messages, each with an id.
    fn messages(&self) -> Result<Vec<Message>> {
        let identified = |(position, value)| {
            let mut message = Message::from_chat(value)
                .map_err(|error| error.at(format_args!("message {}", position + 1)))?;
            message.id.get_or_insert_with(|| derived_id(&self.conversation_id, position));
            Ok(message)
        };
        self.messages.iter().enumerate().map(identified).collect()
    }
}

/// What was imported.
#[derive(Default)]
struct Summary {
    conversations: u64,
    messages: u64,
    tool_calls: u64,
    /// Messages that were there already.
    known: u64,
    /// Turns that were stored to be found, where that was asked for.
    indexed: Option<u64>,
}

pub(crate) async fn import(args: args::Import, session: &Session, output: Output) -> Done {
    let begun = Instant::now();
    let file = args.file.as_path();
    let (reader, bytes) = open(file)?;
    let memory = session.memory().await?;
    let index =
        if args.index { Some(Index::new(&args, documents(session, &memory)?)) } else { None };
    let mut import = Import {
        store: Arc::clone(memory.conversations()?),
        scope: session.scope(KindName::ConversationBuffer)?,
        index,
    };
    let bar = progress(bytes, "bytes");
    let mut summary = Summary::default();
    for (at_line, line) in reader.lines().enumerate() {
        let line = line.map_err(|error| unreadable(file, &error));
        let imported = match line {
            Ok(line) => import.line(&line, &mut summary, &bar).await,
            Err(error) => Err(error),
        };
        if let Err(error) = imported {
            bar.finish_and_clear();
            return Err(summary.stopped(file, at_line + 1, error).into());
        }
    }
    if let Some(index) = &mut import.index {
        summary.indexed = Some(index.finish().await?);
    }
    bar.finish_and_clear();
    let seconds = begun.elapsed().as_secs_f64();
    Ok(summary.print(seconds, output)?)
}

fn open(file: &Path) -> Result<(Box<dyn BufRead>, u64)> {
    if file.as_os_str() == "-" {
        return Ok((Box::new(io::stdin().lock()), 0));
    }
    let opened = File::open(file).and_then(|f| f.metadata().map(|meta| (f, meta.len())));
    let (opened, bytes) = opened.map_err(|error| unreadable(file, &error))?;
    Ok((Box::new(BufReader::new(opened)), bytes))
}

struct Import {
    store: Arc<dyn ConversationStore>,
    scope: Scope,
    index: Option<Index>,
}

impl Import {
    async fn line(&mut self, line: &str, summary: &mut Summary, bar: &ProgressBar) -> Result<()> {
        bar.inc(line.len() as u64 + 1);
        if line.trim().is_empty() {
            return Ok(());
        }
        let transcript = Transcript::parse(line)?;
        let messages = transcript.messages()?;
        for batch in messages.chunks(Limits::CONTRACT.batch_items) {
            let added = self.append(&transcript.conversation_id, batch).await?;
            summary.messages += added;
            summary.known += batch.len() as u64 - added;
            summary.tool_calls += batch.iter().map(|m| m.tool_calls.len() as u64).sum::<u64>();
        }
        if let Some(index) = &mut self.index {
            let name = &transcript.conversation_id;
            let stored = chat::read(self.store.as_ref(), &self.scope, name, None).await?;
            index.add(name, transcript.date.as_deref(), &messages, &stored).await?;
        }
        summary.conversations += 1;
        bar.set_message(format!("{} conversations", summary.conversations));
        Ok(())
    }

    /// Appends what is not there yet and returns how much that was.
    async fn append(&self, conversation: &str, batch: &[Message]) -> Result<u64> {
        match self.store.append(&self.scope, &Append::new(conversation, batch.to_vec())).await {
            Ok(appended) => Ok(if appended.replayed { 0 } else { batch.len() as u64 }),
            // Known in part: the conversation may have grown since it was imported.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                let new = self.after_known(conversation, batch).await?;
                if new.is_empty() {
                    return Err(error);
                }
                let append = Append::new(conversation, new.to_vec());
                self.store.append(&self.scope, &append).await.map_err(|error| {
                    error.with_hint(
                        "a message that was imported before has changed; import the conversation \
                         under another conversation_id",
                    )
                })?;
                Ok(new.len() as u64)
            }
            Err(error) => Err(error),
        }
    }

    /// What follows, in a batch, the messages that are stored exactly so.
    async fn after_known<'a>(
        &self,
        conversation: &str,
        batch: &'a [Message],
    ) -> Result<&'a [Message]> {
        let read = self.store.read(&self.scope, &ReadMessages::all(conversation)).await?;
        let stored: HashMap<_, _> =
            read.messages.iter().map(|stored| (&stored.message.id, &stored.message)).collect();
        let new = batch.iter().position(|message| {
            stored.get(&message.id).is_none_or(|s| s.body_digest() != message.body_digest())
        });
        Ok(&batch[new.unwrap_or(batch.len())..])
    }
}

impl Summary {
    fn print(&self, seconds: f64, output: Output) -> io::Result<()> {
        let value = json!({
            "success": true,
            "conversations": self.conversations,
            "messages": self.messages,
            "already_there": self.known,
            "tool_calls": self.tool_calls,
            "indexed": self.indexed,
            "seconds": (seconds * 1000.0).round() / 1000.0,
        });
        output.answer(&value, |out| {
            writeln!(
                out,
                "{BOLD}{}{BOLD:#} conversations with {BOLD}{}{BOLD:#} new messages ({} were there \
                 already) and {} tool calls in {seconds:.1} s",
                self.conversations, self.messages, self.known, self.tool_calls
            )?;
            match self.indexed {
                Some(turns) => writeln!(out, "{BOLD}{turns}{BOLD:#} turns stored to be found"),
                None => Ok(()),
            }
        })
    }

    /// The error of one line, which also says what the lines before it came to.
    fn stopped(&self, file: &Path, line: usize, error: Error) -> Error {
        let place = format!("{}:{line}", file.display());
        let hint = format!(
            "{}{}the {} conversations before it are imported; import the file again once the line \
             is right",
            error.hint().unwrap_or_default(),
            if error.hint().is_some() { "; " } else { "" },
            self.conversations,
        );
        error.at(place).with_hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_id_is_known_again_and_no_other_passes_for_one() {
        let id = derived_id("dlg-1", 7);
        assert!(is_derived("dlg-1", &id));
        assert!(!is_derived("dlg-2", &id));
        assert!(!is_derived("dlg-1", "import-7"));
        assert!(!is_derived("dlg-1", "import-8-0000000000000000"));
    }
}
