//! ChatGPT's account export: conversations as trees of messages, of which the branch that was
//! shown last is the conversation.

use std::collections::HashSet;

use memquill_core::json::Object;
use memquill_core::{Error, Message, Result, Role};
use serde_json::{Value, json};

use super::draft::{Draft, sent_at, set_sent_at, take_text};

/// Reads a conversation of the export.
pub(super) fn conversation(mut object: Object) -> Result<Draft> {
    let mut draft = Draft::default();
    for key in ["conversation_id", "id"] {
        let id = take_text(&mut object, key)?;
        draft.id = draft.id.or(id);
    }
    draft.title = take_text(&mut object, "title")?;
    let current = take_text(&mut object, "current_node")?;
    let Some(Value::Object(mut mapping)) = object.shift_remove("mapping") else {
        return Err(Error::invalid_input("the conversation has no mapping"));
    };
    draft
        .not_kept
        .extend(object.into_iter().filter(|(_, v)| says_something(v)).map(|(key, _)| key));
    let branch = branch(&mapping, current)?;
    let nodes: Vec<(String, Object)> = branch
        .into_iter()
        .filter_map(|id| {
            let Some(Value::Object(mut node)) = mapping.shift_remove(&id) else { return None };
            match node.shift_remove("message")? {
                Value::Object(message) => Some((id, message)),
                _ => None,
            }
        })
        .collect();
    add(&mut draft, nodes);
    draft.other_branches = mapping
        .into_iter()
        .filter(|(_, node)| node.get("message").is_some_and(says))
        .map(|(id, _)| id)
        .collect();
    if !draft.other_branches.is_empty() {
        draft.set_aside.push(format!("{} messages of other branches", draft.other_branches.len()));
    }
    Ok(draft)
}

/// The nodes from the root to the one that was shown last.
fn branch(mapping: &Object, current: Option<String>) -> Result<Vec<String>> {
    let leaf = || {
        let is_leaf = |node: &&Value| {
            node.get("children").and_then(Value::as_array).is_none_or(Vec::is_empty)
        };
        let last = mapping.iter().rev().find(|(_, node)| is_leaf(node))?;
        Some(last.0.clone())
    };
    let mut at = current.or_else(leaf);
    let (mut branch, mut seen) = (Vec::new(), HashSet::new());
    while let Some(id) = at {
        let Some(node) = mapping.get(&id) else {
            return Err(Error::invalid_input(format!("mapping has no node {id:?}")));
        };
        if !seen.insert(id.clone()) {
            return Err(Error::invalid_input(format!("the node {id:?} is its own ancestor")));
        }
        at = node.get("parent").and_then(Value::as_str).map(str::to_owned);
        branch.push(id);
    }
    branch.reverse();
    Ok(branch)
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

/// Whether a message of the export has content.
fn says(message: &Value) -> bool {
    message.get("content").and_then(Value::as_object).is_some_and(|content| {
        let mut said = content.iter().filter(|(key, _)| {
            !matches!(key.as_str(), "content_type" | "language" | "response_format_name")
        });
        said.any(|(_, value)| match value {
            Value::Array(parts) => parts.iter().any(says_something),
            value => says_something(value),
        })
    })
}

fn role(message: &Object) -> &str {
    message
        .get("author")
        .and_then(|author| author.get("role"))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn recipient(message: &Object) -> Option<&str> {
    message.get("recipient").and_then(Value::as_str).filter(|to| *to != "all" && !to.is_empty())
}

/// Adds the messages of the branch. What the model says to a tool that answers is a call.
fn add(draft: &mut Draft, nodes: Vec<(String, Object)>) {
    let nodes: Vec<_> =
        nodes.into_iter().filter(|(_, m)| says(&json!({"content": m.get("content")}))).collect();
    let mut nodes = nodes.into_iter().enumerate().peekable();
    let mut call: Option<String> = None;
    while let Some((at, (id, message))) = nodes.next() {
        draft.digest(&Value::from(id.as_str()));
        let is_call = role(&message) == "assistant"
            && recipient(&message).is_some()
            && nodes.peek().is_some_and(|(_, (_, next))| role(next) == "tool");
        let answers = if role(&message) == "tool" { call.take() } else { None };
        let added = read(draft, &id, message, is_call)
            .and_then(|read| draft.push(Message { tool_call_id: answers, ..read }));
        match added {
            Ok(()) => call = is_call.then_some(id).or(call),
            Err(error) => {
                draft.leave_out(error.at(format_args!("message {} (mapping.{id})", at + 1)));
            }
        }
    }
}

fn read(draft: &mut Draft, id: &str, mut message: Object, is_call: bool) -> Result<Message> {
    let role = match role(&message) {
        "" => return Err(Error::invalid_input("the message has no author")),
        role => role.parse::<Role>()?,
    };
    let Some(Value::Object(content)) = message.shift_remove("content") else {
        return Err(Error::invalid_input("the message has no content"));
    };
    let recipient = recipient(&message).map(str::to_owned);
    let kind = content.get("content_type").and_then(Value::as_str).unwrap_or("text").to_owned();
    let mut read = match (is_call, &recipient) {
        (true, Some(tool)) => call(id, tool, content),
        _ => said(role, &kind, content)?,
    };
    read.id = Some(id.to_owned());
    set_sent_at(&mut read, message.get("create_time").and_then(sent_at));
    let mut note = |key: &str, value: Value| {
        read.metadata.insert(key.to_owned(), value);
    };
    if kind != "text" {
        note("content_type", kind.into());
    }
    if let Some(tool) = recipient.filter(|_| !is_call) {
        note("recipient", tool.into());
    }
    if role == Role::Tool
        && let Some(name) = message.get("author").and_then(|author| author.get("name"))
        && name.is_string()
    {
        note("tool", name.clone());
    }
    if let Some(Value::Object(mut metadata)) = message.shift_remove("metadata") {
        if metadata.shift_remove("is_visually_hidden_from_conversation") == Some(Value::Bool(true))
        {
            note("hidden", true.into());
        }
        if let Some(model) = metadata.shift_remove("model_slug").filter(Value::is_string) {
            note("model", model);
        }
        if let Some(files) = metadata.shift_remove("attachments").filter(says_something) {
            note("attachments", files);
        }
        let others = metadata.iter().filter(|(_, value)| says_something(value));
        draft.not_kept.extend(others.map(|(key, _)| format!("metadata.{key}")));
    }
    Ok(read)
}

/// A message to a tool: its text are the arguments, as JSON where it is none by itself.
fn call(id: &str, tool: &str, content: Object) -> Message {
    let text = texts(&content).unwrap_or_else(|| Value::Object(content).to_string());
    let is_json = serde_json::from_str::<Object>(&text).is_ok();
    let arguments = if is_json { text } else { json!({"input": text}).to_string() };
    Message {
        content: None,
        tool_calls: vec![json!({"id": id, "type": "function",
                                "function": {"name": tool, "arguments": arguments}})],
        ..Message::assistant("")
    }
}

/// The text of content that is text alone.
fn texts(content: &Object) -> Option<String> {
    if let Some(parts) = content.get("parts").and_then(Value::as_array) {
        let texts: Option<Vec<&str>> = parts.iter().map(Value::as_str).collect();
        return texts.map(|texts| texts.join("\n"));
    }
    let texts: Vec<&str> = ["text", "result", "content", "user_profile", "user_instructions"]
        .iter()
        .filter_map(|key| content.get(*key)?.as_str().filter(|text| !text.is_empty()))
        .collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

fn said(role: Role, kind: &str, mut content: Object) -> Result<Message> {
    if kind == "thoughts" {
        let thoughts = content.shift_remove("thoughts").unwrap_or_default();
        let text = |thought: &Value| thought.get("content")?.as_str().map(str::to_owned);
        let said: Vec<String> =
            thoughts.as_array().into_iter().flatten().filter_map(text).collect();
        let part = json!({"type": "reasoning", "text": said.join("\n"), "thoughts": thoughts});
        return Message::from_parts(role, vec![part]);
    }
    // What a person set for all chats instructs the model, whoever the export says it is from.
    let role = if kind == "user_editable_context" { Role::System } else { role };
    if let Some(text) = texts(&content) {
        return Ok(Message::new(role, text));
    }
    let parts = match content.shift_remove("parts") {
        Some(Value::Array(parts)) => parts.into_iter().filter_map(part).collect(),
        _ => vec![typed(kind, content)],
    };
    Message::from_parts(role, parts)
}

fn part(part: Value) -> Option<Value> {
    match part {
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(json!({"type": "text", "text": text})),
        Value::Object(mut part) => {
            let kind = part.shift_remove("content_type");
            let kind = kind.as_ref().and_then(Value::as_str).unwrap_or("part").to_owned();
            // What was said aloud is text.
            if kind == "audio_transcription" && part.get("text").is_some_and(Value::is_string) {
                return Some(json!({"type": "text", "text": part["text"]}));
            }
            Some(typed(&kind, part))
        }
        Value::Null => None,
        other => Some(json!({"type": "part", "value": other})),
    }
}

fn typed(kind: &str, fields: Object) -> Value {
    let mut part = Object::from_iter([("type".to_owned(), Value::from(kind))]);
    part.extend(fields.into_iter().filter(|(key, _)| key != "content_type" && key != "type"));
    Value::Object(part)
}
