//! Forms that conversations have elsewhere, told by their keys.

use memquill::Error;
use serde_json::Value;

const NO_TRANSCRIPT: &str = ", no transcript";
const NO_DOCUMENT: &str = ", no document";

/// A form that is not read here.
pub(in crate::commands) struct Form {
    /// The name, with its article.
    name: &'static str,
    hint: Hint,
}

enum Hint {
    /// Another command reads it: its name.
    Command(&'static str),
    /// A program that rewrites it for `chat import`.
    Jq(&'static str),
    /// The form that is read.
    Rewrite,
}

impl Form {
    /// The error that names the form. `FILE` and `OPTIONS` in its hint are for
    /// [`complete`] to fill in.
    pub(super) fn error(&self) -> Error {
        let hint = match self.hint {
            Hint::Command(command) => format!("type: memquillOPTIONS {command} FILE"),
            Hint::Jq(program) => {
                format!("type: jq -c '{program}' FILE | memquillOPTIONS chat import -")
            }
            Hint::Rewrite => {
                r#"write a line for each conversation: {"conversation_id": "…", "messages": [{"role": "user", "content": "…"}]}"#.to_owned()
            }
        };
        Error::invalid_input(format!("this is {}{NO_TRANSCRIPT}", self.name)).with_hint(hint)
    }
}

/// Tells the form of an item that is no transcript; none where it may be one.
pub(in crate::commands) fn of(value: &Value) -> Option<Form> {
    let object = value.as_object()?;
    let has = |key: &str| object.contains_key(key);
    let form = |name, hint| Some(Form { name, hint });
    if has("memquill_export") {
        return form("an export", Hint::Command("import"));
    }
    if let Some(messages) = object.get("messages").and_then(Value::as_array) {
        let first = messages.first().and_then(Value::as_object)?;
        if first.contains_key("role") {
            return None;
        }
        if first.contains_key("type")
            && (first.contains_key("data") || first.contains_key("content"))
        {
            return form("in LangChain's form", Hint::Rewrite);
        }
        return None;
    }
    if has("mapping") {
        form("ChatGPT's account export", Hint::Rewrite)
    } else if has("chat_messages") {
        form("Claude's account export", Hint::Rewrite)
    } else if has("message") && (has("sessionId") || has("uuid")) {
        form("a transcript of Claude Code", Hint::Rewrite)
    } else if has("conversations") {
        form("in ShareGPT's form", Hint::Rewrite)
    } else if object.get("contents").is_some_and(Value::is_array) {
        form("in Gemini's form", Hint::Rewrite)
    } else if has("custom_id") && (has("body") || has("response")) {
        form(
            "a batch of requests",
            Hint::Jq("{conversation_id: .custom_id, messages: .body.messages}"),
        )
    } else if has("role") && has("content") {
        form(
            "a list of messages",
            Hint::Jq(r#"[., inputs] | {conversation_id: "chat-1", messages: flatten}"#),
        )
    } else if has("prompt") && has("completion") {
        form(
            "in the older fine-tuning form",
            Hint::Jq(
                r#"{messages: [{role: "user", content: .prompt}, {role: "assistant", content: .completion}]}"#,
            ),
        )
    } else if has("content") || has("text") {
        form("a list of documents", Hint::Command("ingest"))
    } else if has("subtype") {
        form("a node", Hint::Command("run"))
    } else if has("operation") {
        form("a node's input", Hint::Command("run NODE.json --input"))
    } else {
        None
    }
}

/// The error for an item that is no part of an export; none for the first line of one, and for what
/// is in no known form.
pub(in crate::commands) fn instead_of_export(first: &Value) -> Option<Error> {
    if first.get("memquill_export").is_some() {
        return None;
    }
    let named = |name: &str, command: &str| {
        Error::invalid_input(format!("this is {name}, no export"))
            .with_hint(format!("type: memquillOPTIONS {command} FILE"))
    };
    if first.get("messages").is_some() {
        return Some(named("a transcript", "chat import"));
    }
    match of(first) {
        Some(Form { name, hint: Hint::Command(command) }) => Some(named(name, command)),
        Some(Form { name, .. }) => Some(named(name, "chat import")),
        None => None,
    }
}

/// The error for an item that is no document; none where it may be one.
pub(in crate::commands) fn instead_of_document(value: &Value) -> Option<Error> {
    let object = value.as_object()?;
    if object.contains_key("content") && !object.contains_key("role") {
        return None;
    }
    let named = |name: &str, command: &str| {
        Error::invalid_input(format!("this is {name}{NO_DOCUMENT}"))
            .with_hint(format!("type: memquillOPTIONS {command} FILE"))
    };
    if object.contains_key("memquill_export") {
        Some(named("an export", "import"))
    } else if object.contains_key("messages") {
        Some(named("a transcript", "chat import --index"))
    } else {
        let form = of(value).filter(|form| !matches!(form.hint, Hint::Command("ingest")))?;
        Some(
            Error::invalid_input(format!("this is {}{NO_DOCUMENT}", form.name))
                .with_hint(r#"write a line for each document: {"content": "…", "metadata": {…}}"#),
        )
    }
}

/// Whether an item is no object or list of JSON.
pub(in crate::commands) fn is_no_json(text: &str) -> bool {
    !text.starts_with(['{', '['])
}

/// The error for a file that is no JSON, by the text that it begins with.
pub(in crate::commands) fn no_json(text: &str) -> Error {
    let text: String = text.chars().take(40).collect();
    Error::invalid_input(format!("this is no JSON: it begins with {text:?}{NO_TRANSCRIPT}"))
        .with_hint("to store it as a document, type: memquillOPTIONS ingest FILE")
}

/// Fills the file and the options of the session into a hint of a form.
pub(in crate::commands) fn complete(error: Error, file: &str, options: &str) -> Error {
    match error.hint().filter(|hint| hint.contains("memquillOPTIONS")) {
        Some(hint) => {
            let hint = hint.replace("FILE", file).replace("OPTIONS", options);
            error.with_hint(hint)
        }
        None => error,
    }
}

/// Whether an error is one that names a form.
pub(in crate::commands) fn is_named(error: &Error) -> bool {
    error.message().ends_with(NO_TRANSCRIPT) || error.message().ends_with(NO_DOCUMENT)
}
