//! Messages in the common JSON form of chat transcripts (contract, C5).

use serde_json::Value;

use super::{Message, StoredMessage};
use crate::error::{Error, Result};
use crate::json::Object;
use crate::suggest::did_you_mean;

const FIELDS: [&str; 8] =
    ["role", "content", "name", "tool_calls", "tool_call_id", "id", "metadata", "token_count"];

impl Message {
    /// Reads the chat form: `role`, `content` (text or `null`), and, where given, `name`,
    /// `tool_calls`, `tool_call_id`, `id`, `metadata`, `token_count`. Nothing is ignored: any other
    /// field is `InvalidInput`.
    pub fn from_chat(value: &Value) -> Result<Self> {
        let message = Self::read(value)?;
        if !message.tool_calls.iter().all(Value::is_object) {
            return Err(Error::invalid_input("tool_calls is a list of objects"));
        }
        if message.content.is_none() && message.tool_calls.is_empty() {
            return Err(Error::invalid_input("a message needs content or tool calls"));
        }
        Ok(message)
    }

    /// Reads the chat form of any message that can be stored, one that says nothing included.
    fn read(value: &Value) -> Result<Self> {
        let Value::Object(object) = value else {
            return Err(Error::invalid_input("a message is a JSON object")
                .with_hint(r#"write it as {"role": "user", "content": "Hello"}"#));
        };
        if let Some(unknown) = object.keys().find(|key| !FIELDS.contains(&key.as_str())) {
            let hint = did_you_mean(unknown, FIELDS)
                .unwrap_or_else(|| format!("put {unknown:?} into the message's metadata"));
            return Err(
                Error::invalid_input(format!("a message has no field {unknown:?}")).with_hint(hint)
            );
        }
        let role = text(object, "role")?.ok_or_else(|| {
            Error::invalid_input("a message needs a role")
                .with_hint("the roles are system, user, assistant and tool")
        })?;
        let role = role.parse()?;
        let tool_calls = match object.get("tool_calls") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(calls)) => calls.clone(),
            Some(_) => return Err(Error::invalid_input("tool_calls is a list of objects")),
        };
        let content = match object.get("content") {
            Some(Value::Array(_)) => {
                return Err(Error::invalid_input("content is text, not a list of parts")
                    .with_hint("join the text parts, and keep the others in metadata"));
            }
            _ => text(object, "content")?,
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
                Some(_) => return Err(Error::invalid_input("metadata is an object")),
            },
            token_count: match object.get("token_count") {
                None | Some(Value::Null) => None,
                Some(count) => {
                    Some(count.as_u64().and_then(|n| u32::try_from(n).ok()).ok_or_else(|| {
                        Error::invalid_input("token_count is a whole number below 2^32")
                    })?)
                }
            },
        })
    }

    /// Writes the chat form: what [`Message::from_chat`] read comes out unchanged.
    pub fn to_chat(&self) -> Object {
        let mut out = Object::new();
        out.insert("role".into(), self.role.as_str().into());
        out.insert("content".into(), self.content.as_deref().into());
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
        out
    }
}

fn text(object: &Object, key: &str) -> Result<Option<String>> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Error::invalid_input(format!("{key} is text"))),
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
    fn g10_no_field_is_ignored() {
        let error = Message::from_chat(&json!({"role": "user", "contents": "x"})).unwrap_err();
        assert_eq!(error.hint(), Some(r#"did you mean "content"?"#));
        let error = Message::from_chat(&json!({"role": "usr", "content": "x"})).unwrap_err();
        assert_eq!(error.hint(), Some(r#"did you mean "user"?"#));
        assert!(Message::from_chat(&json!({"role": "user", "content": "x", "weight": 1})).is_err());
        assert!(Message::from_chat(&json!({"role": "user"})).is_err());
        assert!(
            Message::from_chat(&json!({"role": "user", "content": [{"type": "text"}]})).is_err()
        );
    }

    #[test]
    fn c3_the_digest_is_of_the_body_without_the_id() {
        let message = Message::user("x");
        assert_eq!(message.body_digest(), message.clone().with_id("1").body_digest());
        assert_ne!(message.body_digest(), message.clone().with_token_count(1).body_digest());
        assert_ne!(message.body_digest(), Message::assistant("x").body_digest());
    }
}
