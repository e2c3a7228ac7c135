//! The units that a window takes whole or not at all.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::conversation::{Message, Role, StoredMessage};

/// A message, or a message with tool calls and their results.
#[derive(Debug)]
struct Unit<'a> {
    role: Role,
    is_call: bool,
    /// The indices of its messages, ascending; the first is the call.
    members: Vec<usize>,
    /// The ids of the calls that have no result yet; none for a call without an id.
    unanswered: HashSet<Option<&'a str>>,
    /// The unit of the user's message that it serves: its own, or the nearest before it.
    request: Option<usize>,
}

impl<'a> Unit<'a> {
    /// Adds a result, which answers all calls where it names none.
    fn answer(&mut self, at: usize, id: Option<&'a str>) {
        self.members.push(at);
        match id {
            Some(_) => {
                self.unanswered.remove(&id);
            }
            None => self.unanswered.clear(),
        }
    }
}

/// The units of a conversation, ascending by their first message.
#[derive(Debug)]
pub(super) struct Units<'a> {
    all: Vec<Unit<'a>>,
    /// The unit of each message; none for a result without its call and for what is not looked at.
    of_message: Vec<Option<usize>>,
    /// The newest message that is looked at.
    newest: Option<usize>,
    /// The newest result whose call is not there.
    orphan: Option<usize>,
}

/// The results that may still come for the calls of one id in one message.
struct Awaited {
    unit: usize,
    results: usize,
}

impl<'a> Units<'a> {
    /// Divides `messages`; without `include_system`, system messages are not looked at.
    ///
    /// A result that names a call belongs to the nearest message before it that makes a call of that
    /// id, unless that has its results already. A result that names none answers all calls of the
    /// nearest message before it that makes any.
    pub(super) fn of(messages: &'a [StoredMessage], include_system: bool) -> Self {
        let mut units: Vec<Unit<'_>> = Vec::new();
        let mut of_message = Vec::with_capacity(messages.len());
        let mut awaited: HashMap<&str, Awaited> = HashMap::new();
        let (mut newest, mut orphan, mut request, mut last_call) = (None, None, None, None);
        for (at, stored) in messages.iter().enumerate() {
            let message = &stored.message;
            if message.role == Role::System && !include_system {
                of_message.push(None);
                continue;
            }
            newest = Some(at);
            if message.role == Role::Tool {
                let id = message.tool_call_id.as_deref();
                let unit = match id {
                    Some(id) => awaited.get_mut(id).filter(|call| call.results > 0).map(|call| {
                        call.results -= 1;
                        call.unit
                    }),
                    None => last_call,
                };
                match unit {
                    Some(unit) => units[unit].answer(at, id),
                    None => orphan = Some(at),
                }
                of_message.push(unit);
                continue;
            }
            let unit = units.len();
            if message.role == Role::User {
                request = Some(unit);
            }
            let calls = calls(message);
            for id in calls.iter().copied().flatten() {
                match awaited.entry(id) {
                    Entry::Occupied(mut call) if call.get().unit == unit => {
                        call.get_mut().results += 1;
                    }
                    call => {
                        call.insert_entry(Awaited { unit, results: 1 });
                    }
                }
            }
            if !calls.is_empty() {
                last_call = Some(unit);
            }
            units.push(Unit {
                role: message.role,
                is_call: !calls.is_empty(),
                members: vec![at],
                unanswered: calls.into_iter().collect(),
                request,
            });
            of_message.push(Some(unit));
        }
        // The results of the newest message may be on their way.
        if let Some(unit) = newest.and_then(|newest| of_message[newest])
            && units[unit].members.len() == 1
        {
            units[unit].unanswered.clear();
        }
        Self { all: units, of_message, newest, orphan }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Lists units by their newest message, the newest first; one of several messages repeats.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = usize> + use<> {
        self.of_message.iter().rev().copied().flatten().collect::<Vec<_>>().into_iter()
    }

    pub(super) fn members(&self, unit: usize) -> &[usize] {
        &self.all[unit].members
    }

    pub(super) fn role(&self, unit: usize) -> Role {
        self.all[unit].role
    }

    pub(super) fn is_system(&self, unit: usize) -> bool {
        self.role(unit) == Role::System
    }

    pub(super) fn is_call(&self, unit: usize) -> bool {
        self.all[unit].is_call
    }

    /// Whether every call of the unit has its result.
    pub(super) fn is_complete(&self, unit: usize) -> bool {
        self.all[unit].unanswered.is_empty()
    }

    /// The unit of the user's message that a unit serves, which may be itself.
    pub(super) fn request(&self, unit: usize) -> Option<usize> {
        self.all[unit].request
    }

    pub(super) fn newest(&self) -> Option<usize> {
        self.newest
    }

    /// Whether a result without its call is newer than all of a unit.
    pub(super) fn has_orphan_after(&self, unit: usize) -> bool {
        self.orphan.as_ref() > self.members(unit).last()
    }
}

/// The ids of a message's tool calls; instructions call nothing.
fn calls(message: &Message) -> Vec<Option<&str>> {
    if message.role == Role::System {
        return Vec::new();
    }
    message.tool_calls.iter().map(|call| call.get("id").and_then(Value::as_str)).collect()
}
