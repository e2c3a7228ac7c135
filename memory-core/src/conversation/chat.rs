//! Messages in the common JSON form of chat transcripts (contract, C5).

use serde_json::Value;

use super::{Message, Role, StoredMessage, parts};
use crate::error::{Error, Result};
use crate::json::Object;

const FIELDS: [&str; 8] =
    ["role", "content", "name", "tool_calls", "tool_call_id", "id", "metadata", "token_count"];

impl Message {
    /// Reads the chat form: `role`, `content` (text, `null` or a list of parts), and, where given,
    /// `name`, `tool_calls`, `tool_call_id`, `id`, `metadata`, `token_count`. Nothing is ignored:
    /// every other field is kept in [`extra`](Self::extra) and written again, except that one whose
    /// name is a slip of one of these is `InvalidInput`.
    pub fn from_chat(value: &Value) -> Result<Self> {
        let message = Self::read(value)?;
        if !message.tool_calls.iter().all(Value::is_object) {
            return Err(Error::invalid_input("tool_calls is not a list of objects"));
        }
        if message.content.is_none() && message.tool_calls.is_empty() && !message.says_more() {
            return Err(Error::invalid_input("the message has neither content nor tool calls")
                .with_hint(r#"write it as {"role": "user", "content": "Hello"}"#));
        }
        Ok(message)
    }

    /// Whether a field outside the common form says something, as `refusal` or `function_call` do.
    pub(crate) fn says_more(&self) -> bool {
        self.parts().is_some_and(|parts| !parts.is_empty())
            || self
                .extra
                .iter()
                .any(|(field, value)| !FIELDS.contains(&field.as_str()) && !is_nothing(value))
    }

    /// Reads the chat form of any message that can be stored, one that says nothing included.
    fn read(value: &Value) -> Result<Self> {
        let Value::Object(object) = value else {
            return Err(Error::invalid_input("a message is a JSON object")
                .with_hint(r#"write it as {"role": "user", "content": "Hello"}"#));
        };
        let mut extra = Object::new();
        for (field, value) in object {
            if !FIELDS.contains(&field.as_str()) {
                if let Some(meant) = slip_of(field) {
                    return Err(Error::invalid_input(format!("a message has no field {field:?}"))
                        .with_hint(format!("did you mean {meant:?}?")));
                }
                extra.insert(field.clone(), value.clone());
            } else if is_nothing(value) && field != "content" {
                extra.insert(field.clone(), value.clone());
            }
        }
        let name = text(object, "role")?.ok_or_else(|| {
            Error::invalid_input("the message has no role")
                .with_hint("the roles are system, user, assistant and tool")
        })?;
        let role: Role = name.parse()?;
        if name != role.as_str() {
            extra.insert("role".into(), name.into());
        }
        let tool_calls = match object.get("tool_calls") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(calls)) => calls.clone(),
            Some(_) => return Err(Error::invalid_input("tool_calls is not a list of objects")),
        };
        let content = match object.get("content") {
            Some(Value::Array(content)) => {
                parts::check(content)?;
                extra.insert("content".into(), content.clone().into());
                parts::text(content)
            }
            None => {
                extra.insert("content".into(), Value::Null);
                None
            }
            Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => {
                return Err(Error::invalid_input("content is neither text nor a list of parts")
                    .with_hint("write it as text, or as a list of {\"type\": …} objects"));
            }
        };
        Ok(Self {
            id: text(object, "id")?,
            role,
            content,
            name: text(object, "name")?,
            tool_calls,
            tool_call_id: text(object, "tool_call_id")?,
            metadata: match object.get("metadata") {
                None | Some(Value::Null) => Object::new(),
                Some(Value::Object(metadata)) => metadata.clone(),
                Some(_) => return Err(Error::invalid_input("metadata is not an object")),
            },
            token_count: match object.get("token_count") {
                None | Some(Value::Null) => None,
                Some(count) => {
                    Some(count.as_u64().and_then(|n| u32::try_from(n).ok()).ok_or_else(|| {
                        Error::invalid_input("token_count is not a whole number below 2^32")
                    })?)
                }
            },
            extra,
        })
    }

    /// Writes the chat form: what [`Message::from_chat`] read comes out unchanged.
    pub fn to_chat(&self) -> Object {
        let mut out = Object::new();
        out.insert("role".into(), self.role_name().into());
        match self.extra.get("content") {
            Some(Value::Array(parts)) => {
                out.insert("content".into(), parts.clone().into());
            }
            // The field was not there; content that was given since is written all the same.
            Some(Value::Null) if self.content.is_none() => {}
            _ => {
                out.insert("content".into(), self.content.as_deref().into());
            }
        }
        let mut text = |key: &str, value: &Option<String>| {
            if let Some(value) = value {
                out.insert(key.into(), value.as_str().into());
            }
        };
        text("name", &self.name);
        text("tool_call_id", &self.tool_call_id);
        text("id", &self.id);
        if !self.tool_calls.is_empty() {
            out.insert("tool_calls".into(), self.tool_calls.clone().into());
        }
        if !self.metadata.is_empty() {
            out.insert("metadata".into(), self.metadata.clone().into());
        }
        if let Some(count) = self.token_count {
            out.insert("token_count".into(), count.into());
        }
        for (field, value) in &self.extra {
            if field != "content" && !out.contains_key(field) {
                out.insert(field.clone(), value.clone());
            }
        }
        out
    }

    /// The role's name in the chat form, which may be `developer` or `function`.
    pub fn role_name(&self) -> &str {
        match self.extra.get("role") {
            Some(Value::String(name)) if name.parse().ok() == Some(self.role) => name,
            _ => self.role.as_str(),
        }
    }
}

/// The field of the common form that `field` is a slip of: one letter away, two in a long name.
fn slip_of(field: &str) -> Option<&'static str> {
    let field = field.to_lowercase();
    FIELDS
        .into_iter()
        .filter(|known| known.len() > 3)
        .find(|known| strsim::osa_distance(&field, known) <= if known.len() < 8 { 1 } else { 2 })
}

/// Whether a JSON value says nothing: `null`, `[]` or `{}`.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn text(object: &Object, key: &str) -> Result<Option<String>> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Error::invalid_input(format!("{key} is not text"))),
    }
}

impl TryFrom<Value> for Message {
    type Error = Error;

    fn try_from(value: Value) -> Result<Self> {
        Self::read(&value)
    }
}

impl From<Message> for Value {
    fn from(message: Message) -> Self {
        Self::Object(message.to_chat())
    }
}

impl StoredMessage {
    /// The chat form with `seq` and `created_at` in front.
    pub fn to_json(&self) -> Value {
        let mut out = Object::new();
        out.insert("seq".into(), self.seq.into());
        out.insert("created_at".into(), self.created_at.to_string().into());
        out.append(&mut self.message.to_chat());
        Value::Object(out)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn c11_what_was_stored_is_read_back_whatever_it_says() {
        for chat in [
            json!({"role": "assistant", "content": null}),
            json!({"role": "assistant", "content": null, "tool_calls": ["f()"]}),
        ] {
            Message::from_chat(&chat).unwrap_err();
            let message: Message = serde_json::from_value(chat.clone()).unwrap();
            assert_eq!(Value::from(message), chat);
        }
    }

    #[test]
    fn c5_a_transcript_comes_out_unchanged() {
        for chat in [
            json!({"role": "system", "content": "Be brief."}),
            json!({"role": "assistant", "content": null, "tool_calls": [
                {"id": "call_0", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}),
            json!({"role": "tool", "content": "", "name": "f", "tool_call_id": "call_0"}),
            json!({"role": "user", "content": "x", "id": "1", "metadata": {"a": [1, 1.0, null]},
                   "token_count": 3}),
        ] {
            let message = Message::from_chat(&chat).unwrap();
            assert_eq!(Value::from(message), chat);
        }
    }

    #[test]
    fn c5_what_clients_dump_comes_out_unchanged() {
        for chat in [
            // As today's SDKs dump an answer, and as older ones did.
            json!({"role": "assistant", "content": "Hi", "refusal": null, "annotations": [],
                   "audio": null, "function_call": null, "tool_calls": null}),
            json!({"role": "assistant", "content": "Hi", "tool_calls": []}),
            json!({"role": "assistant", "content": null, "refusal": "I can't help with that."}),
            json!({"role": "assistant", "tool_calls": [{"id": "c", "type": "function"}]}),
            json!({"role": "assistant", "content": null,
                   "function_call": {"name": "f", "arguments": "{}"}}),
            json!({"role": "function", "name": "f", "content": "42"}),
            json!({"role": "developer", "content": "Be brief."}),
            json!({"role": "assistant", "content": "x", "weight": 0, "reasoning_content": "y"}),
            json!({"role": "user", "content": "x", "metadata": {}, "name": null, "id": null}),
            json!({"role": "user", "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}]}),
            json!({"role": "assistant", "content": [
                {"type": "thinking", "thinking": "…", "signature": "s"},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}]}),
            json!({"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "42"}]}]}),
        ] {
            let message = Message::from_chat(&chat).unwrap();
            message.check_extra().unwrap();
            assert_eq!(Value::from(message.clone()), chat);
            let again: Message = serde_json::from_value(chat.clone()).unwrap();
            assert_eq!(again, message);
        }
    }

    #[test]
    fn c5_text_tokens_and_calls_are_found_in_parts() {
        let read = |chat| Message::from_chat(&chat).unwrap();
        let asked = read(json!({"role": "user", "content": [
            {"type": "text", "text": "What is"}, {"type": "image", "source": {}},
            {"type": "text", "text": "this?"}]}));
        assert_eq!(asked.text(), "What is\nthis?");
        assert_eq!(asked.tokens(), Message::user("What is\nthis?").tokens() + 765);
        let declared = json!({"role": "user", "content": [{"type": "image", "token_count": 85}]});
        assert_eq!(read(declared).tokens(), 4 + 85);
        let calls = read(json!({"role": "assistant", "content": [
            {"type": "tool_use", "id": "a", "name": "f", "input": {}}],
            "tool_calls": [{"id": "b"}]}));
        assert_eq!(calls.calls().collect::<Vec<_>>(), ["b", "a"]);
        let results = read(json!({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": "42"}]}));
        assert_eq!(results.answers().collect::<Vec<_>>(), ["a"]);
        assert_eq!(read(json!({"role": "developer", "content": "x"})).role, Role::System);
        assert_eq!(read(json!({"role": "function", "content": "x"})).role, Role::Tool);
    }

    #[test]
    fn c5_text_that_differs_from_its_parts_is_refused() {
        let part = json!({"type": "text", "text": "x"});
        let mut message = Message::from_parts(Role::User, vec![part]).unwrap();
        message.check_extra().unwrap();
        message.content = Some("y".into());
        message.check_extra().unwrap_err();
    }

    #[test]
    fn g10_no_field_is_ignored() {
        let error = Message::from_chat(&json!({"role": "user", "contents": "x"})).unwrap_err();
        assert_eq!(error.hint(), Some(r#"did you mean "content"?"#));
        let error = Message::from_chat(&json!({"role": "usr", "content": "x"})).unwrap_err();
        assert_eq!(error.hint(), Some(r#"did you mean "user"?"#));
        assert!(Message::from_chat(&json!({"role": "user"})).is_err());
        for slip in ["tool_cals", "toolcalls", "Content", "metdata", "roles"] {
            let chat = json!({"role": "user", "content": "x", slip: "y"});
            assert!(Message::from_chat(&chat).is_err(), "{slip}");
        }
        let parts =
            json!({"role": "user", "content": [{"type": "text", "text": "x"}, {"text": "y"}]});
        let error = Message::from_chat(&parts).unwrap_err();
        assert!(error.message().contains("part 2"), "{error}");
    }

    #[test]
    fn c3_the_digest_is_of_the_body_without_the_id() {
        let message = Message::user("x");
        assert_eq!(message.body_digest(), message.clone().with_id("1").body_digest());
        assert_ne!(message.body_digest(), message.clone().with_token_count(1).body_digest());
        assert_ne!(message.body_digest(), Message::assistant("x").body_digest());
    }
}
