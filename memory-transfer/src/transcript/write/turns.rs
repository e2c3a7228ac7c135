//! A transcript in turns: what APIs have in common. Every result stands with its call.

use std::collections::HashMap;

use memquill_core::json::Object;
use memquill_core::{Message, Role};
use serde_json::Value;

use super::{kind, text};

/// A piece of what a turn says.
pub(super) enum Piece {
    Part(Value),
    Call(Call),
}

pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    /// JSON text, or JSON.
    pub(super) arguments: Value,
    /// How the message had it.
    pub(super) as_it_was: Value,
}

pub(super) struct Answer {
    pub(super) id: String,
    /// Text or parts.
    pub(super) content: Value,
    /// How the message had it: a tool's message, or a part.
    pub(super) as_it_was: Value,
}

/// A message without the results that it held, and the results of its calls.
pub(super) struct Turn {
    pub(super) role: Role,
    /// The message in the chat form.
    pub(super) chat: Object,
    /// Whether it is still as the message had it.
    pub(super) untouched: bool,
    pub(super) pieces: Vec<Piece>,
    pub(super) answers: Vec<Answer>,
}

impl Turn {
    pub(super) fn calls(&self) -> impl Iterator<Item = &Call> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Call(call) => Some(call),
            Piece::Part(_) => None,
        })
    }
}

/// Divides messages into turns, and notes what has no place in them.
pub(super) fn of(messages: &[Message], left_out: &mut Vec<String>) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    // The turn that makes a call of an id that has no result yet.
    let mut open: HashMap<String, usize> = HashMap::new();
    for (at, message) in messages.iter().enumerate() {
        let number = at + 1;
        let (turn, answers) = split(message, at);
        for answer in answers {
            // A result that names no call is that of the last one.
            let id = match answer.id {
                Some(id) => Some(id),
                None => last_open(&turns, &open),
            };
            let Some((id, turn)) = id.and_then(|id| open.remove_entry(&id)) else {
                left_out.push(format!("message {number}: a result without its call"));
                continue;
            };
            let Raw { content, as_it_was, .. } = answer;
            turns[turn].answers.push(Answer { id, content, as_it_was });
        }
        let Some(mut turn) = turn else { continue };
        // Calls that were made one after the other, before any result, are one turn.
        let parallel = turns.last().is_some_and(|last| {
            let calls = last.calls().next().is_some();
            calls && last.answers.is_empty() && last.role == Role::Assistant
        });
        if parallel && turn.role == Role::Assistant && turn.calls().next().is_some() {
            let index = turns.len() - 1;
            open.extend(turn.calls().map(|call| (call.id.clone(), index)));
            turns[index].untouched = false;
            turns[index].pieces.append(&mut turn.pieces);
            continue;
        }
        open.extend(turn.calls().map(|call| (call.id.clone(), turns.len())));
        turns.push(turn);
    }
    drop_unanswered(&mut turns, &open, left_out);
    turns
}

fn last_open(turns: &[Turn], open: &HashMap<String, usize>) -> Option<String> {
    let turn = *open.values().max()?;
    turns[turn].calls().map(|call| &call.id).find(|id| open.contains_key(*id)).cloned()
}

/// Leaves out calls that have no result, unless they are what the transcript ends with.
fn drop_unanswered(
    turns: &mut Vec<Turn>,
    open: &HashMap<String, usize>,
    left_out: &mut Vec<String>,
) {
    let last = turns.len().saturating_sub(1);
    for (at, turn) in turns.iter_mut().enumerate() {
        let is_open = |call: &Call| open.get(&call.id) == Some(&at);
        if at == last && turn.answers.is_empty() || !turn.calls().any(is_open) {
            continue;
        }
        for call in turn.calls().filter(|call| is_open(call)) {
            left_out.push(format!("the call {:?} of {}, which has no result", call.id, call.name));
        }
        turn.untouched = false;
        turn.pieces.retain(|piece| !matches!(piece, Piece::Call(call) if is_open(call)));
    }
    turns.retain(|turn| turn.untouched || !turn.pieces.is_empty());
}

/// A result on its way to its call.
struct Raw {
    id: Option<String>,
    content: Value,
    as_it_was: Value,
}

/// Divides a message into what it says and the results that it holds.
fn split(message: &Message, at: usize) -> (Option<Turn>, Vec<Raw>) {
    let chat = message.to_chat();
    if message.role == Role::Tool {
        let id = message.answers().next().map(str::to_owned);
        let content = match message.parts() {
            Some([part]) if kind(part).ends_with("_output") => {
                part.get("output").cloned().unwrap_or_default()
            }
            Some(parts) => parts.to_vec().into(),
            None => message.text().into(),
        };
        return (None, vec![Raw { id, content, as_it_was: Value::Object(chat) }]);
    }
    let (mut pieces, mut answers) = (Vec::new(), Vec::new());
    match message.parts() {
        Some(parts) => {
            for part in parts {
                match kind(part) {
                    "tool_result" | "tool-result" | "function_call_output" => answers.push(Raw {
                        id: text(part, &["tool_use_id", "toolCallId", "call_id"])
                            .map(str::to_owned),
                        content: ["content", "output", "result"]
                            .iter()
                            .find_map(|key| part.get(*key))
                            .cloned()
                            .unwrap_or_default(),
                        as_it_was: part.clone(),
                    }),
                    _ => pieces
                        .push(call(part).map_or_else(|| Piece::Part(part.clone()), Piece::Call)),
                }
            }
        }
        None if message.text().is_empty() => {}
        None => {
            pieces.push(Piece::Part(serde_json::json!({"type": "text", "text": message.text()})));
        }
    }
    // LangChain's dumps have the calls of Anthropic's models in both places.
    for listed in message.tool_calls.iter().filter_map(listed_call) {
        let known = |piece: &Piece| matches!(piece, Piece::Call(call) if call.id == listed.id);
        if !pieces.iter().any(known) {
            pieces.push(Piece::Call(listed));
        }
    }
    if let Some(legacy @ Value::Object(function)) = message.extra.get("function_call") {
        pieces.push(Piece::Call(Call {
            id: format!("call_{at}"),
            name: text(legacy, &["name"]).unwrap_or_default().to_owned(),
            arguments: function.get("arguments").cloned().unwrap_or_default(),
            as_it_was: legacy.clone(),
        }));
    }
    let only_results = pieces.is_empty() && !answers.is_empty();
    let untouched = answers.is_empty();
    let turn = Turn { role: message.role, chat, untouched, pieces, answers: Vec::new() };
    ((!only_results).then_some(turn), answers)
}

/// A part that is a call.
fn call(part: &Value) -> Option<Call> {
    if !matches!(kind(part), "tool_use" | "tool_call" | "tool-call" | "function_call") {
        return None;
    }
    Some(Call {
        id: text(part, &["call_id", "toolCallId", "id"])?.to_owned(),
        name: text(part, &["name", "toolName"])?.to_owned(),
        arguments: ["input", "arguments", "args"].iter().find_map(|key| part.get(*key))?.clone(),
        as_it_was: part.clone(),
    })
}

/// A call in `tool_calls`: a function, or a custom tool whose input is text.
fn listed_call(call: &Value) -> Option<Call> {
    let inner = call.get("function").or_else(|| call.get("custom"))?;
    Some(Call {
        id: text(call, &["id"])?.to_owned(),
        name: text(inner, &["name"])?.to_owned(),
        arguments: inner.get("arguments").or_else(|| inner.get("input"))?.clone(),
        as_it_was: call.clone(),
    })
}
