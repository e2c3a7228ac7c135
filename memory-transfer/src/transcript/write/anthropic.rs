//! Messages for Anthropic's Messages API: instructions apart, user and assistant in turn, results in
//! the user's messages.

use memquill_core::json::Object;
use memquill_core::{Message, Role};
use serde_json::{Value, json};

use super::turns::{self, Answer, Call, Piece, Turn};
use super::{Media, Written, kind, part_text, text};

/// Types of blocks that are this API's own.
const BLOCKS: [&str; 13] = [
    "text",
    "image",
    "document",
    "search_result",
    "redacted_thinking",
    "server_tool_use",
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "mcp_tool_use",
    "mcp_tool_result",
];

pub(super) fn write(messages: &[Message]) -> Written {
    let mut left_out = Vec::new();
    let (mut system, mut out) = (Vec::new(), Messages::default());
    for turn in turns::of(messages, &mut left_out) {
        let content = content(&turn, &mut left_out);
        match turn.role {
            Role::System => system.extend(content),
            Role::Assistant => out.push("assistant", content),
            Role::User | Role::Tool => out.push("user", content),
        }
        if !turn.answers.is_empty() {
            let results = turn.answers.iter().map(|answer| result(answer, &mut left_out));
            let results = Value::Array(results.collect());
            out.push("user", Some(results));
        }
    }
    let mut transcript = Object::new();
    if let Some(system) = joined(system) {
        transcript.insert("system".into(), system);
    }
    transcript.insert("messages".into(), out.0.into());
    Written { transcript, left_out }
}

/// Messages of which no two that follow each other have the same role.
#[derive(Default)]
struct Messages(Vec<Value>);

impl Messages {
    fn push(&mut self, role: &str, content: Option<Value>) {
        let Some(content) = content else { return };
        match self.0.last_mut().filter(|last| last["role"] == role) {
            Some(last) => {
                let before = last["content"].take();
                last["content"] = joined(vec![before, content]).unwrap_or_default();
            }
            None => self.0.push(json!({"role": role, "content": content})),
        }
    }
}

/// One content of several: alone as it is, else the blocks of all.
fn joined(mut contents: Vec<Value>) -> Option<Value> {
    if contents.len() < 2 {
        return contents.pop();
    }
    let blocks = contents.into_iter().flat_map(|content| match content {
        Value::Array(blocks) => blocks,
        text => vec![json!({"type": "text", "text": text})],
    });
    // Results come first in a message.
    let (results, others): (Vec<_>, Vec<_>) =
        blocks.partition(|block| kind(block) == "tool_result");
    Some(results.into_iter().chain(others).collect())
}

/// What a turn says; none where the API takes nothing of it.
fn content(turn: &Turn, left_out: &mut Vec<String>) -> Option<Value> {
    if let Some(Value::String(said)) =
        turn.chat.get("content").filter(|_| turn.calls().next().is_none())
    {
        return (!said.trim().is_empty()).then(|| said.as_str().into());
    }
    let mut blocks = Vec::new();
    for piece in &turn.pieces {
        match piece {
            Piece::Call(call) => blocks.push(written_call(call)),
            Piece::Part(part) => {
                if part_text(part).is_some_and(|text| text.trim().is_empty()) {
                    continue; // the API refuses empty text
                }
                match block(part) {
                    Some(block) => blocks.push(block),
                    None => left_out.push(format!("a part of the type {:?}", kind(part))),
                }
            }
        }
    }
    (!blocks.is_empty()).then(|| blocks.into())
}

fn block(part: &Value) -> Option<Value> {
    let has = |key: &str| part.get(key).is_some();
    match kind(part) {
        "image" | "document" if !has("source") => None,
        "thinking" if has("signature") => Some(part.clone()),
        own if BLOCKS.contains(&own) => Some(part.clone()),
        "file" => document(part.get("file")?),
        "input_file" => document(part),
        _ => {
            if let Some(text) = part_text(part) {
                return Some(json!({"type": "text", "text": text}));
            }
            Some(json!({"type": "image", "source": source(&Media::image(part)?)}))
        }
    }
}

fn source(media: &Media<'_>) -> Value {
    match media {
        Media::Data { media_type, data } => {
            json!({"type": "base64", "media_type": media_type, "data": data})
        }
        Media::Url(url) => json!({"type": "url", "url": url}),
    }
}

fn document(file: &Value) -> Option<Value> {
    let media = Media::of_url(text(file, &["file_data", "file_url"])?);
    let mut document = json!({"type": "document", "source": source(&media)});
    if let Some(name) = text(file, &["filename"]) {
        document["title"] = name.into();
    }
    Some(document)
}

fn written_call(call: &Call) -> Value {
    if kind(&call.as_it_was) == "tool_use" {
        return call.as_it_was.clone();
    }
    let input = match &call.arguments {
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(input @ Value::Object(_)) => input,
            _ if text.trim().is_empty() => json!({}),
            // What the model wrote is no object: it is given as it is.
            _ => json!({"input": text}),
        },
        input @ Value::Object(_) => input.clone(),
        other => json!({"input": other}),
    };
    json!({"type": "tool_use", "id": allowed(&call.id), "name": call.name, "input": input})
}

/// An id in the characters that the API allows.
fn allowed(id: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    id.chars().map(|c| if allowed(c) { c } else { '_' }).collect()
}

fn result(answer: &Answer, left_out: &mut Vec<String>) -> Value {
    if kind(&answer.as_it_was) == "tool_result" {
        return answer.as_it_was.clone();
    }
    let content: Value = match &answer.content {
        Value::Array(parts) => {
            let mut blocks = Vec::new();
            for part in parts {
                match block(part) {
                    Some(block) => blocks.push(block),
                    None => left_out.push(format!("a part of the type {:?}", kind(part))),
                }
            }
            blocks.into()
        }
        Value::Null => "".into(),
        Value::String(text) => text.as_str().into(),
        other => other.to_string().into(),
    };
    json!({"type": "tool_result", "tool_use_id": allowed(&answer.id), "content": content})
}
