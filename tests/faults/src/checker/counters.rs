//! Counters: everything acknowledged is counted, and once (W6, G6).

use std::collections::BTreeMap;

use super::{Case, Reading};
use crate::history::Event;
use crate::operation::{Answer, Operation};
use crate::plan::is_counter;

pub(super) fn check(case: &Case<'_>, broken: &mut Vec<String>) {
    let Some(entries) = &case.found.entries else { return };
    let mut increments: BTreeMap<&str, Vec<(&Event, i64)>> = BTreeMap::new();
    for event in case.events.iter().copied() {
        if let Operation::Increment { key, by } = &event.operation {
            increments.entry(key).or_default().push((event, *by));
        }
    }
    let mut readings = vec![Reading::last(entries), Reading::last(&case.found.listed)];
    for event in case.events.iter().copied() {
        if let Some(Answer::Entries(seen)) = event.answer() {
            readings.push(Reading::of(event, seen));
        }
    }
    for reading in &readings {
        for seen in reading.seen.iter().filter(|seen| is_counter(&seen.key)) {
            let all = increments.get(seen.key.as_str()).map_or(&[][..], Vec::as_slice);
            let Ok(value) = seen.value.parse::<i64>() else {
                broken.push(case.says(format_args!("G3: {seen:?} is no counter")));
                continue;
            };
            bounds(case, reading, value, all, broken);
        }
    }
    for (key, all) in &increments {
        absent(case, key, &readings, all, broken);
        answers(case, key, all, broken);
    }
}

/// At least everything acknowledged before, and at most everything that may have been applied.
fn bounds(
    case: &Case<'_>,
    reading: &Reading<'_>,
    value: i64,
    all: &[(&Event, i64)],
    broken: &mut Vec<String>,
) {
    let (least, most) = (sum(all, |event| acknowledged_before(event, reading.begun)), {
        sum(all, |event| event.may_be_applied() && event.begun <= reading.ended)
    });
    if !(least..=most).contains(&value) {
        let when = reading.when();
        broken.push(case.says(format_args!(
            "W6: a counter held {value} {when}, and {least} to {most} were counted"
        )));
    }
}

fn acknowledged_before(event: &Event, time: u64) -> bool {
    event.answer().is_some() && event.ended < time
}

fn sum(all: &[(&Event, i64)], counts: impl Fn(&Event) -> bool) -> i64 {
    all.iter().filter(|(event, _)| counts(event)).map(|(_, by)| by).sum()
}

/// A counter that was counted is there in the end.
fn absent(
    case: &Case<'_>,
    key: &str,
    readings: &[Reading<'_>],
    all: &[(&Event, i64)],
    broken: &mut Vec<String>,
) {
    let counted = all.iter().any(|(event, _)| event.answer().is_some());
    for reading in readings.iter().filter(|reading| reading.begun == u64::MAX) {
        if counted && !reading.seen.iter().any(|seen| seen.key == key) {
            broken.push(case.says(format_args!("G6: {key} is gone")));
        }
    }
}

/// Every answer counts what was acknowledged before, and its own; no two are the same.
fn answers(case: &Case<'_>, key: &str, all: &[(&Event, i64)], broken: &mut Vec<String>) {
    let mut values = Vec::new();
    for (event, by) in all {
        let Some(Answer::Counted { value, .. }) = event.answer() else { continue };
        let least = by + sum(all, |other| acknowledged_before(other, event.begun));
        let most = sum(all, |other| other.may_be_applied() && other.begun <= event.ended);
        if !(least..=most).contains(value) {
            broken.push(case.says(format_args!(
                "W6: {key} was said to be {value}, and {least} to {most} were counted"
            )));
        }
        values.push(*value);
    }
    values.sort_unstable();
    if values.windows(2).any(|pair| pair[0] == pair[1]) {
        broken.push(case.says(format_args!("W6: {key} had a value twice: {values:?}")));
    }
}
