//! The common chat form, and requests of chat APIs, whose messages are in it.

use memquill_core::json::Object;
use memquill_core::{Error, Message, Result, did_you_mean};
use serde_json::{Value, json};

use super::draft::{Draft, take_list, take_text};

/// Fields that a conversation is read from.
const FIELDS: [&str; 8] =
    ["conversation_id", "id", "session_id", "thread_id", "messages", "date", "title", "system"];

/// Fields of requests that are near to one of those, and are no slips of it.
const OF_REQUESTS: [&str; 6] =
    ["metadata", "tools", "tool_choice", "system_fingerprint", "session", "message_count"];

/// Reads `{"messages": […]}`. Anthropic's instructions, `system`, are the first message.
pub(super) fn conversation(object: Object) -> Result<Draft> {
    conversation_of(object, message)
}

/// Reads `{"messages": […]}`, each message by `read`.
pub(super) fn conversation_of(
    mut object: Object,
    read: impl Fn(Value) -> Result<Message>,
) -> Result<Draft> {
    let mut draft = Draft::default();
    for (field, value) in &object {
        if FIELDS.contains(&field.as_str()) || value.is_null() {
            continue;
        }
        if !OF_REQUESTS.contains(&field.as_str())
            && let Some(hint) = did_you_mean(field, FIELDS)
        {
            return Err(Error::invalid_input(format!("a conversation has no key {field:?}"))
                .with_hint(hint));
        }
        draft.not_kept.insert(field.clone());
    }
    for key in ["conversation_id", "id", "session_id", "thread_id"] {
        let id = take_text(&mut object, key)?;
        if draft.id.is_none() {
            draft.id = id;
        } else if id.is_some() {
            draft.not_kept.insert(key.to_owned());
        }
    }
    draft.title = take_text(&mut object, "title")?;
    draft.date = take_text(&mut object, "date")?;
    if let Some(system) = object.shift_remove("system").filter(|system| !system.is_null()) {
        draft.push_numbered(json!({"role": "system", "content": system}), message);
    }
    let messages = take_list(&mut object, "messages").map_err(|error| {
        error.with_hint(
            r#"write {"conversation_id": "…", "messages": [{"role": "user", "content": "…"}]}"#,
        )
    })?;
    for raw in messages {
        draft.push_numbered(raw, &read);
    }
    Ok(draft)
}

/// Reads a message in the common chat form.
#[expect(clippy::needless_pass_by_value, reason = "as the readers of other forms")]
pub(super) fn message(value: Value) -> Result<Message> {
    Message::from_chat(&value)
}
