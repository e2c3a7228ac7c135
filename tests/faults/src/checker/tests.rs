//! That the checker bites: a history that keeps everything, and one that breaks each rule.

use super::{Expected, check};
use crate::found::Found;
use crate::history::{Event, Outcome};
use crate::operation::{Answer, Condition, Operation, Seen, Tag, scopes};

fn tag(scope: usize, number: u64) -> Tag {
    Tag { scope, worker: 0, number }
}

fn seen(key: &str, value: impl ToString, version: u64) -> Seen {
    Seen { key: key.into(), value: value.to_string(), version, expires_at: None }
}

fn message(number: u64, seq: u64) -> Seen {
    seen(&tag(0, number).to_string(), tag(0, number), seq)
}

fn numbered(seqs: &[u64]) -> Outcome {
    Outcome::Done(Answer::Numbered { seqs: seqs.to_vec(), at: 0 })
}

fn failed(code: &str, maybe_applied: bool) -> Outcome {
    Outcome::Failed { code: code.into(), maybe_applied, message: format!("{code}: it failed") }
}

/// A run in scope 0: calls one after the other, and what is there in the end.
#[derive(Default)]
struct Run {
    events: Vec<Event>,
    found: Found,
    /// The store's.
    now: i64,
}

impl Run {
    fn new() -> Self {
        let found = Found {
            messages: Some((Vec::new(), 0, 0)),
            window: Some((Vec::new(), 0, 0)),
            entries: Some(Vec::new()),
            records: Some(Vec::new()),
            ..Found::default()
        };
        Self { found, ..Self::default() }
    }

    fn call(mut self, operation: Operation, mut outcome: Outcome) -> Self {
        if let Outcome::Done(
            Answer::Numbered { at, .. }
            | Answer::Counted { at, .. }
            | Answer::Written { at, .. }
            | Answer::AllWritten { at, .. }
            | Answer::Stored { at },
        ) = &mut outcome
        {
            // One that is left out is that of the call before.
            *at = if *at == 0 { self.now } else { *at };
            self.now = *at;
        }
        let begun = 10 * self.events.len() as u64 + 10;
        let ended = if outcome == Outcome::Unknown { u64::MAX } else { begun + 5 };
        let event = Event { scope: 0, operation, begun, ended, uncertain: false, outcome };
        self.events.push(event);
        self
    }

    fn append(self, numbers: &[u64], outcome: Outcome) -> Self {
        let tags = numbers.iter().map(|&number| tag(0, number)).collect();
        self.call(Operation::Append(tags), outcome)
    }

    fn put(self, key: &str, number: u64, condition: Condition, outcome: Outcome) -> Self {
        let ttl_ms = key.starts_with("brief").then_some(100);
        let (key, tag) = (key.into(), tag(0, number));
        self.call(Operation::Put { key, tag, condition, ttl_ms }, outcome)
    }

    /// An acknowledged put; the store's time is ten times the version.
    fn written(self, key: &str, number: u64, version: u64) -> Self {
        let at = 10 * i64::try_from(version).unwrap();
        self.put(key, number, Condition::Always, Outcome::Done(Answer::Written { version, at }))
    }

    fn delete(self, key: &str, outcome: Outcome) -> Self {
        self.call(Operation::Delete { key: key.into(), if_version: None }, outcome)
    }

    fn get(self, key: &str, entries: Vec<Seen>) -> Self {
        self.call(Operation::Get(key.into()), Outcome::Done(Answer::Entries(entries)))
    }

    fn count(self, by: i64, outcome: Outcome) -> Self {
        self.call(Operation::Increment { key: "counter-0".into(), by }, outcome)
    }

    fn counted(self, by: i64, value: i64, version: u64) -> Self {
        self.count(by, Outcome::Done(Answer::Counted { value, version, at: 0 }))
    }

    fn store(self, id: &str, number: u64, outcome: Outcome) -> Self {
        self.call(Operation::Store(vec![(id.into(), tag(0, number))]), outcome)
    }

    fn append_kept(self, numbers: &[u64], outcome: Outcome) -> Self {
        let tags = numbers.iter().map(|&number| tag(0, number)).collect();
        self.call(Operation::AppendKept(tags), outcome)
    }

    fn window(mut self, messages: Vec<Seen>, last_seq: u64) -> Self {
        self.found.window = Some((messages.clone(), messages.len() as u64, last_seq));
        self
    }

    fn messages(mut self, messages: Vec<Seen>) -> Self {
        let count = messages.len() as u64;
        self.found.messages = Some((messages, count, count));
        self
    }

    fn entries(mut self, entries: Vec<Seen>) -> Self {
        self.found.listed.clone_from(&entries);
        self.found.entries = Some(entries);
        self
    }

    fn records(mut self, records: Vec<Seen>) -> Self {
        self.found.hits = [records.clone(), records.clone()];
        self.found.records = Some(records);
        self
    }

    fn broken(&self) -> Vec<String> {
        let mut found = vec![Found::default(); scopes().len()];
        found[0] = self.found.clone();
        check(&self.events, &found, &Expected::default())
    }

    #[track_caller]
    fn keeps(self) {
        assert_eq!(self.broken(), [""; 0]);
    }

    #[track_caller]
    fn breaks(self, clause: &str) {
        let broken = self.broken();
        assert!(broken.iter().any(|what| what.contains(clause)), "{clause} in {broken:?}");
    }
}

const STORED: Outcome = Outcome::Done(Answer::Stored { at: 0 });

#[test]
fn a_history_that_keeps_everything_is_accepted() {
    Run::new()
        .append(&[1, 2], numbered(&[1, 2]))
        .append(&[3], failed("unavailable", true))
        .append(&[4], Outcome::Unknown)
        .append(&[5], numbered(&[4]))
        .written("key-0", 6, 1)
        .put("key-0", 7, Condition::IfVersion(1), failed("timeout", true))
        .put("key-0", 8, Condition::IfVersion(1), failed("conflict", false))
        .written("key-1", 9, 3)
        .delete("key-1", Outcome::Unknown)
        .counted(2, 2, 4)
        .count(1, failed("timeout", true))
        .store("record-0", 10, STORED)
        .store("record-0", 11, Outcome::Unknown)
        .messages(vec![message(1, 1), message(2, 2), message(4, 3), message(5, 4)])
        .entries(vec![seen("counter-0", 3, 5), seen("key-0", tag(0, 7), 2)])
        .records(vec![seen("record-0", tag(0, 11), 0)])
        .keeps();
}

#[test]
fn an_acknowledged_message_that_is_gone_is_noticed() {
    Run::new()
        .append(&[1], numbered(&[1]))
        .append(&[2], numbered(&[2]))
        .messages(vec![message(1, 1)])
        .breaks("G6");
}

#[test]
fn a_message_that_is_there_twice_is_noticed() {
    Run::new()
        .append(&[1], numbered(&[1]))
        .messages(vec![message(1, 1), message(1, 2)])
        .breaks("C3");
}

#[test]
fn a_gap_and_a_repeat_in_the_numbers_are_noticed() {
    let run = || Run::new().append(&[1], numbered(&[1])).append(&[2], numbered(&[3]));
    run().messages(vec![message(1, 1), message(2, 3)]).breaks("C1");
    run().messages(vec![message(1, 1), message(2, 1)]).breaks("C1");
}

#[test]
fn half_a_batch_is_noticed() {
    Run::new().append(&[1, 2], Outcome::Unknown).messages(vec![message(1, 1)]).breaks("G5");
}

#[test]
fn a_batch_with_another_in_its_middle_is_noticed() {
    Run::new()
        .append(&[1, 2], Outcome::Unknown)
        .append(&[3], numbered(&[2]))
        .messages(vec![message(1, 1), message(3, 2), message(2, 3)])
        .breaks("G5");
}

#[test]
fn what_failed_without_effect_and_is_there_is_noticed() {
    let no = || failed("unavailable", false);
    Run::new().append(&[1], no()).messages(vec![message(1, 1)]).breaks("E1");
    let put = Run::new().put("key-0", 1, Condition::Always, no());
    put.entries(vec![seen("key-0", tag(0, 1), 1)]).breaks("E1");
    Run::new()
        .store("record-0", 1, no())
        .records(vec![seen("record-0", tag(0, 1), 0)])
        .breaks("E1");
}

#[test]
fn an_append_numbered_before_one_that_it_followed_is_noticed() {
    Run::new()
        .append(&[1], numbered(&[2]))
        .append(&[2], numbered(&[1]))
        .messages(vec![message(2, 1), message(1, 2)])
        .breaks("C1");
}

#[test]
fn a_reading_that_misses_what_was_acknowledged_is_noticed() {
    Run::new()
        .append(&[1], numbered(&[1]))
        .call(Operation::Read, Outcome::Done(Answer::Messages(Vec::new(), 0)))
        .messages(vec![message(1, 1)])
        .breaks("G6");
}

#[test]
fn another_scopes_value_is_noticed() {
    let other = seen("key-0", tag(1, 1), 1);
    Run::new().written("key-0", 1, 1).get("key-0", vec![other]).breaks("G1");
    let other = seen("record-0", tag(2, 1), 0);
    Run::new().store("record-0", 1, STORED).records(vec![other]).breaks("G1");
    let other = seen(&tag(1, 1).to_string(), tag(1, 1), 1);
    Run::new().messages(vec![other]).breaks("G1");
}

#[test]
fn a_value_that_nobody_wrote_is_noticed() {
    Run::new().written("key-0", 1, 1).entries(vec![seen("key-0", "else", 1)]).breaks("G3");
    Run::new().written("key-0", 1, 1).entries(vec![seen("key-0", tag(0, 9), 1)]).breaks("G3");
}

#[test]
fn a_lost_put_is_noticed() {
    let run = || Run::new().written("key-0", 1, 1).written("key-0", 2, 2);
    run().entries(vec![seen("key-0", tag(0, 1), 1)]).breaks("G6");
    run().entries(Vec::new()).breaks("G6");
    run().get("key-0", Vec::new()).entries(vec![seen("key-0", tag(0, 2), 2)]).breaks("G6");
}

#[test]
fn a_deleted_value_that_comes_back_is_noticed() {
    Run::new()
        .written("key-0", 1, 1)
        .delete("key-0", Outcome::Done(Answer::Deleted(true)))
        .entries(vec![seen("key-0", tag(0, 1), 1)])
        .breaks("G6");
    Run::new()
        .store("record-0", 1, STORED)
        .call(Operation::DeleteRecords(vec!["record-0".into()]), Outcome::Done(Answer::Removed(1)))
        .records(vec![seen("record-0", tag(0, 1), 0)])
        .breaks("G6");
}

#[test]
fn a_version_that_does_not_grow_is_noticed() {
    let run = Run::new().written("key-0", 1, 2).written("key-0", 2, 2);
    run.entries(vec![seen("key-0", tag(0, 2), 2)]).breaks("W3");
}

#[test]
fn a_version_over_which_two_puts_succeed_is_noticed() {
    let over = Condition::IfVersion(1);
    let written = |version| Outcome::Done(Answer::Written { version, at: 0 });
    Run::new()
        .written("key-0", 1, 1)
        .put("key-0", 2, over, written(2))
        .put("key-0", 3, over, written(3))
        .entries(vec![seen("key-0", tag(0, 3), 3)])
        .breaks("W3");
}

#[test]
fn a_count_that_is_lost_or_doubled_is_noticed() {
    let run = || Run::new().counted(2, 2, 1).count(1, failed("timeout", true));
    run().entries(vec![seen("counter-0", 3, 2)]).keeps();
    run().entries(vec![seen("counter-0", 1, 2)]).breaks("W6");
    run().entries(vec![seen("counter-0", 4, 2)]).breaks("W6");
    run().entries(Vec::new()).breaks("G6");
    let twice = Run::new().counted(1, 1, 1).counted(1, 1, 2);
    twice.entries(vec![seen("counter-0", 2, 3)]).breaks("W6");
}

#[test]
fn an_expired_value_that_is_read_is_noticed() {
    let alive = |expires_at| Seen { expires_at: Some(expires_at), ..seen("brief-0", tag(0, 1), 1) };
    // The store's time is 90 when the value is read.
    let run = |expires_at| {
        let run = Run::new().written("brief-0", 1, 1).written("key-0", 2, 9);
        run.get("brief-0", vec![alive(expires_at)]).entries(vec![seen("key-0", tag(0, 2), 9)])
    };
    run(91).keeps();
    run(90).breaks("W2");
}

#[test]
fn a_clock_that_goes_back_is_noticed() {
    let run = Run::new().written("key-0", 1, 9);
    let earlier = Outcome::Done(Answer::Written { version: 10, at: 80 });
    let run = run.put("key-0", 2, Condition::Always, earlier);
    run.entries(vec![seen("key-0", tag(0, 2), 10)]).breaks("G8");
}

#[test]
fn a_lost_record_is_noticed() {
    let run = || Run::new().store("record-0", 1, STORED).store("record-0", 2, STORED);
    run().records(vec![seen("record-0", tag(0, 2), 0)]).keeps();
    run().records(vec![seen("record-0", tag(0, 1), 0)]).breaks("G6");
    run().records(Vec::new()).breaks("G6");
    let mut ghost = run().records(vec![seen("record-0", tag(0, 2), 0)]);
    ghost.found.hits[1] = vec![seen("record-0", tag(0, 1), 0)];
    ghost.breaks("G6");
}

#[test]
fn an_attempt_that_may_come_late_excuses_what_it_brings() {
    let mut run = Run::new()
        .written("key-0", 1, 1)
        .delete("key-0", Outcome::Done(Answer::Deleted(true)))
        .written("key-0", 2, 2)
        .entries(Vec::new());
    assert!(run.broken().iter().any(|what| what.contains("G6")));
    run.events[1].uncertain = true;
    run.keeps();
}

#[test]
fn an_error_that_no_fault_explains_is_noticed() {
    Run::new().append(&[1], failed("internal", false)).breaks("E2");
    Run::new().append(&[1], failed("conflict", false)).breaks("E2");
}

/// Eight messages, each in a batch of two, of which the last six are kept.
fn eight() -> Run {
    let batch =
        |run: Run, first: u64| run.append_kept(&[first, first + 1], numbered(&[first, first + 1]));
    [1, 3, 5, 7].into_iter().fold(Run::new(), batch)
}

fn range(numbers: std::ops::RangeInclusive<u64>) -> Vec<Seen> {
    numbers.map(|number| message(number, number)).collect()
}

#[test]
fn a_window_that_slides_is_accepted() {
    eight().window(range(3..=8), 8).keeps();
    let trimmed = eight().call(Operation::Trim, Outcome::Done(Answer::Removed(3)));
    trimmed.window(range(6..=8), 8).keeps();
    let cleared = || eight().call(Operation::ClearWindow, Outcome::Done(Answer::Removed(6)));
    cleared().window(Vec::new(), 8).keeps();
    cleared().append_kept(&[9], numbered(&[9])).window(range(9..=9), 9).keeps();
    let unknown = eight().append_kept(&[9], Outcome::Unknown);
    unknown.window(range(4..=9), 9).keeps();
    let beside = eight().append(&[20], numbered(&[1])).window(range(3..=8), 8);
    let read = Outcome::Done(Answer::Messages(range(3..=8), 6));
    beside.call(Operation::ReadKept, read).messages(vec![message(20, 1)]).keeps();
}

#[test]
fn a_window_that_is_not_kept_is_noticed() {
    eight().window(range(2..=8), 8).breaks("C4");
    eight().window(range(7..=8), 8).breaks("C4");
    eight().window(Vec::new(), 8).breaks("C4");
    eight().window(range(3..=7), 8).breaks("G6");
    eight().window(range(3..=8), 9).breaks("C8");
    let half = Run::new().append_kept(&[1, 2], Outcome::Unknown);
    half.window(range(1..=1), 1).breaks("G5");
}

#[test]
fn a_window_s_number_that_comes_back_is_noticed() {
    let cleared = eight().call(Operation::ClearWindow, Outcome::Done(Answer::Removed(6)));
    cleared.append_kept(&[9], numbered(&[1])).window(vec![message(9, 1)], 1).breaks("C1");
    let evicted_and_stored_again = eight().window([range(4..=8), vec![message(1, 9)]].concat(), 9);
    evicted_and_stored_again.breaks("C1");
}

#[test]
fn a_batch_of_puts_counts_for_each_of_its_keys() {
    let tags = vec![("key-0".to_owned(), tag(0, 1)), ("key-1".to_owned(), tag(0, 2))];
    let written = Outcome::Done(Answer::AllWritten { versions: vec![1, 2], at: 0 });
    let run = || Run::new().call(Operation::PutMany(tags.clone()), written.clone());
    let both = vec![seen("key-0", tag(0, 1), 1), seen("key-1", tag(0, 2), 2)];
    run().entries(both.clone()).keeps();
    run().entries(both[..1].to_vec()).breaks("G6");
    run().entries(vec![seen("key-0", tag(0, 1), 2), both[1].clone()]).breaks("W3");
}

#[test]
fn what_is_cleared_is_gone() {
    let removed = Outcome::Done(Answer::Removed(1));
    let run = Run::new().written("key-0", 1, 1).call(Operation::ClearWorking, removed.clone());
    run.entries(vec![seen("key-0", tag(0, 1), 1)]).breaks("G6");
    let run = Run::new().store("record-0", 1, STORED).call(Operation::DeleteNamespace, removed);
    run.records(vec![seen("record-0", tag(0, 1), 0)]).breaks("G6");
}
