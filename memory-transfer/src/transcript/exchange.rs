//! What a client logged of an API: a request with its answer, an answer alone, a line of a batch.

use memquill_core::json::Object;
use memquill_core::{Error, Result};
use serde_json::Value;

use super::draft::{Draft, set_sent_at, take_list, take_text, take_time};
use super::{Form, chat, detect, whole};

/// Whether an object holds a request, its answer, or both.
pub(super) fn is_one(object: &Object) -> bool {
    let holds = |key: &str| object.get(key).is_some_and(Value::is_object);
    !object.contains_key("messages")
        && ((holds("request") && holds("response"))
            || (object.contains_key("custom_id") && (holds("body") || holds("response"))))
}

/// Reads a request, its answer, or both.
pub(super) fn read(mut object: Object) -> Result<Draft> {
    let mut draft = Draft::default();
    for key in ["custom_id", "conversation_id", "id"] {
        let id = take_text(&mut object, key)?;
        draft.id = draft.id.or(id);
    }
    for key in ["request", "body", "response"] {
        let Some(part) = object.shift_remove(key).filter(|part| !part.is_null()) else { continue };
        let part = match part {
            // A batch wraps both in what HTTP says.
            Value::Object(mut part) if part.get("body").is_some_and(Value::is_object) => {
                part.shift_remove("body").unwrap_or_default()
            }
            part => part,
        };
        let form = detect(&part).ok_or_else(|| {
            Error::invalid_input(format!("the {key} is in no form of an API that is known"))
        })?;
        let is_answer = form == Form::Anthropic && part.get("messages").is_none();
        if is_answer {
            draft.push_numbered(part, chat::message);
        } else {
            draft.append(whole(form, part)?, &format!("the {key}"));
        }
    }
    draft.not_kept(object.keys().map(String::as_str));
    Ok(draft)
}

/// Reads an answer of the Chat Completions API: the message of its first choice.
pub(super) fn completion(mut object: Object) -> Result<Draft> {
    let mut draft = Draft::new(take_text(&mut object, "id")?);
    let choices = take_list(&mut object, "choices")?;
    let others = choices.len().saturating_sub(1);
    let first = choices.into_iter().next();
    let Some(Value::Object(mut choice)) = first else {
        return Err(Error::invalid_input("the answer has no choice"));
    };
    let Some(message) = choice.shift_remove("message") else {
        return Err(Error::invalid_input("the choice has no message")
            .with_hint("put the chunks of a stream together first"));
    };
    draft.push_numbered(message, chat::message);
    let sent_at = take_time(&mut object, "created");
    if let Some(message) = draft.last_mut().filter(|message| message.metadata.is_empty()) {
        set_sent_at(message, sent_at);
    }
    if others > 0 {
        draft.set_aside.push(format!("{others} other choices of the answer"));
    }
    draft.not_kept(object.keys().chain(choice.keys()).map(String::as_str));
    Ok(draft)
}
