//! Working memory: versions, conditions, lost and revived values, expiry (W2, W3, G6).

use std::collections::{BTreeMap, HashMap};

use super::latest::Latest;
use super::{Case, Reading, Write, Writes, all_keys, belongs, is_latest};
use crate::history::Event;
use crate::operation::{Answer, Condition, Operation, Seen, Tag};
use crate::plan::{is_brief, is_counter, keys};

pub(super) fn check(case: &Case<'_>, broken: &mut Vec<String>) {
    let Some(entries) = &case.found.entries else { return };
    let writes = writes(case);
    let last = Reading::last(entries);
    let mut readings: Vec<(Reading<'_>, Vec<&str>)> =
        vec![(Reading::last(&case.found.listed), keys().collect()), (last, keys().collect())];
    for event in &case.events {
        match (&event.operation, event.answer()) {
            (Operation::Get(key), Some(Answer::Entries(seen))) => {
                readings.push((Reading::of(event, seen), vec![key.as_str()]));
            }
            (Operation::GetMany(keys), Some(Answer::Entries(seen))) => {
                let asked = keys.iter().map(String::as_str).collect();
                readings.push((Reading::of(event, seen), asked));
            }
            (Operation::List, Some(Answer::Entries(seen))) => {
                readings.push((Reading::of(event, seen), keys().collect()));
            }
            _ => {}
        }
    }
    for (reading, asked) in &readings {
        for key in all_keys(&writes, reading).into_iter().filter(|key| asked.contains(key)) {
            read(case, key, reading, &writes, broken);
        }
        let stray = reading.seen.iter().filter(|seen| !asked.contains(&seen.key.as_str()));
        broken.extend(stray.map(|seen| case.says(format_args!("W5: nobody asked for {seen:?}"))));
    }
    versions(case, &readings, broken);
    conditions(case, broken);
}

fn writes<'a>(case: &Case<'a>) -> Writes<'a> {
    let mut writes = Writes::new();
    for event in case.events.iter().copied() {
        let written: Vec<(&str, Option<Tag>)> = match &event.operation {
            Operation::Put { key, tag, .. } => vec![(key, Some(*tag))],
            Operation::PutMany(puts) => {
                puts.iter().map(|(key, tag)| (key.as_str(), Some(*tag))).collect()
            }
            Operation::Delete { key, .. } => vec![(key, None)],
            Operation::ClearWorking => keys().map(|key| (key, None)).collect(),
            _ => continue,
        };
        for (key, tag) in written {
            writes.entry(key).or_default().push(Write { event, tag });
        }
    }
    writes
}

fn read(
    case: &Case<'_>,
    key: &str,
    reading: &Reading<'_>,
    writes: &Writes<'_>,
    broken: &mut Vec<String>,
) {
    let seen = reading.seen.iter().find(|seen| seen.key == key);
    if is_counter(key) {
        return; // checked as what it is
    }
    let writes = writes.get(key).map_or(&[][..], Vec::as_slice);
    if let Some(seen) = seen {
        if seen.expires_at.is_some() != is_brief(key) {
            broken.push(case.says(format_args!("W2: the expiry of {seen:?}")));
        }
        if !belongs(case, seen, writes, broken) {
            return;
        }
    }
    // What expires may be gone at any time.
    if seen.is_some() || !is_brief(key) {
        is_latest(case, key, reading, writes, broken);
    }
}

/// When a version was known of a key, and of which value.
struct Known<'a> {
    key: &'a str,
    begun: u64,
    ended: u64,
    version: u64,
    value: Option<Tag>,
    written: bool,
}

fn known<'a>(case: &Case<'a>, readings: &[(Reading<'a>, Vec<&'a str>)]) -> Vec<Known<'a>> {
    let mut all = Vec::new();
    for event in case.events.iter().copied() {
        let (begun, ended) = (event.begun, event.ended);
        let mut add = |key, version, value| {
            all.push(Known { key, begun, ended, version, value, written: true });
        };
        match (&event.operation, event.answer()) {
            (Operation::Put { key, tag, .. }, Some(Answer::Written { version, .. })) => {
                add(key, *version, Some(*tag));
            }
            (Operation::PutMany(puts), Some(Answer::AllWritten { versions, .. })) => {
                for ((key, tag), version) in puts.iter().zip(versions) {
                    add(key, *version, Some(*tag));
                }
            }
            (Operation::Increment { key, .. }, Some(Answer::Counted { version, .. })) => {
                add(key, *version, None);
            }
            _ => {}
        }
    }
    for (reading, _) in readings {
        let (begun, ended) = (reading.begun, reading.ended);
        all.extend(reading.seen.iter().map(|seen| Known {
            key: &seen.key,
            begun,
            ended,
            version: seen.version,
            value: seen.value.parse().ok(),
            written: false,
        }));
    }
    all
}

/// A version belongs to one value, never comes back, and grows.
fn versions(case: &Case<'_>, readings: &[(Reading<'_>, Vec<&str>)], broken: &mut Vec<String>) {
    let mut by_key: BTreeMap<&str, Vec<Known<'_>>> = BTreeMap::new();
    for known in known(case, readings) {
        by_key.entry(known.key).or_default().push(known);
    }
    for (key, known) in by_key {
        let signed = |version: u64| i64::try_from(version).unwrap_or(i64::MAX);
        let latest: Latest =
            known.iter().map(|known| (known.ended, signed(known.version))).collect();
        let mut values: HashMap<u64, Option<Tag>> = HashMap::new();
        let mut versions: HashMap<Tag, u64> = HashMap::new();
        for Known { begun, version, value, written, .. } in known {
            let before = latest.before(begun).unwrap_or(0);
            if signed(version) < before || written && signed(version) == before {
                broken.push(
                    case.says(format_args!(
                        "W3: {key} had version {before} before it had {version}"
                    )),
                );
            }
            let other = *values.entry(version).or_insert(value);
            let otherwise = value.map_or(version, |tag| *versions.entry(tag).or_insert(version));
            if other != value || otherwise != version {
                broken.push(case.says(format_args!(
                    "W3: {key} had version {version} with {value:?}, \
                     and {other:?} with it or {otherwise} with the same"
                )));
            }
        }
    }
}

/// No version is replaced twice.
fn conditions(case: &Case<'_>, broken: &mut Vec<String>) {
    let mut replaced: HashMap<(&str, u64), &Event> = HashMap::new();
    for event in case.events.iter().copied() {
        let Operation::Put { key, condition: Condition::IfVersion(version), .. } = &event.operation
        else {
            continue;
        };
        if event.answer().is_none() {
            continue;
        }
        if let Some(first) = replaced.insert((key, *version), event) {
            broken.push(case.says(format_args!(
                "W3: two puts over version {version} succeeded: {first:?}, {event:?}"
            )));
        }
    }
}

/// Nothing is read past its expiry, and no time is before an earlier one: the store's clock is at
/// least where an earlier answer saw it.
pub(super) fn time(events: &[Event], broken: &mut Vec<String>) {
    let stored = |event: &Event| event.answer()?.store_time();
    let clock: Latest =
        events.iter().filter_map(|event| Some((event.ended, stored(event)?))).collect();
    for event in events {
        let Some(now) = clock.before(event.begun) else { continue };
        // A repeated append says when it was stored; a record that is there as it was, too.
        if stored(event).is_some_and(|time| time < now) && !event.uncertain {
            broken.push(format!("G8: the store's time was {now} before this: {event:?}"));
        }
        let seen: &[Seen] = match event.answer() {
            Some(Answer::Entries(seen) | Answer::Records(seen)) => seen,
            _ => continue,
        };
        for seen in seen.iter().filter(|seen| seen.expires_at.is_some_and(|at| at <= now)) {
            broken.push(format!("W2: {seen:?} was read at {now} or later"));
        }
    }
}
