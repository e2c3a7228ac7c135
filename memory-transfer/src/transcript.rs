//! Transcripts of chats, in the forms that clients, exports and agents write: read as conversations
//! of messages, and written for a provider's API (contract, C5).
//!
//! [`Transcripts`] reads one conversation after another. It tells the [`Form`] of each item by
//! itself where that is unmistakable, holds one conversation at a time, and gives what it cannot
//! read as an error with its place, beside the rest. [`write()`] makes the list of messages that an API
//! takes.
//!
//! ```
//! use memquill_transfer::transcript::{Form, Transcripts};
//!
//! let text = r#"{"id": "dlg-1", "conversations": [{"from": "human", "value": "Is it open?"},
//!                                                  {"from": "gpt", "value": "Until six."}]}"#;
//! let mut transcripts = Transcripts::new(text.as_bytes());
//! let found = transcripts.next()?.unwrap();
//! let conversation = found.conversation?;
//! assert_eq!((conversation.form, conversation.id.as_str()), (Form::ShareGpt, "dlg-1"));
//! assert_eq!(conversation.messages[1].text(), "Until six.");
//! assert!(transcripts.next()?.is_none());
//! # Ok::<(), memquill_core::Error>(())
//! ```
//!
//! The forms, and what is kept of each, stand in `docs/transcripts.md`.

mod chat;
mod chatgpt;
mod claude;
mod claude_code;
mod detect;
mod draft;
mod exchange;
mod langchain;
mod lines;
mod responses;
mod sharegpt;
mod write;

use std::collections::{BTreeSet, VecDeque};
use std::io::BufRead;

use memquill_core::{Error, Message, Result};
use serde_json::Value;

pub use self::detect::detect;
use self::draft::Draft;
pub use self::draft::is_derived_id;
use self::lines::Lines;
pub use self::write::{Written, write};
use crate::items::{self, Item, Items};
use crate::left_out::Omission;

/// The most bytes of JSON that a conversation may have whose messages stand in items of their own.
const LARGEST_CONVERSATION: usize = 256 << 20;

/// A form that transcripts have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Form {
    /// The common chat form: messages with `role` and `content`, alone or in `messages`.
    Chat,
    /// Requests, answers and batches of OpenAI's Chat Completions API, and fine-tuning files.
    OpenAi,
    /// Requests, answers and items of OpenAI's Responses API.
    Responses,
    /// Requests and answers of Anthropic's Messages API.
    Anthropic,
    /// Messages as LangChain dumps them.
    LangChain,
    /// ShareGPT's `conversations` of `from` and `value`.
    ShareGpt,
    /// ChatGPT's account export, `conversations.json`.
    ChatGpt,
    /// Claude's account export, `conversations.json`.
    Claude,
    /// Claude Code's transcripts of sessions.
    ClaudeCode,
}

impl Form {
    /// All forms.
    pub const ALL: [Self; 9] = [
        Self::Chat,
        Self::OpenAi,
        Self::Responses,
        Self::Anthropic,
        Self::LangChain,
        Self::ShareGpt,
        Self::ChatGpt,
        Self::Claude,
        Self::ClaudeCode,
    ];

    /// The name, as it is given on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::OpenAi => "openai",
            Self::Responses => "responses",
            Self::Anthropic => "anthropic",
            Self::LangChain => "langchain",
            Self::ShareGpt => "sharegpt",
            Self::ChatGpt => "chatgpt",
            Self::Claude => "claude",
            Self::ClaudeCode => "claude-code",
        }
    }
}

impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Form {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|form| form.as_str() == name).ok_or_else(|| {
            Error::invalid_input(format!("there is no form {name:?} of transcripts"))
                .with_hint(format!("the forms are {}", names()))
        })
    }
}

fn names() -> String {
    Form::ALL.map(Form::as_str).join(", ")
}

/// A conversation, ready to be appended.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    /// The form that it was read from.
    pub form: Form,
    /// Its id: that of the transcript, else one derived from its messages, so that the same
    /// transcript is the same conversation each time.
    pub id: String,
    /// The title that a person or a model gave it.
    pub title: Option<String>,
    /// The date of the conversation, where the transcript says one for all messages.
    pub date: Option<String>,
    /// The messages, each with an id: that of the transcript, else one derived from its position
    /// ([`is_derived_id`]).
    pub messages: Vec<Message>,
    /// The fields that are no part of a message and that no store keeps, such as `tools` and
    /// `model`.
    pub not_kept: BTreeSet<String>,
    /// What the form holds beside the conversation, and why it is left out: messages of other
    /// branches and answers that were not chosen.
    pub set_aside: Vec<String>,
    /// The ids of messages in branches that were left. Where one of them was stored before, the
    /// conversation went on in another branch since.
    pub other_branches: Vec<String>,
    /// Why messages of the transcript are not among `messages`, each with its number: what is wrong
    /// with a message is no fault of the others.
    pub left_out: Vec<Omission>,
}

/// A conversation or a part of the input that cannot be read, and where it begins.
#[derive(Debug)]
pub struct Found {
    /// The line, from 1.
    pub line: u64,
    /// The conversation, or why it cannot be read, be it that none of its messages can.
    pub conversation: Result<Conversation>,
}

/// An item that is in no form of transcripts.
#[derive(Debug)]
#[non_exhaustive]
pub enum Unknown<'a> {
    /// Text that is neither an object nor a list of JSON.
    Text(&'a str),
    /// JSON of another kind.
    Json(&'a Value),
}

/// The conversations of an input. It needs memory for one of them: an item may have 64 MiB, and a
/// conversation whose messages are items of their own 256 MiB.
pub struct Transcripts<R> {
    items: Items<R>,
    form: Option<Form>,
    name: Option<String>,
    unknown: fn(&Unknown<'_>) -> Error,
    /// The conversation whose messages the next items may be.
    open: Option<Lines>,
    waiting: VecDeque<Found>,
}

impl<R> std::fmt::Debug for Transcripts<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transcripts").field("form", &self.form).finish_non_exhaustive()
    }
}

impl<R: BufRead> Transcripts<R> {
    /// Reads `input`, and tells the form of each item by itself.
    pub fn new(input: R) -> Self {
        Self {
            items: Items::new(input),
            form: None,
            name: None,
            unknown,
            open: None,
            waiting: VecDeque::new(),
        }
    }

    /// Takes every item to be of `form`.
    #[must_use]
    pub fn with_form(self, form: Form) -> Self {
        Self { form: Some(form), ..self }
    }

    /// Names the conversation that bare messages belong to, where they name none.
    #[must_use]
    pub fn with_name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Has `error` say what an item is that is in no form of transcripts.
    #[must_use]
    pub fn with_unknown(self, error: fn(&Unknown<'_>) -> Error) -> Self {
        Self { unknown: error, ..self }
    }

    /// Returns the bytes that were read so far.
    pub fn read(&self) -> u64 {
        self.items.read()
    }

    /// Reads the next conversation; none at the end. An error says that the input cannot be read.
    #[expect(clippy::should_implement_trait, reason = "an iterator of results would end at none")]
    pub fn next(&mut self) -> Result<Option<Found>> {
        loop {
            if let Some(found) = self.waiting.pop_front() {
                return Ok(Some(found));
            }
            let Some(item) = self.items.next()? else {
                self.close();
                return Ok(self.waiting.pop_front());
            };
            let line = item.line;
            if let Err(error) = self.item(item) {
                // The damaged item may have been a message: those behind it keep their positions.
                if let Some(open) = &mut self.open {
                    open.skip();
                }
                self.waiting.push_back(Found { line, conversation: Err(error) });
            }
        }
    }

    fn item(&mut self, item: Item) -> Result<()> {
        let Item { line, in_list, text } = item;
        let text = text?;
        if !text.starts_with(['{', '[']) {
            return Err((self.unknown)(&Unknown::Text(&text)));
        }
        let placed = |error: Error| match in_list {
            // One line may hold the whole list.
            Some((_, index)) => error.at(format_args!("[{index}]")),
            None => error,
        };
        let value: Value = items::parse(&text, line).map_err(placed)?;
        let form = self.form.or_else(|| detect(&value));
        let form = form.ok_or_else(|| (self.unknown)(&Unknown::Json(&value)));
        let form = form.map_err(placed)?;
        if lines::is_message(form, &value) {
            let list = in_list.map_or(0, |(list, _)| list);
            let key = lines::key(form, &value);
            let goes_on = |open: &mut Lines| open.holds(form, list, key.as_deref());
            if !self.open.as_mut().is_some_and(goes_on) {
                self.close();
            }
            let name = self.name.as_deref();
            let open = self.open.get_or_insert_with(|| Lines::new(form, list, key, name, line));
            return open.add(value, text.len()).map_err(placed);
        }
        self.close();
        let conversation = whole(form, value).and_then(|draft| draft.finish(form));
        let mut conversation = conversation.map_err(placed);
        if let (Ok(conversation), Some((_, index))) = (&mut conversation, in_list) {
            for omission in &mut conversation.left_out {
                omission.reason = format!("[{index}]: {}", omission.reason);
            }
        }
        self.waiting.push_back(Found { line, conversation });
        Ok(())
    }

    /// Ends the conversation whose messages were items of their own.
    fn close(&mut self) {
        if let Some(open) = self.open.take()
            && let Some(found) = open.finish()
        {
            self.waiting.push_back(found);
        }
    }
}

/// Reads an item that is a whole conversation.
fn whole(form: Form, value: Value) -> Result<Draft> {
    let object = match value {
        Value::Object(object) => object,
        Value::Array(messages) => return Ok(lines::list(form, messages)),
        _ => return Err(Error::invalid_input("a conversation is a JSON object")),
    };
    match form {
        Form::Chat | Form::OpenAi | Form::Anthropic | Form::Responses
            if exchange::is_one(&object) =>
        {
            exchange::read(object)
        }
        Form::OpenAi if object.contains_key("choices") => exchange::completion(object),
        Form::Chat | Form::OpenAi | Form::Anthropic => chat::conversation(object),
        Form::Responses => responses::conversation(object),
        Form::LangChain => langchain::conversation(object),
        Form::ShareGpt => sharegpt::conversation(object),
        Form::ChatGpt => chatgpt::conversation(object),
        Form::Claude => claude::conversation(object),
        Form::ClaudeCode => {
            Err(Error::invalid_input("this is no line of Claude Code's transcripts")
                .with_hint("name the form that it has by --from, or leave that out"))
        }
    }
}

fn unknown(item: &Unknown<'_>) -> Error {
    let said = match item {
        Unknown::Text(_) => "this is no JSON, no transcript",
        Unknown::Json(_) => "this is in no form of transcripts that is known",
    };
    Error::invalid_input(said).with_hint(format!("the forms are {}", names()))
}
