//! Files that are no transcripts, told by their keys, and what to type for them.

use memquill::Error;
use memquill::transfer::transcript::{self, Unknown};
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

/// Tells the form of an item that is no transcript that can be read; none where it may be one.
pub(in crate::commands) fn of(value: &Value) -> Option<Form> {
    let object = value.as_object()?;
    let has = |key: &str| object.contains_key(key);
    let form = |name, hint| Some(Form { name, hint });
    if has("memquill_export") {
        return form("an export", Hint::Command("import"));
    }
    if object.get("contents").is_some_and(Value::is_array) {
        form("in Gemini's form", Hint::Rewrite)
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
    if transcript::detect(first).is_some() {
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
    } else if transcript::detect(value).is_some() {
        Some(named("a transcript", "chat import --index"))
    } else {
        let form = of(value).filter(|form| !matches!(form.hint, Hint::Command("ingest")))?;
        Some(
            Error::invalid_input(format!("this is {}{NO_DOCUMENT}", form.name))
                .with_hint(r#"write a line for each document: {"content": "…", "metadata": {…}}"#),
        )
    }
}

/// The beginning of the error for an item that is no JSON.
const NO_JSON: &str = "this is no JSON";

/// The error for an item that is in no form of transcripts.
pub(super) fn no_transcript(item: &Unknown<'_>) -> Error {
    match item {
        Unknown::Text(text) => {
            let text: String = text.chars().take(40).collect();
            Error::invalid_input(format!("{NO_JSON}: it begins with {text:?}{NO_TRANSCRIPT}"))
                .with_hint("to store it as a document, type: memquillOPTIONS ingest FILE")
        }
        Unknown::Json(value) => of(value).map_or_else(
            || {
                let forms = transcript::Form::ALL.map(transcript::Form::as_str).join(", ");
                Error::invalid_input("this is in no form of transcripts that is known")
                    .with_hint(format!("if it has one of these, name it by --from: {forms}"))
            },
            |form| form.error(),
        ),
        _ => Error::invalid_input("this is no transcript"),
    }
}

/// Whether an error is that of an item that is no JSON.
pub(super) fn is_no_json(error: &Error) -> bool {
    error.message().starts_with(NO_JSON)
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
