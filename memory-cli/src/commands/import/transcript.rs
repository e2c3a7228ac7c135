//! A conversation as a line of a transcript has it.

use std::collections::HashMap;

use memquill::kinds::strict;
use memquill::transfer::items;
use memquill::{Error, Message, Result, content_hash};
use serde::Deserialize;
use serde_json::Value;

use super::forms;

/// Makes the id of a message without one of its own, so that importing it again is a replay (C3).
/// It says the message's position in its conversation, and cannot be met by chance.
pub(in crate::commands) fn derived_id(conversation: &str, position: usize) -> String {
    let hash = content_hash(&format!("{conversation}\0{position}"));
    format!("import-{position}-{}", &hash[..16])
}

/// Whether an id was derived by [`derived_id`] for a message of the conversation.
pub(in crate::commands) fn is_derived(conversation: &str, id: &str) -> bool {
    id.strip_prefix("import-")
        .and_then(|rest| rest.split_once('-'))
        .and_then(|(position, _)| position.parse().ok())
        .is_some_and(|position| derived_id(conversation, position) == id)
}

/// A conversation, ready to be appended.
#[derive(Debug)]
pub(super) struct Transcript {
    pub(super) conversation: String,
    /// The messages, each with an id.
    pub(super) messages: Vec<Message>,
    /// The date of the conversation, for the metadata of indexed turns.
    pub(super) date: Option<String>,
    /// The keys that say something about a model's request, which no store keeps.
    pub(super) not_kept: Vec<&'static str>,
}

/// An object of the file. What fine-tuning files say about the request is known, and not kept.
#[derive(Deserialize)]
struct Line {
    conversation_id: Option<String>,
    messages: Vec<Value>,
    date: Option<String>,
    tools: Option<Value>,
    tool_choice: Option<Value>,
    parallel_tool_calls: Option<Value>,
    functions: Option<Value>,
    function_call: Option<Value>,
    model: Option<Value>,
}

impl Line {
    fn not_kept(&self) -> Vec<&'static str> {
        let all = [
            ("tools", &self.tools),
            ("tool_choice", &self.tool_choice),
            ("parallel_tool_calls", &self.parallel_tool_calls),
            ("functions", &self.functions),
            ("function_call", &self.function_call),
            ("model", &self.model),
        ];
        all.into_iter().filter(|(_, value)| value.is_some()).map(|(key, _)| key).collect()
    }
}

impl Transcript {
    /// Reads an item of a file; an error says the message where it is about one.
    pub(super) fn parse(text: &str, line: u64) -> Result<Self> {
        let value: Value = items::parse(text, line)?;
        if let Some(form) = forms::of(&value) {
            return Err(form.error());
        }
        let Value::Object(object) = value else {
            return Err(Error::invalid_input("a conversation is a JSON object")
                .with_hint(r#"write {"conversation_id": "…", "messages": […]}"#));
        };
        let line: Line = strict::from_object("a conversation", &object)?;
        let conversation = match &line.conversation_id {
            Some(id) => id.clone(),
            None => derived_conversation(&line.messages),
        };
        let not_kept = line.not_kept();
        let messages = messages(&conversation, line.messages)?;
        Ok(Self { conversation, messages, date: line.date, not_kept })
    }
}

/// Makes the id of a conversation without one of its own from its content, so that importing it
/// again changes nothing.
fn derived_conversation(messages: &[Value]) -> String {
    let hash = content_hash(&Value::Array(messages.to_vec()).to_string());
    format!("import-{}", &hash[..32])
}

fn messages(conversation: &str, values: Vec<Value>) -> Result<Vec<Message>> {
    let mut positions: HashMap<String, usize> = HashMap::new();
    let mut messages = Vec::with_capacity(values.len());
    for (position, value) in values.into_iter().enumerate() {
        let number = position + 1;
        let mut message = Message::from_chat(&value)
            .map_err(|error| error.at(format_args!("message {number}")))?;
        let id = message.id.get_or_insert_with(|| derived_id(conversation, position));
        if let Some(earlier) = positions.insert(id.clone(), number) {
            let error = Error::invalid_input(format!(
                "message {number}: it has the id {id:?}, as message {earlier} has"
            ));
            return Err(error.with_hint("give each message an id of its own, or none"));
        }
        message.check().map_err(|error| error.at(format_args!("message {number}")))?;
        messages.push(message);
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_id_is_known_again_and_no_other_passes_for_one() {
        let id = derived_id("dlg-1", 7);
        assert!(is_derived("dlg-1", &id));
        assert!(!is_derived("dlg-2", &id));
        assert!(!is_derived("dlg-1", "import-7"));
        assert!(!is_derived("dlg-1", "import-8-0000000000000000"));
    }
}
