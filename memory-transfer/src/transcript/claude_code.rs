//! Claude Code's transcripts: a line for each message of a session, with what else happened.

use std::collections::{BTreeMap, HashMap, HashSet};

use memquill_core::json::Object;
use memquill_core::{Error, Message, Result};
use serde_json::Value;

use super::draft::{Draft, keep, set_sent_at, take_text, take_time};

/// The conversation of a line: its session; of a line of a subagent, that of the subagent in it.
pub(super) fn conversation_id(line: &Value) -> Option<String> {
    let text = |key: &str| line.get(key).and_then(Value::as_str);
    let session = text("sessionId")?;
    Some(match text("agentId") {
        Some(agent) if is_sidechain(line) => format!("{session}:{agent}"),
        _ if is_sidechain(line) => format!("{session}:sidechain"),
        _ => session.to_owned(),
    })
}

fn is_sidechain(line: &Value) -> bool {
    line.get("isSidechain") == Some(&Value::Bool(true))
}

/// A line that may be a message, or stands between messages.
struct Line {
    parent: Option<String>,
    message: Option<Message>,
    /// The message of the API that it is a part of.
    part_of: Option<String>,
}

/// A session while it is read.
#[derive(Default)]
pub(super) struct Session {
    pub(super) draft: Draft,
    order: Vec<String>,
    lines: HashMap<String, Line>,
    /// Other lines by their type.
    others: BTreeMap<String, u64>,
    repeated: u64,
}

impl Session {
    pub(super) fn add(&mut self, line: Value) -> Result<()> {
        self.draft.digest(&line);
        let Value::Object(mut line) = line else {
            return Err(Error::invalid_input("a line is a JSON object"));
        };
        let kind = take_text(&mut line, "type")?.unwrap_or_default();
        let parent = ["parentUuid", "logicalParentUuid"]
            .iter()
            .find_map(|key| line.get(*key)?.as_str().map(str::to_owned));
        let id = take_text(&mut line, "uuid")?;
        if !matches!(kind.as_str(), "user" | "assistant") {
            if let Some(title) = ["summary", "customTitle", "aiTitle"]
                .iter()
                .find_map(|key| line.get(*key)?.as_str())
            {
                self.draft.title = Some(title.to_owned());
            } else {
                *self.others.entry(kind).or_default() += 1;
            }
            if let Some(id) = id {
                self.lines.insert(id, Line { parent, message: None, part_of: None });
            }
            return Ok(());
        }
        let id = id.ok_or_else(|| Error::invalid_input("the line has no uuid"))?;
        if self.lines.contains_key(&id) {
            self.repeated += 1;
            return Ok(());
        }
        let (message, part_of) = message(&id, line)?;
        message.check()?;
        self.order.push(id.clone());
        self.lines.insert(id, Line { parent, message: Some(message), part_of });
        Ok(())
    }

    /// Keeps the branch that the session ends in.
    pub(super) fn finish(mut self) -> Draft {
        let branch = self.branch();
        for id in std::mem::take(&mut self.order) {
            let Some(message) = self.lines.get_mut(&id).and_then(|line| line.message.take()) else {
                continue;
            };
            if branch.contains(&id) {
                let added = self.draft.push(message);
                self.draft.note(added);
            } else {
                self.draft.other_branches.push(id);
            }
        }
        let mut set_aside = |count: u64, what: &str| {
            if count > 0 {
                self.draft.set_aside.push(format!("{count} {what}"));
            }
        };
        set_aside(self.draft.other_branches.len() as u64, "messages of other branches");
        set_aside(self.repeated, "lines that repeat an earlier one");
        for (kind, count) in self.others {
            set_aside(count, &format!("lines of the type {kind:?}"));
        }
        self.draft
    }

    /// The messages that lead to the last one. Results of parallel calls hang on their calls, each
    /// a branch of its own for the tree, and so does what the API gave in one message.
    fn branch(&self) -> HashSet<String> {
        let mut branch: HashSet<&str> = HashSet::new();
        let mut at = self.order.last().map(String::as_str);
        while let Some(id) = at.filter(|id| branch.insert(id)) {
            at = self.lines.get(id).and_then(|line| line.parent.as_deref());
        }
        let mut calls: HashSet<&str> = HashSet::new();
        let mut parts: HashSet<&str> = HashSet::new();
        for id in &self.order {
            let Some(Line { message: Some(message), part_of, parent }) = self.lines.get(id) else {
                continue;
            };
            let with = parent.as_deref().is_some_and(|parent| branch.contains(parent));
            let mut answers = message.answers().peekable();
            let belongs = branch.contains(id.as_str())
                || (with && part_of.as_deref().is_some_and(|part| parts.contains(part)))
                || (answers.peek().is_some() && answers.all(|call| calls.contains(call)));
            if belongs {
                branch.insert(id);
                calls.extend(message.calls());
                parts.extend(part_of.as_deref());
            }
        }
        branch.into_iter().map(str::to_owned).collect()
    }
}

/// Reads a line's message, and says which message of the API it is a part of.
fn message(id: &str, mut line: Object) -> Result<(Message, Option<String>)> {
    let Some(Value::Object(mut chat)) = line.shift_remove("message") else {
        return Err(Error::invalid_input("the line has no message"));
    };
    let part_of = take_text(&mut chat, "id")?;
    let mut message = Message::from_chat(&Value::Object(chat))?;
    message.id = Some(id.to_owned());
    set_sent_at(&mut message, take_time(&mut line, "timestamp"));
    if let Some(part_of) = &part_of {
        message.metadata.insert("message_id".into(), part_of.as_str().into());
    }
    line.shift_remove("sessionId");
    for (field, value) in line {
        keep(&mut message, field, value);
    }
    Ok((message, part_of))
}
