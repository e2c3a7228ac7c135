//! Messages for OpenAI's Chat Completions API.

use memquill_core::json::Object;
use memquill_core::{Message, Role};
use serde_json::{Value, json};

use super::turns::{self, Answer, Call, Piece, Turn};
use super::{Media, Written, kind, part_text, text};

/// The fields of a message that are this API's own.
const FIELDS: [&str; 10] = [
    "role",
    "content",
    "name",
    "tool_calls",
    "tool_call_id",
    "refusal",
    "annotations",
    "audio",
    "function_call",
    "weight",
];

pub(super) fn write(messages: &[Message]) -> Written {
    let mut left_out = Vec::new();
    let turns = turns::of(messages, &mut left_out);
    let mut out = Vec::new();
    for turn in turns {
        let answers = message(&turn, &mut left_out).map(|written| out.push(Value::Object(written)));
        if answers.is_none() {
            continue;
        }
        let mut media = Vec::new();
        for answer in &turn.answers {
            out.push(result(answer, &mut media, &mut left_out));
        }
        // A tool's message is text; what it shows besides is shown by the user.
        if !media.is_empty() {
            out.push(json!({"role": "user", "content": media}));
        }
    }
    Written { transcript: Object::from_iter([("messages".to_owned(), out.into())]), left_out }
}

fn own_fields(mut chat: Object) -> Object {
    chat.retain(|field, _| FIELDS.contains(&field.as_str()));
    chat
}

/// Whether a part is as this API has it.
fn is_own(part: &Value) -> bool {
    match kind(part) {
        "text" => part.as_object().is_some_and(|part| part.len() == 2 && part.contains_key("text")),
        "image_url" | "input_audio" | "file" | "refusal" => true,
        _ => false,
    }
}

fn is_own_call(call: &Call) -> bool {
    call.as_it_was.get("function").is_some()
        || call.as_it_was.get("custom").is_some()
        || kind(&call.as_it_was).is_empty()
}

/// What a turn says; none where the API takes nothing of it.
fn message(turn: &Turn, left_out: &mut Vec<String>) -> Option<Object> {
    let own = turn.untouched
        && turn.pieces.iter().all(|piece| match piece {
            Piece::Part(part) => is_own(part),
            Piece::Call(call) => is_own_call(call),
        });
    if own {
        return Some(own_fields(turn.chat.clone()));
    }
    let (mut parts, mut calls) = (Vec::new(), Vec::new());
    for piece in &turn.pieces {
        match piece {
            Piece::Part(part) => match translated(part) {
                Some(part) if turn.role != Role::Assistant || part_text(&part).is_some() => {
                    parts.push(part);
                }
                _ => left_out.push(format!("a part of the type {:?}", kind(part))),
            },
            Piece::Call(call) => calls.push(written_call(call)),
        }
    }
    if parts.is_empty() && calls.is_empty() {
        return None;
    }
    let mut written = Object::new();
    written.insert("role".into(), turn.chat.get("role").cloned().unwrap_or_default());
    let content = match &parts[..] {
        [] => Value::Null,
        [part] if kind(part) == "text" => part["text"].clone(),
        _ => parts.into(),
    };
    written.insert("content".into(), content);
    if let Some(name) = turn.chat.get("name") {
        written.insert("name".into(), name.clone());
    }
    if !calls.is_empty() {
        written.insert("tool_calls".into(), calls.into());
    }
    Some(written)
}

fn written_call(call: &Call) -> Value {
    if call.as_it_was.get("function").is_some() || call.as_it_was.get("custom").is_some() {
        return call.as_it_was.clone();
    }
    let arguments = match &call.arguments {
        Value::String(text) => text.clone(),
        arguments => arguments.to_string(),
    };
    json!({"id": call.id, "type": "function",
           "function": {"name": call.name, "arguments": arguments}})
}

fn translated(part: &Value) -> Option<Value> {
    if is_own(part) {
        return Some(part.clone());
    }
    if let Some(text) = part_text(part) {
        return (!text.is_empty()).then(|| json!({"type": "text", "text": text}));
    }
    if let Some(image) = Media::image(part) {
        let mut url = json!({"url": image.into_url()});
        if let Some(detail) = text(part, &["detail"]) {
            url["detail"] = detail.into();
        }
        return Some(json!({"type": "image_url", "image_url": url}));
    }
    match kind(part) {
        "document" => {
            let source = part.get("source")?;
            if kind(source) == "text" {
                let (title, data) = (text(part, &["title"]), text(source, &["data"])?);
                let text =
                    title.map_or_else(|| data.to_owned(), |title| format!("{title}\n{data}"));
                return Some(json!({"type": "text", "text": text}));
            }
            let file = Media::of_source(source)?;
            let Media::Data { .. } = file else { return None };
            let name = text(part, &["title"]).unwrap_or("document.pdf");
            Some(json!({"type": "file", "file": {"filename": name, "file_data": file.into_url()}}))
        }
        "input_file" => {
            let mut file = part.as_object()?.clone();
            file.retain(|key, _| matches!(key.as_str(), "file_data" | "file_id" | "filename"));
            (file.contains_key("file_data") || file.contains_key("file_id"))
                .then(|| json!({"type": "file", "file": file}))
        }
        _ => None,
    }
}

/// A tool's message. What is not text in it goes to `media`.
fn result(answer: &Answer, media: &mut Vec<Value>, left_out: &mut Vec<String>) -> Value {
    let own = answer.as_it_was.get("role").is_some();
    let text_alone = match &answer.content {
        Value::Array(parts) => parts.iter().all(|part| kind(part) == "text" && is_own(part)),
        content => content.is_string(),
    };
    let in_parts = answer.as_it_was.get("content").is_some_and(|c| *c == answer.content);
    if let (true, true, true, Value::Object(chat)) = (own, text_alone, in_parts, &answer.as_it_was)
    {
        let mut written = own_fields(chat.clone());
        if written.get("role").and_then(Value::as_str) == Some("tool") {
            written.entry("tool_call_id").or_insert_with(|| answer.id.as_str().into());
        }
        return Value::Object(written);
    }
    let content: Value = match &answer.content {
        Value::Array(parts) => {
            let mut texts = Vec::new();
            for part in parts {
                match (part_text(part), translated(part)) {
                    (Some(text), _) => texts.push(text.to_owned()),
                    (None, Some(part)) => media.push(part),
                    (None, None) => left_out.push(format!("a part of the type {:?}", kind(part))),
                }
            }
            texts.join("\n").into()
        }
        Value::Null => "".into(),
        Value::String(text) => text.as_str().into(),
        other => other.to_string().into(),
    };
    json!({"role": "tool", "tool_call_id": answer.id, "content": content})
}
