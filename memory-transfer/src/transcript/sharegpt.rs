//! ShareGPT's form: `conversations` of `from` and `value`, also with calls and observations.

use memquill_core::json::Object;
use memquill_core::{Error, Message, Result, did_you_mean};
use serde_json::{Value, json};

use super::draft::{Draft, keep, take_list, take_text};

/// Who says what, in the names that data sets use.
const FROM: [(&str, &str); 12] = [
    ("human", "user"),
    ("user", "user"),
    ("gpt", "assistant"),
    ("assistant", "assistant"),
    ("chatgpt", "assistant"),
    ("bing", "assistant"),
    ("bard", "assistant"),
    ("model", "assistant"),
    ("system", "system"),
    ("function_call", "assistant"),
    ("observation", "tool"),
    ("tool", "tool"),
];

/// Reads `{"conversations": […]}`.
pub(super) fn conversation(mut object: Object) -> Result<Draft> {
    let mut draft = Draft::default();
    for key in ["conversation_id", "id"] {
        let id = match object.shift_remove(key) {
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(Value::String(id)) => Some(id),
            _ => None,
        };
        draft.id = draft.id.or(id);
    }
    draft.title = take_text(&mut object, "title")?;
    if let Some(system) = take_text(&mut object, "system")?.filter(|system| !system.is_empty()) {
        add(&mut draft, json!({"from": "system", "value": system}));
    }
    for turn in take_list(&mut object, "conversations")? {
        add(&mut draft, turn);
    }
    draft.not_kept.extend(object.keys().cloned());
    Ok(draft)
}

fn add(draft: &mut Draft, turn: Value) {
    draft.digest(&turn);
    let added = push(draft, turn);
    draft.note(added);
}

/// Adds a turn. A call has no id in this form: the observation behind it is its result.
pub(super) fn push(draft: &mut Draft, turn: Value) -> Result<()> {
    let Value::Object(mut turn) = turn else {
        return Err(Error::invalid_input("a message is a JSON object"));
    };
    let from = take_text(&mut turn, "from")?
        .ok_or_else(|| Error::invalid_input("the message does not say who it is from"))?;
    let Some((_, role)) = FROM.into_iter().find(|(name, _)| *name == from) else {
        let hint = did_you_mean(&from, FROM.map(|(name, _)| name)).unwrap_or_else(|| {
            "it is from human, gpt, system, function_call or observation".to_owned()
        });
        return Err(Error::invalid_input(format!("there is no one {from:?}")).with_hint(hint));
    };
    let value = turn.shift_remove("value").unwrap_or_default();
    let number = draft.positions() + 1;
    let mut chat = Object::from_iter([("role".to_owned(), Value::from(role))]);
    if from == "function_call" {
        let call = value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        let call = call.unwrap_or_else(|| value.clone());
        let name = call.get("name").and_then(Value::as_str).unwrap_or("function").to_owned();
        let arguments = match call.get("arguments") {
            Some(Value::String(text)) => text.clone(),
            Some(arguments) => arguments.to_string(),
            None => call.to_string(),
        };
        let call = json!({"id": format!("call-{number}"), "type": "function",
                          "function": {"name": name, "arguments": arguments}});
        chat.insert("content".into(), Value::Null);
        chat.insert("tool_calls".into(), Value::Array(vec![call]));
    } else {
        chat.insert("content".into(), value);
        if role == "tool"
            && let Some(call) =
                draft.last_mut().and_then(|last| last.calls().next().map(str::to_owned))
        {
            chat.insert("tool_call_id".into(), call.into());
        }
    }
    let mut message = Message::from_chat(&Value::Object(chat))?;
    for (field, value) in turn {
        keep(&mut message, field, value);
    }
    draft.push(message)
}
