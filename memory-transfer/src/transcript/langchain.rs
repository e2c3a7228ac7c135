//! Messages as LangChain dumps them: `{"type": "human", "data": {…}}`, the constructor form with `lc`
//! and `kwargs`, and a message's own fields.

use memquill_core::json::Object;
use memquill_core::{Error, Message, Result};
use serde_json::{Value, json};

use super::chat;
use super::draft::{Draft, keep, take_text};

/// Whether a value is a message of LangChain.
pub(super) fn is_message(value: &Value) -> bool {
    let Some(object) = value.as_object() else { return false };
    if object.contains_key("lc") {
        return object.get("kwargs").is_some_and(Value::is_object);
    }
    let known = object.get("type").and_then(Value::as_str).is_some_and(|kind| {
        matches!(stem(kind).as_str(), "human" | "ai" | "system" | "tool" | "function" | "chat")
    });
    known
        && (object.get("data").is_some_and(|data| data.get("content").is_some())
            || (object.contains_key("content") && !object.contains_key("role")))
}

/// `ai` of `ai`, `AIMessage` and `AIMessageChunk`.
fn stem(kind: &str) -> String {
    let kind = kind.strip_suffix("Chunk").unwrap_or(kind);
    kind.strip_suffix("Message").unwrap_or(kind).to_lowercase()
}

/// Reads `{"messages": […]}`.
pub(super) fn conversation(object: Object) -> Result<Draft> {
    chat::conversation_of(object, message)
}

/// Reads a message; what has no place in the chat form is kept beside it.
pub(super) fn message(value: Value) -> Result<Message> {
    let Value::Object(mut object) = value else {
        return Err(Error::invalid_input("a message is a JSON object"));
    };
    let class = object.get("id").and_then(Value::as_array).and_then(|path| path.last()?.as_str());
    let class = class.map(str::to_owned);
    let inner = object.shift_remove("kwargs").or_else(|| object.shift_remove("data"));
    let mut kind = take_text(&mut object, "type")?.filter(|kind| kind != "constructor");
    let mut fields = match inner {
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(Error::invalid_input("the message's fields are no object")),
        None => object,
    };
    let own = take_text(&mut fields, "type")?;
    kind = class.or(kind).or(own);
    let role = match kind.as_deref().map(stem).as_deref() {
        Some("human") => "user".to_owned(),
        Some("ai") => "assistant".to_owned(),
        Some("chat") | None => take_text(&mut fields, "role")?
            .ok_or_else(|| Error::invalid_input("the message has neither type nor role"))?,
        Some(role) => role.to_owned(),
    };
    let mut chat = Object::new();
    chat.insert("role".into(), role.into());
    chat.insert("content".into(), content(fields.shift_remove("content")));
    for field in ["name", "id", "tool_call_id"] {
        if let Some(value) = fields.shift_remove(field).filter(|value| !value.is_null()) {
            chat.insert(field.into(), value);
        }
    }
    if let Some(Value::Object(more)) = fields.get_mut("additional_kwargs") {
        for field in ["tool_calls", "function_call"] {
            if let Some(value) = more.shift_remove(field).filter(|value| !value.is_null()) {
                chat.insert(field.into(), value);
            }
        }
    }
    if let Some(Value::Array(calls)) = fields.shift_remove("tool_calls")
        && !calls.is_empty()
        && !chat.contains_key("tool_calls")
    {
        chat.insert("tool_calls".into(), calls.into_iter().map(call).collect());
    }
    let mut message = Message::from_chat(&Value::Object(chat))?;
    for (field, value) in fields {
        let nothing = match &value {
            Value::Null | Value::Bool(false) => true,
            Value::Object(fields) => fields.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        if !nothing {
            keep(&mut message, field, value);
        }
    }
    Ok(message)
}

/// Text among parts is a part.
fn content(content: Option<Value>) -> Value {
    match content {
        Some(Value::Array(parts)) => {
            let part = |part| match part {
                Value::String(text) => json!({"type": "text", "text": text}),
                part => part,
            };
            parts.into_iter().map(part).collect()
        }
        Some(Value::Null) | None => "".into(),
        Some(content) => content,
    }
}

/// A call in the common form, whose arguments are JSON text.
fn call(call: Value) -> Value {
    let Value::Object(mut call) = call else { return call };
    let Some(arguments) = call.shift_remove("args") else { return Value::Object(call) };
    let name = call.shift_remove("name").unwrap_or_default();
    let id = call.shift_remove("id").unwrap_or_default();
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments.to_string()}})
}
