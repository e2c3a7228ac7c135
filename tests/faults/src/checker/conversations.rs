//! Messages: numbering, safe retries, batches, order (C1 to C3, G5, G6).

use std::collections::HashMap;

use super::Case;
use super::latest::Latest;
use crate::history::Event;
use crate::operation::{Answer, Operation, Seen, Tag};

pub(super) fn check(case: &Case<'_>, broken: &mut Vec<String>) {
    let Some((messages, count, last_seq)) = &case.found.messages else { return };
    numbering(case, messages, *count, *last_seq, broken);
    let mut numbers: HashMap<&str, u64> = HashMap::new();
    for message in messages {
        if numbers.insert(&message.key, message.version).is_some() {
            broken.push(case.says(format_args!("C3: {:?} is there twice", message.key)));
        }
    }
    let mut written = 0;
    for event in &case.events {
        if let Operation::Append(tags) = &event.operation {
            written += batch(case, event, tags, &numbers, broken);
        }
    }
    if written < messages.len() {
        broken.push(case.says(format_args!(
            "G3: of {} messages {written} were written there: {messages:?}",
            messages.len()
        )));
    }
    order(case, broken);
    readings(case, messages, broken);
}

/// Numbers without gap or repeat, and statistics that agree (C1, C8).
fn numbering(
    case: &Case<'_>,
    messages: &[Seen],
    count: u64,
    last_seq: u64,
    broken: &mut Vec<String>,
) {
    let numbers: Vec<u64> = messages.iter().map(|message| message.version).collect();
    if !numbers.iter().copied().eq(1..=last_seq) || count != last_seq {
        broken.push(case.says(format_args!(
            "C1: the numbers are {numbers:?}, of {count} messages, the last number {last_seq}"
        )));
    }
    for message in messages {
        if message.key != message.value {
            broken.push(case.says(format_args!("G5: {message:?} has another's body")));
        }
        if message.value.parse::<Tag>().is_ok_and(|tag| tag.scope != case.scope) {
            broken.push(case.says(format_args!("G1: {message:?} is another scope's")));
        }
    }
}

/// That a batch is there as it was acknowledged, or whole, or not at all; how much of it is there.
fn batch(
    case: &Case<'_>,
    event: &Event,
    tags: &[Tag],
    numbers: &HashMap<&str, u64>,
    broken: &mut Vec<String>,
) -> usize {
    let ids: Vec<String> = tags.iter().map(Tag::to_string).collect();
    let there: Vec<u64> = ids.iter().filter_map(|id| numbers.get(id.as_str()).copied()).collect();
    let in_a_row = there.windows(2).all(|pair| pair[1] == pair[0] + 1);
    if !(there.is_empty() || there.len() == ids.len() && in_a_row) {
        broken.push(case.says(format_args!("G5: {ids:?} is there as {there:?}")));
    }
    if let Some(Answer::Numbered { seqs, .. }) = event.answer() {
        if *seqs != there {
            broken.push(case.says(format_args!(
                "G6: {ids:?} was acknowledged as {seqs:?}, and is there as {there:?}"
            )));
        }
    } else if !event.may_be_applied() && !there.is_empty() {
        broken.push(case.says(format_args!("E1: it is there as {there:?}: {event:?}")));
    }
    there.len()
}

/// The numbers that an acknowledged append was given.
fn numbered(event: &Event) -> Option<&[u64]> {
    match (&event.operation, event.answer()?) {
        (Operation::Append(_), Answer::Numbered { seqs, .. }) => Some(seqs),
        _ => None,
    }
}

fn latest(case: &Case<'_>) -> Latest {
    let last = |event: &&Event| Some((event.ended, signed(*numbered(event)?.last()?)));
    case.events.iter().filter_map(last).collect()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What began after something was acknowledged stands after it.
fn order(case: &Case<'_>, broken: &mut Vec<String>) {
    let latest = latest(case);
    for event in &case.events {
        let Some(first) = numbered(event).and_then(<[u64]>::first) else { continue };
        let before = latest.before(event.begun);
        if before.is_some_and(|before| before >= signed(*first)) {
            broken.push(case.says(format_args!(
                "C1: {before:?} had been acknowledged before this began: {event:?}"
            )));
        }
    }
}

/// Every reading is the beginning of what is there in the end, and misses nothing acknowledged.
fn readings(case: &Case<'_>, messages: &[Seen], broken: &mut Vec<String>) {
    let latest = latest(case);
    for event in &case.events {
        let (Operation::Read, Some(Answer::Messages(seen, total))) =
            (&event.operation, event.answer())
        else {
            continue;
        };
        if !messages.starts_with(seen) || *total != seen.len() as u64 {
            broken.push(case.says(format_args!(
                "C2: {total} messages were read that are not the first of those there: {seen:?}"
            )));
        }
        if latest.before(event.begun).is_some_and(|last| last > signed(seen.len() as u64)) {
            broken.push(case.says(format_args!(
                "G6: {} messages were read, and more had been acknowledged",
                seen.len()
            )));
        }
    }
}
