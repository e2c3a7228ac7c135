//! Whether a history keeps the contract.

mod conversations;
mod counters;
mod keys;
mod latest;
mod records;
#[cfg(test)]
mod tests;
mod window;

use std::collections::{BTreeMap, BTreeSet};

use crate::found::Found;
use crate::history::{Event, Outcome};
use crate::operation::{Answer, Operation, Seen, Tag, scopes};

/// What may be expected of a run.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The kinds of errors that the fault explains, as codes.
    pub errors: Vec<&'static str>,
    /// Whether the store's time goes on while the run does.
    pub time: bool,
}

impl Default for Expected {
    /// What passes by itself, and conditions that did not hold.
    fn default() -> Self {
        Self { errors: vec!["unavailable", "timeout", "rate_limited", "conflict"], time: true }
    }
}

/// The promises that are broken, each in words; none where all is well.
pub fn check(events: &[Event], found: &[Found], expected: &Expected) -> Vec<String> {
    let mut broken = Vec::new();
    for event in events {
        kind_of_error(event, expected, &mut broken);
    }
    for scope in scopes() {
        let of_scope: Vec<&Event> = events.iter().filter(|event| event.scope == scope).collect();
        let case = Case { scope, events: of_scope, found: &found[scope] };
        conversations::check(&case, &mut broken);
        window::check(&case, &mut broken);
        keys::check(&case, &mut broken);
        counters::check(&case, &mut broken);
        records::check(&case, &mut broken);
    }
    if expected.time {
        keys::time(events, &mut broken);
    }
    broken
}

/// One scope's part of a run.
struct Case<'a> {
    scope: usize,
    events: Vec<&'a Event>,
    found: &'a Found,
}

/// A reading of something: what the whole run ended with is one, too.
struct Reading<'a> {
    begun: u64,
    ended: u64,
    seen: Vec<&'a Seen>,
}

impl<'a> Reading<'a> {
    fn of(event: &'a Event, seen: &'a [Seen]) -> Self {
        Self { begun: event.begun, ended: event.ended, seen: seen.iter().collect() }
    }

    /// What is there in the end.
    fn last(seen: &'a [Seen]) -> Self {
        Self { begun: u64::MAX, ended: u64::MAX, seen: seen.iter().collect() }
    }

    fn when(&self) -> &'static str {
        if self.begun == u64::MAX { "in the end" } else { "at some time" }
    }
}

/// What wrote a value, or removed it.
#[derive(Clone, Copy)]
struct Write<'a> {
    event: &'a Event,
    /// None for a removal.
    tag: Option<Tag>,
}

impl Case<'_> {
    fn says(&self, what: std::fmt::Arguments<'_>) -> String {
        format!("scope {}: {what}", self.scope)
    }
}

/// A failure of a kind that no fault explains is a fault of the driver.
fn kind_of_error(event: &Event, expected: &Expected, broken: &mut Vec<String>) {
    let Outcome::Failed { code, message, .. } = &event.outcome else { return };
    let conditional = matches!(
        event.operation,
        Operation::Put { .. } | Operation::Delete { if_version: Some(_), .. }
    );
    let explained = expected.errors.contains(&code.as_str()) && (code != "conflict" || conditional);
    if !explained {
        broken.push(format!("E2: {:?} failed with {message}", event.operation));
    }
}

/// Whether what was seen was written here: the rules that hold for every value, read whenever.
///
/// `writes` are all that were asked for in the scope under that key.
fn belongs(case: &Case<'_>, seen: &Seen, writes: &[Write<'_>], broken: &mut Vec<String>) -> bool {
    let Ok(tag) = seen.value.parse::<Tag>() else {
        broken.push(case.says(format_args!("G3: {seen:?} was never written so")));
        return false;
    };
    if tag.scope != case.scope {
        broken.push(case.says(format_args!("G1: {seen:?} is another scope's")));
        return false;
    }
    let Some(write) = writes.iter().find(|write| write.tag == Some(tag)) else {
        broken.push(case.says(format_args!("G3: {seen:?} was never written there")));
        return false;
    };
    if !write.event.may_be_applied() {
        let event = write.event;
        broken.push(case.says(format_args!("E1: {seen:?} is there, and its write {event:?}")));
    }
    true
}

/// That a value which was read, or the absence of one, is the last acknowledged state or a later
/// one that may have come about (G5, G6, V12).
fn is_latest(
    case: &Case<'_>,
    key: &str,
    reading: &Reading<'_>,
    writes: &[Write<'_>],
    broken: &mut Vec<String>,
) {
    let seen = reading.seen.iter().find(|seen| seen.key == key);
    let tag = seen.and_then(|seen| seen.value.parse::<Tag>().ok());
    // When what was read had come about at the latest; before everything, where nothing was there.
    let settled = writes
        .iter()
        .filter(|write| write.tag == tag && write.event.may_be_applied() && !is_idle(write))
        .filter(|write| write.event.begun < reading.ended)
        .map(|write| write.event.settled())
        .max()
        .unwrap_or(0);
    let later = writes.iter().find(|write| {
        let event = write.event;
        let acknowledged = event.answer().is_some() && event.ended < reading.begun;
        write.tag != tag && acknowledged && settled < event.begun
    });
    if let Some(Write { event, .. }) = later {
        let (held, when) = (seen.map(|seen| &seen.value), reading.when());
        broken.push(case.says(format_args!(
            "G6: {key} held {held:?} {when}, although this was acknowledged later: {event:?}"
        )));
    }
}

/// Whether it is a removal that found nothing to remove, and so brought nothing about.
fn is_idle(write: &Write<'_>) -> bool {
    let found_none =
        matches!(write.event.answer(), Some(Answer::Deleted(false) | Answer::Removed(0)));
    found_none && !write.event.uncertain
}

/// The writes of each key, in the order in which they began.
type Writes<'a> = BTreeMap<&'a str, Vec<Write<'a>>>;

/// The keys that occur anywhere.
fn all_keys<'a>(writes: &Writes<'a>, reading: &Reading<'a>) -> BTreeSet<&'a str> {
    writes.keys().copied().chain(reading.seen.iter().map(|seen| seen.key.as_str())).collect()
}
