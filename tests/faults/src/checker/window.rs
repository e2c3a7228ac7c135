//! The conversation of which the newest messages are kept: what each append, trim and clearing
//! leaves, and that numbers of what went never come back (C1, C3, C4, C9, G5, G6).

use std::collections::{BTreeMap, HashMap};

use super::latest::Latest;
use super::{Case, Reading};
use crate::history::Event;
use crate::operation::{Answer, KEPT, Operation, Seen, TRIMMED, Tag};

pub(super) fn check(case: &Case<'_>, broken: &mut Vec<String>) {
    let Some((messages, count, last_seq)) = &case.found.window else { return };
    let appends = Appends::of(case);
    appends.check(case, *last_seq, broken);
    if *count != messages.len() as u64 || messages.last().is_some_and(|m| m.version != *last_seq) {
        broken.push(case.says(format_args!(
            "C8: {count} messages up to number {last_seq} were reported, of {messages:?}"
        )));
    }
    appends.read(case, &Reading::last(messages), broken);
    for event in &case.events {
        if let (Operation::ReadKept, Some(Answer::Messages(seen, total))) =
            (&event.operation, event.answer())
        {
            if *total != seen.len() as u64 {
                broken.push(case.says(format_args!("C6: {total} is the total of {seen:?}")));
            }
            appends.read(case, &Reading::of(event, seen), broken);
        }
    }
}

/// One batch.
struct Batch<'a> {
    event: &'a Event,
    tags: &'a [Tag],
    /// What it was given, where that was answered.
    seqs: Option<&'a [u64]>,
}

/// All batches, and what they are found by.
struct Appends<'a> {
    batches: Vec<Batch<'a>>,
    /// Each message's batch and its place there, by its id.
    by_id: HashMap<String, (usize, usize)>,
    latest: Latest,
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl<'a> Appends<'a> {
    fn of(case: &Case<'a>) -> Self {
        let mut batches: Vec<Batch<'a>> = Vec::new();
        let mut by_id = HashMap::new();
        for event in case.events.iter().copied() {
            let Operation::AppendKept(tags) = &event.operation else { continue };
            let seqs = match event.answer() {
                Some(Answer::Numbered { seqs, .. }) => Some(seqs.as_slice()),
                _ => None,
            };
            for (place, tag) in tags.iter().enumerate() {
                by_id.insert(tag.to_string(), (batches.len(), place));
            }
            batches.push(Batch { event, tags, seqs });
        }
        let last = |batch: &Batch<'_>| Some((batch.event.ended, signed(*batch.seqs?.last()?)));
        let latest = batches.iter().filter_map(last).collect();
        Self { batches, by_id, latest }
    }

    /// What was answered.
    fn check(&self, case: &Case<'_>, last_seq: u64, broken: &mut Vec<String>) {
        let mut given: BTreeMap<u64, Tag> = BTreeMap::new();
        let mut possible = 0;
        for Batch { event, tags, seqs } in &self.batches {
            possible += if event.may_be_applied() { tags.len() as u64 } else { 0 };
            let Some(seqs) = seqs else { continue };
            let in_a_row = seqs.windows(2).all(|pair| pair[1] == pair[0] + 1);
            let before = self.latest.before(event.begun).unwrap_or(0);
            let is_after = seqs.first().is_some_and(|first| signed(*first) > before);
            if seqs.len() != tags.len() || !in_a_row || !is_after {
                broken.push(case.says(format_args!("C1: after {before}, {event:?}")));
            }
            for (seq, tag) in seqs.iter().zip(*tags) {
                if let Some(other) = given.insert(*seq, *tag) {
                    broken.push(
                        case.says(format_args!("C1: {seq} was given to {tag} and to {other}")),
                    );
                }
            }
        }
        let highest = given.last_key_value().map_or(0, |(seq, _)| *seq);
        if last_seq > possible || highest > last_seq {
            broken.push(case.says(format_args!(
                "C1: the last number is {last_seq}, {highest} was given, and {possible} messages \
                 were appended at most"
            )));
        }
    }

    /// What was read at some time.
    fn read(&self, case: &Case<'_>, reading: &Reading<'_>, broken: &mut Vec<String>) {
        let (seen, when) = (&reading.seen, reading.when());
        if !seen.windows(2).all(|pair| pair[1].version == pair[0].version + 1) {
            broken.push(case.says(format_args!("C1: a gap or repeat {when}: {seen:?}")));
        }
        if seen.len() as u64 > KEPT {
            broken.push(case.says(format_args!("C4: more than {KEPT} {when}: {seen:?}")));
        }
        for (at, message) in seen.iter().enumerate() {
            self.message(case, seen, at, message, broken);
        }
        let acknowledged = self.latest.before(reading.begun);
        let last = seen.last().map(|message| signed(message.version));
        if last.is_some() && last < acknowledged {
            broken.push(case.says(format_args!(
                "G6: {acknowledged:?} had been acknowledged, and was not among {seen:?}"
            )));
        }
        self.kept(case, reading, broken);
    }

    /// One message among those that were read.
    fn message(
        &self,
        case: &Case<'_>,
        seen: &[&Seen],
        at: usize,
        message: &Seen,
        broken: &mut Vec<String>,
    ) {
        let Some((batch, place)) =
            self.by_id.get(&message.key).filter(|_| message.key == message.value)
        else {
            broken.push(case.says(format_args!("G3: {message:?} was never written there")));
            return;
        };
        let Batch { event, tags, seqs } = &self.batches[*batch];
        if !event.may_be_applied() {
            broken.push(case.says(format_args!("E1: {message:?} is there: {event:?}")));
        }
        if seqs.is_some_and(|seqs| seqs.get(*place) != Some(&message.version)) {
            broken.push(case.says(format_args!("C1: {message:?} was acknowledged: {event:?}")));
        }
        if seen[..at].iter().any(|other| other.key == message.key) {
            broken.push(case.says(format_args!("C3: {:?} was there twice", message.key)));
        }
        // What goes, goes from the front.
        let next = tags.get(place + 1).map(Tag::to_string);
        if next.is_some_and(|next| seen.get(at + 1).is_none_or(|other| other.key != next)) {
            broken.push(case.says(format_args!("G5: without what follows {message:?}: {seen:?}")));
        }
    }

    /// The newest messages stay, unless something may have cleared them.
    fn kept(&self, case: &Case<'_>, reading: &Reading<'_>, broken: &mut Vec<String>) {
        let cleared = |since: u64| {
            case.events.iter().any(|event| {
                event.operation == Operation::ClearWindow
                    && event.may_be_applied()
                    && event.begun < reading.ended
                    && event.settled() > since
            })
        };
        let newest = reading.seen.last().map_or(0, |message| message.version);
        for Batch { event, tags, seqs } in &self.batches {
            let Some(seqs) = seqs.filter(|_| event.ended < reading.begun) else { continue };
            for (seq, tag) in seqs.iter().zip(*tags) {
                let is_newest = seq + TRIMMED > newest;
                let there = reading.seen.iter().any(|message| message.version == *seq);
                if is_newest && !there && !cleared(event.begun) {
                    let (when, seen) = (reading.when(), &reading.seen);
                    broken.push(case.says(format_args!(
                        "C4: {tag}, number {seq}, went too early {when}: {seen:?}"
                    )));
                }
            }
        }
    }
}
