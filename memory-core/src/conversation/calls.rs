//! Tool calls and their results in the forms of the chat APIs (contract, C7).

use std::collections::HashSet;

use serde_json::Value;

use super::parts::{field, kind};
use super::{Message, Role};

/// A call of a tool, as a model made it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ToolCall<'a> {
    pub(crate) id: Option<&'a str>,
    pub(crate) name: Option<&'a str>,
    /// The arguments: JSON, or a text that is JSON where the model wrote it well.
    pub(crate) arguments: Option<&'a Value>,
}

impl<'a> ToolCall<'a> {
    /// Reads an element of `tool_calls`, a `function_call`, or a part that is a call.
    fn read(call: &'a Value) -> Self {
        let function = call.get("function").filter(|function| function.is_object()).unwrap_or(call);
        Self {
            id: field(call, &["call_id", "toolCallId", "id"]),
            name: field(function, &["name", "toolName"]),
            arguments: ["arguments", "input", "args", "action"]
                .iter()
                .find_map(|key| function.get(key)),
        }
    }
}

/// Returns whether a part is a call that waits for a result: OpenAI's Responses API, Anthropic,
/// `LangChain` and the AI SDK each have their own name for it. What a service does by itself and
/// answers in the same part (`web_search_call`) is none.
pub(crate) fn is_call(part: &Value) -> bool {
    let kind = kind(part);
    kind.ends_with("tool_use")
        || matches!(
            kind,
            "tool_call"
                | "tool-call"
                | "function_call"
                | "custom_tool_call"
                | "computer_call"
                | "local_shell_call"
                | "shell_call"
                | "apply_patch_call"
        )
}

/// Returns whether a part is the result of a call.
pub(crate) fn is_result(part: &Value) -> bool {
    let kind = kind(part);
    kind.ends_with("tool_result") || kind.ends_with("_call_output") || kind == "tool-result"
}

/// Returns the content of a part that is a result.
pub(crate) fn result_content(part: &Value) -> Option<&Value> {
    ["content", "output", "result"].iter().find_map(|key| part.get(key))
}

impl Message {
    /// Lists the tool calls that the message makes, in every form: `tool_calls`, parts that are
    /// calls, such as Anthropic's `tool_use`, and the `function_call` of 2023. A call that is both
    /// listed and a part, as `LangChain` dumps it, is one. Instructions make no calls.
    pub(crate) fn tool_calls(&self) -> Vec<ToolCall<'_>> {
        if self.role == Role::System {
            return Vec::new();
        }
        let mut calls: Vec<ToolCall<'_>> = self.tool_calls.iter().map(ToolCall::read).collect();
        let listed: HashSet<&str> = calls.iter().filter_map(|call| call.id).collect();
        let parts = self.parts().unwrap_or_default().iter().filter(|part| is_call(part));
        calls.extend(
            parts.map(ToolCall::read).filter(|call| call.id.is_none_or(|id| !listed.contains(id))),
        );
        calls.extend(
            self.extra.get("function_call").filter(|call| call.is_object()).map(ToolCall::read),
        );
        calls
    }

    /// Lists the calls that the message answers by their id, in every form; none for a result that
    /// names no call. Instructions answer no calls.
    pub(crate) fn results(&self) -> Vec<Option<&str>> {
        if self.role == Role::System {
            return Vec::new();
        }
        let parts = self.parts().unwrap_or_default().iter().filter(|part| is_result(part));
        let mut results: Vec<Option<&str>> = parts
            .map(|part| field(part, &["tool_use_id", "tool_call_id", "toolCallId", "call_id"]))
            .collect();
        match &self.tool_call_id {
            Some(id) if !results.contains(&Some(id)) => results.insert(0, Some(id)),
            None if self.role == Role::Tool && results.is_empty() => results.push(None),
            _ => {}
        }
        results
    }

    /// Lists the ids of the tool calls that the message makes: those of `tool_calls`, and of parts
    /// that are calls, such as Anthropic's `tool_use` and the Responses API's `function_call`.
    pub fn calls(&self) -> impl Iterator<Item = &str> {
        self.tool_calls().into_iter().filter_map(|call| call.id)
    }

    /// Lists the ids of the tool calls that the message answers: `tool_call_id`, and those of parts
    /// that are results, such as Anthropic's `tool_result` and the Responses API's
    /// `function_call_output`.
    pub fn answers(&self) -> impl Iterator<Item = &str> {
        self.results().into_iter().flatten()
    }

    /// Returns whether a user says something here, which a message of a user that only brings
    /// results does not.
    pub(crate) fn is_from_user(&self) -> bool {
        self.role == Role::User && (!self.text().is_empty() || self.results().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn c7_a_call_in_both_forms_is_one() {
        let message = Message::from_chat(&json!({
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "1", "name": "f", "input": {}},
                {"type": "tool_use", "id": "2", "name": "g", "input": {}},
            ],
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        }));
        assert_eq!(message.unwrap().calls().collect::<Vec<_>>(), ["1", "2"]);
    }
}
