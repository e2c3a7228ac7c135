//! Conversations whose messages are items of their own: a line each, or the elements of a list.

use memquill_core::{Error, Result};
use serde_json::Value;

use super::draft::Draft;
use super::{Form, Found, LARGEST_CONVERSATION, chat, claude_code, langchain, responses, sharegpt};

/// Fields by which messages that stand alone say which conversation they belong to.
const KEYS: [&str; 3] = ["conversation_id", "session_id", "thread_id"];

/// Whether an item is a message of a conversation, and not a whole one.
pub(super) fn is_message(form: Form, item: &Value) -> bool {
    let has = |key: &str| item.get(key).is_some();
    match form {
        Form::Chat | Form::OpenAi | Form::Anthropic => has("role") && !has("messages"),
        Form::Responses => {
            item.is_object() && !has("output_text") && (responses::is_item(item) || has("role"))
        }
        Form::LangChain => langchain::is_message(item),
        Form::ShareGpt => has("from") && has("value"),
        Form::ClaudeCode => item.is_object(),
        Form::ChatGpt | Form::Claude => false,
    }
}

/// The conversation that a message says it belongs to.
pub(super) fn key(form: Form, item: &Value) -> Option<String> {
    if form == Form::ClaudeCode {
        return claude_code::conversation_id(item);
    }
    KEYS.iter().find_map(|key| item.get(key)?.as_str().map(str::to_owned))
}

/// Reads a list of messages.
pub(super) fn list(form: Form, messages: Vec<Value>) -> Draft {
    let mut reader = Reader::of(form);
    for (at, message) in messages.into_iter().enumerate() {
        let added = if is_message(form, &message) {
            reader.add(message)
        } else {
            Err(Error::invalid_input(format!("this is no message of the form {form}")))
        };
        if let Err(error) = added {
            reader.draft().leave_out(error.at(format_args!("message {}", at + 1)));
        }
    }
    reader.finish()
}

/// What reads the messages of a form.
enum Reader {
    Plain(Form, Draft),
    Responses(responses::Turns),
    ClaudeCode(claude_code::Session),
}

impl Reader {
    fn of(form: Form) -> Self {
        match form {
            Form::Responses => Self::Responses(responses::Turns::default()),
            Form::ClaudeCode => Self::ClaudeCode(claude_code::Session::default()),
            form => Self::Plain(form, Draft::default()),
        }
    }

    fn draft(&mut self) -> &mut Draft {
        match self {
            Self::Plain(_, draft) => draft,
            Self::Responses(turns) => &mut turns.draft,
            Self::ClaudeCode(session) => &mut session.draft,
        }
    }

    fn add(&mut self, mut item: Value) -> Result<()> {
        match self {
            Self::Plain(form, draft) => {
                draft.digest(&item);
                if let Value::Object(fields) = &mut item {
                    for key in KEYS {
                        fields.shift_remove(key);
                    }
                }
                draft.push(match form {
                    Form::LangChain => langchain::message(item)?,
                    Form::ShareGpt => return sharegpt::push(draft, item),
                    _ => chat::message(item)?,
                })
            }
            Self::Responses(turns) => turns.add(item),
            Self::ClaudeCode(session) => session.add(item),
        }
    }

    fn finish(self) -> Draft {
        match self {
            Self::Plain(_, draft) => draft,
            Self::Responses(turns) => turns.finish(),
            Self::ClaudeCode(session) => session.finish(),
        }
    }
}

/// A conversation of which further items may be messages.
pub(super) struct Lines {
    form: Form,
    list: u64,
    key: Option<String>,
    line: u64,
    bytes: usize,
    /// Whether any item was a message; one that was refused is reported by itself.
    any: bool,
    /// None once it has grown too large.
    reader: Option<Reader>,
}

impl Lines {
    pub(super) fn new(
        form: Form,
        list: u64,
        key: Option<String>,
        name: Option<&str>,
        line: u64,
    ) -> Self {
        let mut reader = Reader::of(form);
        reader.draft().id = key.clone().or_else(|| name.map(str::to_owned));
        Self { form, list, key, line, bytes: 0, any: false, reader: Some(reader) }
    }

    /// Whether an item with this key belongs to it. A line of Claude Code that names no session
    /// belongs to the one it stands in, or to the next.
    pub(super) fn holds(&mut self, form: Form, list: u64, key: Option<&str>) -> bool {
        if self.form != form || self.list != list {
            return false;
        }
        if form == Form::ClaudeCode && (key.is_none() || self.key.is_none()) {
            if let (Some(key), Some(reader)) = (key, &mut self.reader) {
                self.key = Some(key.to_owned());
                reader.draft().id = Some(key.to_owned());
            }
            return true;
        }
        self.key.as_deref() == key
    }

    /// Leaves a position without a message.
    pub(super) fn skip(&mut self) {
        if let Some(reader) = &mut self.reader {
            reader.draft().skip();
        }
    }

    pub(super) fn add(&mut self, item: Value, bytes: usize) -> Result<()> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        self.bytes += bytes;
        if self.bytes > LARGEST_CONVERSATION {
            self.reader = None;
            return Err(Error::invalid_input(format!(
                "the conversation that begins on line {} is larger than {} MiB",
                self.line,
                LARGEST_CONVERSATION >> 20
            ))
            .with_hint("split it into several"));
        }
        reader.add(item)?;
        self.any = true;
        Ok(())
    }

    /// The conversation; none where every item was refused, which is reported already.
    pub(super) fn finish(self) -> Option<Found> {
        let draft = self.reader.filter(|_| self.any)?.finish();
        // Claude Code also leaves files that hold no more than a summary of another session.
        if self.form == Form::ClaudeCode && draft.is_empty() {
            return None;
        }
        Some(Found { line: self.line, conversation: draft.finish(self.form) })
    }
}
