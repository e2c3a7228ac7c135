//! Detects a transcript's form by the keys of its objects.

use serde_json::Value;

use super::{Form, exchange, langchain, responses};

/// Returns the form of an item, a conversation or a message, where that is unmistakable.
pub fn detect(item: &Value) -> Option<Form> {
    let object = match item {
        Value::Object(object) => object,
        // The first message decides the form of a list.
        Value::Array(items) => {
            return items.first().filter(|first| first.is_object()).and_then(detect);
        }
        _ => return None,
    };
    let has = |key: &str| object.contains_key(key);
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let kind = text("type");
    let list = |key: &str| object.get(key).and_then(Value::as_array);
    if object.get("mapping").is_some_and(Value::is_object) {
        return Some(Form::ChatGpt);
    }
    if list("chat_messages").is_some() {
        return Some(Form::Claude);
    }
    if !kind.is_empty()
        && (has("sessionId")
            || has("parentUuid")
            || (kind == "summary" && has("leafUuid"))
            || kind == "file-history-snapshot")
    {
        return Some(Form::ClaudeCode);
    }
    if list("conversations").is_some() || (has("from") && has("value")) {
        return Some(Form::ShareGpt);
    }
    if langchain::is_message(item) {
        return Some(Form::LangChain);
    }
    if exchange::is_one(object) {
        return ["request", "body", "response"].iter().find_map(|key| {
            let inner = object.get(*key)?;
            detect(inner.get("body").unwrap_or(inner))
        });
    }
    if let Some(messages) = list("messages") {
        let told = messages.first().filter(|first| first.is_object()).and_then(detect);
        return Some(match told {
            Some(told @ (Form::LangChain | Form::ShareGpt)) => told,
            _ if has("system") || has("anthropic_version") => Form::Anthropic,
            _ if has("model") || has("tools") => Form::OpenAi,
            _ => Form::Chat,
        });
    }
    if list("choices").is_some() {
        return Some(Form::OpenAi);
    }
    if text("object") == "response"
        || (has("input") && (has("model") || has("instructions")))
        || (text("object") == "list"
            && list("data").and_then(|d| d.first()).is_some_and(responses::is_item))
    {
        return Some(Form::Responses);
    }
    if kind == "message" && has("role") && (has("stop_reason") || has("usage")) {
        return Some(Form::Anthropic);
    }
    if responses::is_item(item) {
        return Some(Form::Responses);
    }
    // A conversation whose messages are misspelt is one all the same.
    let is_chat = has("role") || (has("conversation_id") && !has("content"));
    (is_chat && !has("subtype")).then_some(Form::Chat)
}
