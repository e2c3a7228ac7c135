//! The units that a window takes whole or not at all.

use std::collections::{HashMap, HashSet};

use crate::conversation::{Message, Role, StoredMessage};

/// A message, or a message with tool calls and their results.
#[derive(Debug)]
struct Unit<'a> {
    role: Role,
    is_call: bool,
    /// The indices of its messages, ascending; the first is the call. Empty once it is a part of
    /// another unit.
    members: Vec<usize>,
    /// The ids of the calls that have no result yet; none for a call without an id.
    unanswered: HashSet<Option<&'a str>>,
    /// The unit of the user's message that it serves: its own, or the nearest before it.
    request: Option<usize>,
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

/// The units of the messages seen so far.
#[derive(Default)]
struct Builder<'a> {
    all: Vec<Unit<'a>>,
    /// The unit that each unit became a part of; its own index where it stands for itself.
    part_of: Vec<usize>,
    awaited: HashMap<&'a str, Awaited>,
    /// The unit of the newest message with calls.
    last_call: Option<usize>,
    /// The unit of the newest message of a user.
    request: Option<usize>,
}

impl<'a> Builder<'a> {
    /// Adds a message and returns its unit; none for one with a result whose call is not there.
    fn add(&mut self, at: usize, message: &'a Message) -> Option<usize> {
        let mut own: HashMap<Option<&str>, usize> = HashMap::new();
        for call in message.tool_calls() {
            *own.entry(call.id).or_default() += 1;
        }
        let results = message.results();
        let others = results.iter().copied().filter(|result| !own.contains_key(result));
        let answered = self.answered(others)?;
        let unit = match answered.iter().copied().min() {
            Some(first) => {
                for other in answered {
                    self.merge(first, other);
                }
                self.all[first].members.push(at);
                first
            }
            None => self.begin(at, message.role),
        };
        if message.is_from_user() {
            self.request = Some(unit);
            if self.all[unit].members.len() == 1 {
                self.all[unit].request = Some(unit);
            }
        }
        if !own.is_empty() {
            self.all[unit].is_call = true;
            self.last_call = Some(unit);
        }
        for (id, count) in own {
            self.all[unit].unanswered.insert(id);
            if let Some(id) = id {
                self.awaited.insert(id, Awaited { unit, results: count });
            }
        }
        for id in results {
            if let Some(call) = id.and_then(|id| self.awaited.get_mut(id)) {
                call.results = call.results.saturating_sub(1);
            }
            let unanswered = &mut self.all[unit].unanswered;
            match id {
                Some(_) => {
                    unanswered.remove(&id);
                }
                // A result that names no call answers all.
                None => unanswered.clear(),
            }
        }
        Some(unit)
    }

    /// Finds the units whose calls are answered; none where one of the results has no call.
    fn answered(&self, mut results: impl Iterator<Item = Option<&'a str>>) -> Option<Vec<usize>> {
        results.try_fold(Vec::new(), |mut units, result| {
            let unit = match result {
                Some(id) => self.awaited.get(id).filter(|call| call.results > 0)?.unit,
                None => self.last_call?,
            };
            units.push(self.whole(unit));
            Some(units)
        })
    }

    fn begin(&mut self, at: usize, role: Role) -> usize {
        let unit = self.all.len();
        self.all.push(Unit {
            role,
            is_call: false,
            members: vec![at],
            unanswered: HashSet::new(),
            request: self.request,
        });
        self.part_of.push(unit);
        unit
    }

    /// Makes one unit of two, since a message has results for the calls of both.
    fn merge(&mut self, into: usize, from: usize) {
        if into != from && self.part_of[from] == from {
            self.part_of[from] = into;
            let members = std::mem::take(&mut self.all[from].members);
            self.all[into].members.extend(members);
            self.all[into].members.sort_unstable();
            let unanswered = std::mem::take(&mut self.all[from].unanswered);
            self.all[into].unanswered.extend(unanswered);
        }
    }

    /// Returns the unit that `unit` is, or became a part of.
    fn whole(&self, mut unit: usize) -> usize {
        while self.part_of[unit] != unit {
            unit = self.part_of[unit];
        }
        unit
    }
}

impl<'a> Units<'a> {
    /// Divides `messages`; without `include_system`, system messages are not looked at.
    ///
    /// A result that names a call belongs to the nearest message before it that makes a call of that
    /// id, unless that has its results already. A result that names none answers all calls of the
    /// nearest message before it that makes any. A message may hold several results.
    pub(super) fn of(messages: &'a [StoredMessage], include_system: bool) -> Self {
        let mut builder = Builder::default();
        let mut of_message = Vec::with_capacity(messages.len());
        let (mut newest, mut orphan) = (None, None);
        for (at, stored) in messages.iter().enumerate() {
            let message = &stored.message;
            if message.role == Role::System && !include_system {
                of_message.push(None);
                continue;
            }
            newest = Some(at);
            let unit = builder.add(at, message);
            if unit.is_none() {
                orphan = Some(at);
            }
            of_message.push(unit);
        }
        for unit in of_message.iter_mut().flatten() {
            *unit = builder.whole(*unit);
        }
        for unit in 0..builder.all.len() {
            builder.all[unit].request = builder.all[unit].request.map(|of| builder.whole(of));
        }
        let Builder { all: mut units, .. } = builder;
        // The results of the newest message may be on their way.
        if let Some(at) = newest
            && let Some(unit) = of_message[at]
        {
            for call in messages[at].message.tool_calls() {
                units[unit].unanswered.remove(&call.id);
            }
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

    /// Returns whether every call of the unit has its result. A part of another unit is none.
    pub(super) fn is_complete(&self, unit: usize) -> bool {
        self.all[unit].unanswered.is_empty() && !self.all[unit].members.is_empty()
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
