//! Claude's account export: conversations with `chat_messages`.

use std::collections::{HashMap, HashSet};

use memquill_core::json::Object;
use memquill_core::{Error, Message, Result, Role};
use serde_json::{Value, json};

use super::draft::{Draft, set_sent_at, take_list, take_text, take_time};

/// What a block of a type has in Anthropic's API; the export says more.
const BLOCKS: [(&str, &[&str]); 6] = [
    ("text", &["type", "text"]),
    ("thinking", &["type", "thinking", "signature"]),
    ("redacted_thinking", &["type", "data"]),
    ("tool_use", &["type", "id", "name", "input"]),
    ("tool_result", &["type", "tool_use_id", "content", "is_error"]),
    ("image", &["type", "source"]),
];

/// Reads a conversation of the export.
pub(super) fn conversation(mut object: Object) -> Result<Draft> {
    let mut draft = Draft::new(take_text(&mut object, "uuid")?);
    draft.title = take_text(&mut object, "name")?.filter(|name| !name.is_empty());
    let leaf = take_text(&mut object, "current_leaf_message_uuid")?;
    let messages = take_list(&mut object, "chat_messages")?;
    let others = object.into_iter().filter(|(key, value)| {
        !matches!(key.as_str(), "updated_at" | "account") && !value.is_null() && *value != ""
    });
    draft.not_kept.extend(others.map(|(key, _)| key));
    let shown = branch(&messages, leaf.as_deref());
    for (at, message) in messages.into_iter().enumerate() {
        if !shown[at] {
            let id = message.get("uuid").and_then(Value::as_str);
            draft.other_branches.extend(id.map(str::to_owned));
            continue;
        }
        draft.digest(&message);
        if let Err(error) = add(&mut draft, message) {
            draft.leave_out(error.at(format_args!("chat_messages[{at}]")));
        }
    }
    if !draft.other_branches.is_empty() {
        draft.set_aside.push(format!("{} messages of other branches", draft.other_branches.len()));
    }
    Ok(draft)
}

/// Which messages lead to the one that was shown last. An export without parents has no branches.
fn branch(messages: &[Value], leaf: Option<&str>) -> Vec<bool> {
    let text =
        |message: &'_ Value, key: &str| message.get(key).and_then(Value::as_str).map(str::to_owned);
    let by_id: HashMap<String, usize> = messages
        .iter()
        .enumerate()
        .filter_map(|(at, message)| Some((text(message, "uuid")?, at)))
        .collect();
    if !messages.iter().any(|message| {
        text(message, "parent_message_uuid").is_some_and(|parent| by_id.contains_key(&parent))
    }) {
        return vec![true; messages.len()];
    }
    let mut at = leaf.and_then(|id| by_id.get(id).copied()).or(messages.len().checked_sub(1));
    let (mut shown, mut seen) = (vec![false; messages.len()], HashSet::new());
    while let Some(message) = at.filter(|at| seen.insert(*at)) {
        shown[message] = true;
        at = text(&messages[message], "parent_message_uuid").and_then(|id| by_id.get(&id).copied());
    }
    shown
}

fn add(draft: &mut Draft, message: Value) -> Result<()> {
    let Value::Object(mut message) = message else {
        return Err(Error::invalid_input("a message is a JSON object"));
    };
    let role = match take_text(&mut message, "sender")?.as_deref() {
        Some("human") => Role::User,
        Some("assistant") => Role::Assistant,
        Some(other) => return Err(Error::invalid_input(format!("there is no sender {other:?}"))),
        None => return Err(Error::invalid_input("the message has no sender")),
    };
    let id = take_text(&mut message, "uuid")?;
    let sent_at = take_time(&mut message, "created_at");
    let text = take_text(&mut message, "text")?.filter(|text| !text.is_empty());
    let mut parts = Vec::new();
    if let Some(Value::Array(attached)) = message.shift_remove("attachments") {
        parts.extend(attached.into_iter().map(document));
    }
    let blocks = match message.shift_remove("content") {
        Some(Value::Array(blocks)) if !blocks.is_empty() => blocks,
        _ => text.into_iter().map(|text| json!({"type": "text", "text": text})).collect(),
    };
    for found in blocks {
        parts.extend(block(draft, found));
    }
    let mut files = message
        .shift_remove("files")
        .filter(|files| files.as_array().is_some_and(|files| !files.is_empty()));
    if parts.is_empty()
        && let Some(files) = files.take()
    {
        parts.push(json!({"type": "files", "files": files}));
    }
    if parts.is_empty() {
        draft.set_aside.push(format!("the empty message {}", id.as_deref().unwrap_or("of no id")));
        draft.skip();
        return Ok(());
    }
    for (number, (role, parts)) in turns(role, parts).into_iter().enumerate() {
        let mut read = plain(role, parts)?;
        read.id = match (&id, number) {
            (Some(id), 0) => Some(id.clone()),
            (Some(id), number) => Some(format!("{id}:{number}")),
            (None, _) => None,
        };
        set_sent_at(&mut read, sent_at.clone());
        if number == 0
            && let Some(files) = &files
        {
            read.metadata.insert("files".into(), files.clone());
        }
        draft.push(read)?;
    }
    Ok(())
}

/// Content of one text is that text.
fn plain(role: Role, parts: Vec<Value>) -> Result<Message> {
    match &parts[..] {
        [part] if part["type"] == "text" => {
            Ok(Message::new(role, part["text"].as_str().unwrap_or_default()))
        }
        _ => Message::from_parts(role, parts),
    }
}

/// The export has results of tools in the assistant's message; for a model they are the user's.
fn turns(role: Role, parts: Vec<Value>) -> Vec<(Role, Vec<Value>)> {
    let mut turns: Vec<(Role, Vec<Value>)> = Vec::new();
    for part in parts {
        let role = if part["type"] == "tool_result" { Role::User } else { role };
        match turns.last_mut().filter(|(last, _)| *last == role) {
            Some((_, parts)) => parts.push(part),
            None => turns.push((role, vec![part])),
        }
    }
    turns
}

/// A file whose text the export has.
fn document(attached: Value) -> Value {
    let name = attached.get("file_name").and_then(Value::as_str).unwrap_or_default();
    match attached.get("extracted_content").and_then(Value::as_str) {
        Some(text) => json!({"type": "document", "title": name,
            "source": {"type": "text", "media_type": "text/plain", "data": text}}),
        None => json!({"type": "attachment", "attachment": attached}),
    }
}

/// A block as the API has it; none where it says nothing.
fn block(draft: &mut Draft, block: Value) -> Option<Value> {
    let Value::Object(mut block) = block else {
        return Some(json!({"type": "part", "value": block}));
    };
    let kind = block.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    if kind == "token_budget" {
        draft.not_kept.insert(kind);
        return None;
    }
    if kind == "text" && block.get("text").and_then(Value::as_str) == Some("") {
        return None;
    }
    if kind.is_empty() {
        return Some(json!({"type": "part", "value": block}));
    }
    if let Some((_, fields)) = BLOCKS.into_iter().find(|(known, _)| *known == kind) {
        let more: Vec<String> =
            block.keys().filter(|key| !fields.contains(&key.as_str())).cloned().collect();
        for key in more {
            let value = block.shift_remove(&key).unwrap_or_default();
            let says = !value.is_null() && value.as_array().is_none_or(|items| !items.is_empty());
            if says && !key.ends_with("_timestamp") {
                draft.not_kept.insert(format!("content.{key}"));
            }
        }
        block.retain(|_, value| !value.is_null());
    }
    Some(Value::Object(block))
}
