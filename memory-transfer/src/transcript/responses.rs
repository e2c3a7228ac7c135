//! OpenAI's Responses API: items of input and output.
//!
//! A message item is a message. What the model does otherwise, thinking and calls, are parts of an
//! assistant's message, those that follow each other of one; a result is a tool's message.

use memquill_core::json::Object;
use memquill_core::{Error, Message, Result, Role};
use serde_json::{Value, json};

use super::draft::{Draft, set_sent_at, take_text, take_time};

/// Types of items besides those that end in `_call` and `_output`.
const TYPES: [&str; 7] = [
    "reasoning",
    "item_reference",
    "compaction",
    "mcp_list_tools",
    "mcp_approval_request",
    "mcp_approval_response",
    "additional_tools",
];

fn kind(item: &Value) -> &str {
    item.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// Whether a value is an item that no other form has.
pub(super) fn is_item(item: &Value) -> bool {
    let kind = kind(item);
    if kind == "message" {
        return item.get("role").is_some();
    }
    TYPES.contains(&kind) || kind.ends_with("_call") || kind.ends_with("_output")
}

/// Reads a request, an answer or a list of items.
pub(super) fn conversation(mut object: Object) -> Result<Draft> {
    let mut turns = Turns::default();
    if object.get("object").and_then(Value::as_str) == Some("response") {
        turns.draft.id = take_text(&mut object, "id")?;
    }
    if let Some(conversation) = object.shift_remove("conversation") {
        let id = conversation.get("id").unwrap_or(&conversation).as_str();
        turns.draft.id = id.map(str::to_owned).or(turns.draft.id);
    }
    let sent_at = take_time(&mut object, "created_at");
    match object.shift_remove("instructions") {
        None | Some(Value::Null) => {}
        Some(Value::Array(items)) => turns.all(items),
        Some(text) => turns.all(vec![json!({"role": "developer", "content": text})]),
    }
    let mut any = false;
    for key in ["input", "output", "data"] {
        match object.shift_remove(key) {
            None | Some(Value::Null) => continue,
            Some(Value::Array(items)) => turns.all(items),
            Some(text @ Value::String(_)) => {
                turns.all(vec![json!({"role": "user", "content": text})]);
            }
            Some(_) => {
                return Err(Error::invalid_input(format!("{key} is neither text nor a list")));
            }
        }
        any = true;
    }
    if !any {
        return Err(Error::invalid_input("there is neither input nor output"));
    }
    turns.draft.not_kept.extend(object.keys().cloned());
    let mut draft = turns.finish();
    if let Some(message) = draft.last_mut().filter(|message| message.metadata.is_empty()) {
        set_sent_at(message, sent_at);
    }
    Ok(draft)
}

/// Items on their way to messages.
#[derive(Debug, Default)]
pub(super) struct Turns {
    pub(super) draft: Draft,
    /// What the model does, parts of its next message.
    parts: Vec<Value>,
}

impl Turns {
    fn all(&mut self, items: Vec<Value>) {
        for (at, item) in items.into_iter().enumerate() {
            if let Err(error) = self.add(item) {
                self.draft.leave_out(error.at(format_args!("item {}", at + 1)));
            }
        }
    }

    pub(super) fn add(&mut self, item: Value) -> Result<()> {
        self.draft.digest(&item);
        let kind = kind(&item);
        if kind.is_empty() || kind == "message" {
            let message = Message::from_chat(&item)?;
            self.end_turn();
            return self.draft.push(message);
        }
        if kind.ends_with("_output") || kind == "mcp_approval_response" {
            self.end_turn();
            let id = id(&item);
            let call = item.get("call_id").and_then(Value::as_str).map(str::to_owned);
            let role = if kind == "mcp_approval_response" { Role::User } else { Role::Tool };
            let result = Message::from_parts(role, vec![item])?;
            return self.draft.push(Message { id, tool_call_id: call, ..result });
        }
        // Whether the part can be kept is told here, where its place is known.
        Message::from_parts(Role::Assistant, vec![item.clone()])?.check()?;
        self.parts.push(item);
        Ok(())
    }

    fn end_turn(&mut self) {
        let Some(first) = self.parts.first() else { return };
        let id = id(first);
        let turn = Message::from_parts(Role::Assistant, std::mem::take(&mut self.parts));
        let added = turn.and_then(|turn| self.draft.push(Message { id, ..turn }));
        self.draft.note(added);
    }

    pub(super) fn finish(mut self) -> Draft {
        self.end_turn();
        self.draft
    }
}

fn id(item: &Value) -> Option<String> {
    item.get("id").and_then(Value::as_str).map(str::to_owned)
}
