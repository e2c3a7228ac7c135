//! Which operation comes next.

use std::collections::HashMap;

use fastrand::Rng;
use memquill::Facet;

use crate::operation::{Answer, CLEARED, Condition, Operation, Tag, scopes};

/// Few, so that workers meet.
const KEYS: [&str; 4] = ["key-0", "key-1", "key-2", "key-%"];
const BRIEF_KEYS: [&str; 2] = ["brief-0", "brief-1"];
const COUNTERS: [&str; 2] = ["counter-0", "counter-1"];
pub(crate) const RECORDS: [&str; 5] = ["record-0", "record-1", "record-2", "record-3", "record-%"];

/// Whether values under the key expire.
pub(crate) fn is_brief(key: &str) -> bool {
    BRIEF_KEYS.contains(&key)
}

/// Whether the key is one of a counter.
pub(crate) fn is_counter(key: &str) -> bool {
    COUNTERS.contains(&key)
}

/// All keys under which there may be something.
pub(crate) fn keys() -> impl Iterator<Item = &'static str> {
    KEYS.into_iter().chain(BRIEF_KEYS).chain(COUNTERS)
}

/// The ids of all records.
pub(crate) fn records() -> Vec<String> {
    RECORDS.map(String::from).to_vec()
}

/// One worker's plans.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) dice: Rng,
    worker: u64,
    tags: u64,
    facets: Vec<Facet>,
    /// The versions that the worker saw last.
    versions: HashMap<(usize, String), u64>,
}

impl Plan {
    pub(crate) fn new(seed: u64, worker: u64, facets: Vec<Facet>) -> Self {
        // So far apart that no two workers of a run roll alike.
        let dice = Rng::with_seed(seed ^ worker.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self { dice, worker, tags: 0, facets, versions: HashMap::new() }
    }

    fn tag(&mut self, scope: usize) -> Tag {
        self.tags += 1;
        Tag { scope, worker: self.worker, number: self.tags }
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.dice.usize(..from.len())]
    }

    /// A scope's number, and what to do there.
    pub(crate) fn next(&mut self) -> (usize, Operation) {
        let scope = self.dice.usize(scopes());
        let facets = self.facets.clone();
        let operation = match self.pick(&facets) {
            Facet::Conversations => self.conversation(scope),
            Facet::Vectors => self.vector(scope),
            Facet::Working => self.working(scope),
        };
        (scope, operation)
    }

    fn conversation(&mut self, scope: usize) -> Operation {
        let what = self.dice.u8(..20);
        let batch = self.dice.usize(1..=4);
        let mut tags = || (0..batch).map(|_| self.tag(scope)).collect();
        match what {
            0..=7 => Operation::Append(tags()),
            8..=11 => Operation::Read,
            12..=15 => Operation::AppendKept(tags()),
            16..=17 => Operation::ReadKept,
            18 => Operation::Trim,
            _ => Operation::ClearWindow,
        }
    }

    fn working(&mut self, scope: usize) -> Operation {
        match self.dice.u8(..24) {
            0..=1 if scope == CLEARED => Operation::ClearWorking,
            2..=4 if scope == CLEARED => Operation::List,
            0..=4 => {
                Operation::Increment { key: self.pick(&COUNTERS).into(), by: self.dice.i64(1..=3) }
            }
            5..=9 => {
                let key = self.pick(&KEYS).to_owned();
                let condition = self.condition(scope, &key);
                Operation::Put { tag: self.tag(scope), key, condition, ttl_ms: None }
            }
            10..=11 => Operation::Put {
                key: self.pick(&BRIEF_KEYS).into(),
                tag: self.tag(scope),
                condition: Condition::Always,
                ttl_ms: Some(self.dice.u64(1..400)),
            },
            12..=16 => {
                let all: Vec<_> = keys().collect();
                Operation::Get(self.pick(&all).into())
            }
            17 => Operation::List,
            18..=19 => {
                let some = some_of(&mut self.dice, &KEYS);
                Operation::PutMany(some.into_iter().map(|key| (key, self.tag(scope))).collect())
            }
            20..=21 => {
                let all: Vec<_> = keys().collect();
                Operation::GetMany(some_of(&mut self.dice, &all))
            }
            _ => {
                let key = self.pick(&KEYS).to_owned();
                let if_version = self.version(scope, &key).filter(|_| self.dice.bool());
                Operation::Delete { key, if_version }
            }
        }
    }

    fn condition(&mut self, scope: usize, key: &str) -> Condition {
        match (self.dice.u8(..3), self.version(scope, key)) {
            (0, _) => Condition::IfAbsent,
            (1, Some(version)) => Condition::IfVersion(version),
            _ => Condition::Always,
        }
    }

    fn version(&self, scope: usize, key: &str) -> Option<u64> {
        self.versions.get(&(scope, key.to_owned())).copied()
    }

    fn vector(&mut self, scope: usize) -> Operation {
        let ids = some_of(&mut self.dice, &RECORDS);
        match self.dice.u8(..10) {
            0..=4 => Operation::Store(ids.into_iter().map(|id| (id, self.tag(scope))).collect()),
            5 => Operation::GetRecords(ids),
            6 => Operation::SearchText,
            7 => Operation::Search(self.tag(scope)),
            8 => Operation::GetRecords(records()),
            _ if scope == CLEARED => Operation::DeleteNamespace,
            _ => Operation::DeleteRecords(ids),
        }
    }

    /// Takes notice of an answer.
    pub(crate) fn learn(&mut self, scope: usize, operation: &Operation, answer: &Answer) {
        match (operation, answer) {
            (Operation::Put { key, .. }, Answer::Written { version, .. }) => {
                self.versions.insert((scope, key.clone()), *version);
            }
            (Operation::PutMany(puts), Answer::AllWritten { versions, .. }) => {
                for ((key, _), version) in puts.iter().zip(versions) {
                    self.versions.insert((scope, key.clone()), *version);
                }
            }
            (_, Answer::Entries(entries)) => {
                for entry in entries {
                    self.versions.insert((scope, entry.key.clone()), entry.version);
                }
            }
            _ => {}
        }
    }
}

/// One to three, in a row.
fn some_of(dice: &mut Rng, all: &[&str]) -> Vec<String> {
    let first = dice.usize(..all.len());
    let end = all.len().min(first + dice.usize(1..=3));
    all[first..end].iter().map(|&name| name.to_owned()).collect()
}
