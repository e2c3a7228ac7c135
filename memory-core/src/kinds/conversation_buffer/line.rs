//! A message as an item of a context.

use serde::de::IgnoredAny;
use serde_json::Value;

use super::ConversationFormat;
use crate::conversation::calls::{ToolCall, is_call, is_result, result_content};
use crate::conversation::parts::{field, kind, part_text};
use crate::conversation::{Message, Role};
use crate::kinds::context::{escape, fold, indent, json_line, label, piped};

/// Arguments of a tool call longer than this many bytes are not shown.
const ARGUMENT_BYTES: usize = 200;

/// The start of a list of tool calls.
pub(super) const CALLS: &str = "[calls ";
/// The start of a tool's result beside what a user says.
const RESULT: &str = "[result ";

/// What is written in brackets and so is escaped in texts.
pub(super) const MARKS: [&str; 8] =
    [CALLS, RESULT, "[image]", "[audio]", "[video]", "[file]", "[reasoning]", "[part]"];

/// Writes a message: its role, its speaker where it names one, its text, its other parts in
/// brackets, and its tool calls.
pub(super) fn line(message: &Message, format: ConversationFormat) -> String {
    let compact = format == ConversationFormat::Compact;
    let is_result_alone = is_result_alone(message);
    let speaker = speaker(message, compact);
    let mut content = Content::default();
    match message.parts() {
        Some(parts) => content.parts(parts, !is_result_alone),
        None => content.text(message.content.as_deref().or_else(|| refusal(message))),
    }
    let calls: Vec<String> = message.tool_calls().iter().map(call).collect();
    if !calls.is_empty() {
        content.mark(format!("{CALLS}{}]", calls.join(", ")));
    }
    let line = format!("{speaker}: {}", content.write(compact));
    if compact { piped(&line) } else { line }
}

/// Writes who says a message: the role, and the name where there is one.
pub(crate) fn speaker(message: &Message, compact: bool) -> String {
    let role = role(if is_result_alone(message) { Role::Tool } else { message.role }, compact);
    match &message.name {
        Some(name) => format!("{role}({})", label(name, &[')'])),
        None => role.to_owned(),
    }
}

/// Whether a message only holds results of tools, as Anthropic's chats give them in a user's name.
fn is_result_alone(message: &Message) -> bool {
    let parts = message.parts().unwrap_or_default();
    !parts.is_empty() && parts.iter().all(is_result)
}

pub(super) const fn role(role: Role, compact: bool) -> &'static str {
    match (role, compact) {
        (Role::System, false) => "System",
        (Role::System, true) => "S",
        (Role::User, false) => "User",
        (Role::User, true) => "U",
        (Role::Assistant, false) => "Assistant",
        (Role::Assistant, true) => "A",
        (Role::Tool, false) => "Tool",
        (Role::Tool, true) => "T",
    }
}

fn refusal(message: &Message) -> Option<&str> {
    message.extra.get("refusal")?.as_str()
}

/// The content of a message: texts, and what is written in brackets.
#[derive(Default)]
struct Content {
    pieces: Vec<Piece>,
}

enum Piece {
    Text(String),
    Mark(String),
}

impl Content {
    /// Adds a text, on a line of its own where a text is before it.
    fn text(&mut self, text: Option<&str>) {
        match (self.pieces.last_mut(), text) {
            (_, None | Some("")) => {}
            (Some(Piece::Text(before)), Some(text)) => {
                before.push('\n');
                before.push_str(text);
            }
            (_, Some(text)) => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }

    fn mark(&mut self, mark: impl Into<String>) {
        self.pieces.push(Piece::Mark(mark.into()));
    }

    /// Adds parts; `quoted` writes results as JSON in brackets, so that none can pass for what is
    /// beside it.
    fn parts(&mut self, parts: &[Value], quoted: bool) {
        for part in parts {
            if let Some(text) = part_text(part) {
                self.text(Some(text));
            } else if is_result(part) {
                match result_content(part) {
                    Some(Value::String(text)) if !quoted => self.text(Some(text)),
                    Some(Value::Array(inner)) if !quoted && inner.iter().all(is_part) => {
                        self.parts(inner, true);
                    }
                    Some(Value::Array(inner)) if inner.iter().all(is_part) => {
                        let mut content = Self::default();
                        content.parts(inner, true);
                        let text = Value::from(content.write(true));
                        self.mark(format!("{RESULT}{}]", json_line(&text)));
                    }
                    Some(value) if quoted => self.mark(format!("{RESULT}{}]", json_line(value))),
                    Some(value) => self.text(Some(&value.to_string())),
                    None if quoted => self.mark(format!("{RESULT}\"\"]")),
                    None => {}
                }
            } else if !is_call(part) {
                self.other(part);
            }
        }
    }

    fn other(&mut self, part: &Value) {
        let kind = kind(part);
        let is = |of: &str| kind.contains(of);
        match kind {
            "refusal" => self.text(field(part, &["refusal"])),
            "thinking" | "redacted_thinking" | "reasoning" => self.mark("[reasoning]"),
            _ if is("image") => self.mark("[image]"),
            _ if is("audio") => self.mark("[audio]"),
            _ if is("video") => self.mark("[video]"),
            _ if is("file") || is("document") => self.mark("[file]"),
            _ => self.mark("[part]"),
        }
    }

    fn write(&self, compact: bool) -> String {
        let mut out = String::new();
        for (at, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Text(text) => {
                    let mut text = if compact { fold(text) } else { indent(text) };
                    if at + 1 < self.pieces.len() && !text.is_empty() {
                        // The space is of the text, which could end as a mark begins.
                        text.push(' ');
                    }
                    out.push_str(&escape(&text, &MARKS));
                }
                Piece::Mark(mark) => {
                    out.push_str(mark);
                    if at + 1 < self.pieces.len() {
                        out.push(' ');
                    }
                }
            }
        }
        out
    }
}

fn is_part(value: &Value) -> bool {
    !kind(value).is_empty()
}

/// Writes a tool call as `name(arguments)`. Arguments that are not JSON are written as a JSON text,
/// and long ones as `…`.
fn call(call: &ToolCall<'_>) -> String {
    let arguments = match call.arguments {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) if text.len() > ARGUMENT_BYTES => "…".into(),
        Some(Value::String(text)) => match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => fold(text),
            Err(_) if text.trim().is_empty() => String::new(),
            Err(_) => json_line(&Value::from(text.as_str())),
        },
        Some(other) => json_line(other),
    };
    let arguments = if arguments.len() > ARGUMENT_BYTES { "…" } else { &arguments };
    format!("{}({arguments})", label(call.name.unwrap_or("tool"), &['(', ')']))
}
