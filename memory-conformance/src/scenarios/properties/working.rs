//! Working memory compared with the model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use memquill_core::{
    Delete, Entry, Facet, Feature, Get, GetMany, Increment, Incremented, ListEntries, ManualClock,
    PageRequest, Put, PutCondition, PutMany, RestoreEntries, Result, Scope, Timestamp,
    WorkingStore, WorkingValue, Written,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use serde_json::json;

use super::{aging, align, holds, maybe, same};
use crate::model::{Working, follow};
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: Some(Facet::Working), family: Family::Property;
    w1: working_memory_answers_as_the_model_does;
    w2: what_expired_is_absent_as_in_the_model;
    w9: restores_answer_as_the_model_does [Restoring];
}

/// A ttl that ends within the sequence, but only when it is waited for.
const SHORT: Duration = Duration::from_millis(40);

#[derive(Debug, Clone)]
enum Op {
    Put(NewPut),
    PutMany(Vec<NewPut>),
    Get(String, Option<Duration>),
    GetMany(Vec<String>, Option<Duration>),
    Delete(String, Option<Which>),
    Increment(Increment),
    List(String, usize),
    Restore(RestoreEntries),
    Statistics,
    Clear,
    /// Puts the keys for a short time, and waits until it is over.
    Expire(Vec<NewPut>),
}

#[derive(Debug, Clone)]
struct NewPut {
    key: String,
    value: WorkingValue,
    ttl: Option<Duration>,
    condition: Condition,
}

#[derive(Debug, Clone, Copy)]
enum Condition {
    Always,
    IfAbsent,
    IfVersion(Which),
}

/// A version of a key: how many writes ago it was.
#[derive(Debug, Clone, Copy)]
struct Which(usize);

fn key() -> impl Strategy<Value = String> {
    select(vec!["a", "A", "a%", "ab", "é"]).prop_map(String::from)
}

fn value() -> impl Strategy<Value = WorkingValue> {
    prop_oneof![
        3 => any::<i8>().prop_map(WorkingValue::from),
        1 => select(vec![
            json!(null), json!(1.0), json!("1"), json!(i64::MAX), json!(i64::MIN), json!(u64::MAX),
            json!({"a": [1, null]}), json!(-0.0), json!(""),
        ]).prop_map(WorkingValue::from),
        1 => select(vec!["", "1", "\0", "null"]).prop_map(|text| WorkingValue::Bytes(text.into())),
    ]
}

fn long() -> impl Strategy<Value = Duration> {
    select(vec![Duration::from_hours(1), Duration::from_hours(48), memquill_core::MAX_TTL])
}

fn which() -> impl Strategy<Value = Which> {
    prop_oneof![3 => Just(Which(0)), 2 => (1..4_usize).prop_map(Which)]
}

fn put(test: &Test) -> impl Strategy<Value = NewPut> + Clone + use<> {
    let conditional = u32::from(test.has(Feature::Conditions));
    let condition = prop_oneof![
        3 => Just(Condition::Always),
        conditional => Just(Condition::IfAbsent),
        2 * conditional => which().prop_map(Condition::IfVersion),
    ];
    (key(), value(), option::weighted(0.3, long()), condition)
        .prop_map(|(key, value, ttl, condition)| NewPut { key, value, ttl, condition })
        .boxed()
}

fn distinct(puts: Vec<NewPut>) -> Vec<NewPut> {
    puts.into_iter()
        .map(|put| (put.key.clone(), put))
        .collect::<BTreeMap<_, _>>()
        .into_values()
        .collect()
}

fn op(test: &Test) -> impl Strategy<Value = Op> + use<> {
    let has = |feature| u32::from(test.has(feature));
    let extend = maybe(if test.has(Feature::SlidingExpiry) { 0.3 } else { 0.0 }, long());
    let version = maybe(if test.has(Feature::Conditions) { 0.5 } else { 0.0 }, which());
    let by = prop_oneof![3 => -3..4_i64, 1 => select(vec![i64::MAX, i64::MIN])];
    let increment = (key(), by, option::weighted(0.3, long()))
        .prop_map(|(key, by, initial_ttl)| Op::Increment(Increment { key, by, initial_ttl }));
    prop_oneof![
        8 => put(test).prop_map(Op::Put),
        3 => vec(put(test), 1..4).prop_map(|puts| Op::PutMany(distinct(puts))),
        6 => (key(), extend.clone()).prop_map(|(key, extend)| Op::Get(key, extend)),
        2 => (vec(key(), 1..4), extend).prop_map(|(mut keys, extend)| {
            let mut seen = BTreeSet::new();
            keys.retain(|key| seen.insert(key.clone()));
            Op::GetMany(keys, extend)
        }),
        3 => (key(), version).prop_map(|(key, version)| Op::Delete(key, version)),
        5 * has(Feature::Counters) => increment,
        3 => (select(vec!["", "a", "A", "a%", "b", "é"]), 1..4_usize)
            .prop_map(|(prefix, limit)| Op::List(prefix.into(), limit)),
        2 => Just(Op::Statistics),
        1 => Just(Op::Clear),
    ]
}

async fn working_memory_answers_as_the_model_does(test: Test) {
    holds(&test, |test| vec(op(test), 1..40), compare).await;
}

async fn what_expired_is_absent_as_in_the_model(test: Test) {
    let sequence = |test: &Test| {
        let expire = vec(put(test), 1..4).prop_map(|puts| Op::Expire(distinct(puts)));
        aging(op(test), expire)
    };
    holds(&test, sequence, compare).await;
}

fn restore() -> impl Strategy<Value = Op> {
    let entry =
        (key(), value(), 1..60_u64, any::<bool>()).prop_map(|(key, value, version, odd)| {
            let at = Timestamp::from_millis(1_577_836_800_000 + i64::from(odd)).unwrap();
            Entry {
                key,
                value,
                metadata: serde_json::Map::new(),
                version,
                created_at: at,
                updated_at: at,
                expires_at: None,
            }
        });
    (vec(entry, 1..4), any::<bool>()).prop_map(|(entries, overwrite)| {
        let by_key: BTreeMap<String, Entry> =
            entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
        Op::Restore(RestoreEntries { entries: by_key.into_values().collect(), overwrite })
    })
}

async fn restores_answer_as_the_model_does(test: Test) {
    let sequence = |test: &Test| {
        // What was restored once is restored again among the rest, so that it meets itself.
        (vec(op(test), 1..40), vec(restore(), 1..8), vec(0..64_usize, 1..16)).prop_map(
            |(mut ops, new, places)| {
                for (at, place) in places.into_iter().enumerate() {
                    ops.insert(place % (ops.len() + 1), new[at % new.len()].clone());
                }
                ops
            },
        )
    };
    holds(&test, sequence, compare).await;
}

/// The store and the model, side by side.
struct Pair {
    store: Arc<dyn WorkingStore>,
    model: Working,
    clock: Arc<ManualClock>,
    scope: Scope,
    /// Every version that a key ever had, oldest first.
    versions: BTreeMap<String, Vec<u64>>,
}

async fn compare(test: Test, ops: Vec<Op>) -> std::result::Result<(), String> {
    let clock = Arc::new(ManualClock::new(Timestamp::MIN));
    let mut pair = Pair {
        store: Arc::clone(test.working()),
        model: Working::new(Arc::clone(&clock) as _),
        clock,
        scope: test.scope(),
        versions: BTreeMap::new(),
    };
    for op in ops {
        match &op {
            Op::Put(put) => pair.put(put).await?,
            Op::PutMany(puts) => pair.put_many(puts).await?,
            Op::Expire(puts) => {
                let puts: Vec<NewPut> =
                    puts.iter().map(|put| NewPut { ttl: Some(SHORT), ..put.clone() }).collect();
                pair.put_many(&puts).await?;
                test.pass(SHORT).await;
                pair.clock.advance(SHORT);
            }
            Op::Increment(request) => pair.increment(request).await?,
            Op::Delete(key, which) => {
                let if_version = which.map(|which| pair.version(key, which));
                let request = Delete { key: key.clone(), if_version };
                let deleted = pair.store.delete(&pair.scope, &request).await;
                same(&request, &deleted, &pair.model.delete(&pair.scope, &request).await)?;
            }
            Op::Get(key, extend) => {
                let request = Get { key: key.clone(), extend: *extend };
                let read = pair.store.get(&pair.scope, &request).await;
                let expected = pair.model.get(&pair.scope, &request).await;
                let read = read.map(|entry| entry.into_iter().collect());
                same_entries(&op, read, expected.map(|entry| entry.into_iter().collect()))?;
            }
            Op::GetMany(keys, extend) => {
                let request = GetMany { keys: keys.clone(), extend: *extend };
                let read = pair.store.get_many(&pair.scope, &request).await;
                same_entries(&op, read, pair.model.get_many(&pair.scope, &request).await)?;
            }
            Op::List(prefix, limit) => pair.list(prefix, *limit).await?,
            Op::Restore(request) => pair.restore(request).await?,
            Op::Statistics => {
                let statistics = pair.store.statistics(&pair.scope).await;
                same(&op, &statistics, &pair.model.statistics(&pair.scope).await)?;
            }
            Op::Clear => {
                let cleared = pair.store.clear(&pair.scope).await;
                same(&op, &cleared, &pair.model.clear(&pair.scope).await)?;
            }
        }
    }
    Ok(())
}

impl Pair {
    fn version(&self, key: &str, which: Which) -> u64 {
        let versions = self.versions.get(key).map_or(&[][..], Vec::as_slice);
        versions.iter().rev().nth(which.0).copied().unwrap_or(u64::from(u32::MAX))
    }

    fn request(&self, new: &NewPut) -> Put {
        let condition = match new.condition {
            Condition::Always => PutCondition::Always,
            Condition::IfAbsent => PutCondition::IfAbsent,
            Condition::IfVersion(which) => PutCondition::IfVersion(self.version(&new.key, which)),
        };
        Put { ttl: new.ttl, condition, ..Put::new(new.key.clone(), new.value.clone()) }
    }

    /// Takes time and version from what the store wrote; a version that comes back is a fault.
    fn learn(&mut self, key: &str, written: &Written) -> std::result::Result<(), String> {
        follow(&self.clock, written.updated_at);
        let versions = self.versions.entry(key.to_owned()).or_default();
        if versions.contains(&written.version) {
            return Err(format!("version {} of {key:?} comes back", written.version));
        }
        versions.push(written.version);
        Ok(())
    }

    async fn restore(&mut self, request: &RestoreEntries) -> std::result::Result<(), String> {
        let restored = self.store.restore(&self.scope, request).await;
        let expected = self.model.restore(&self.scope, request).await;
        if restored.is_ok() {
            for entry in &request.entries {
                self.versions.entry(entry.key.clone()).or_default().push(entry.version);
            }
        }
        match (&restored, &expected) {
            // Which of several that differ is reported is the store's choice.
            (Err(store), Err(model)) if store.kind() == model.kind() => Ok(()),
            _ => same(request, &restored, &expected),
        }
    }

    async fn put(&mut self, new: &NewPut) -> std::result::Result<(), String> {
        let request = self.request(new);
        let mut written = self.store.put(&self.scope, &request).await;
        if let Ok(written) = &written {
            self.learn(&new.key, written)?;
        }
        self.model.give(written.iter().map(|written| written.version));
        let expected = self.model.put(&self.scope, &request).await;
        align_written(written.as_mut().ok(), expected.as_ref().ok());
        same(&request, &written, &expected)
    }

    async fn put_many(&mut self, new: &[NewPut]) -> std::result::Result<(), String> {
        let request = PutMany { entries: new.iter().map(|new| self.request(new)).collect() };
        let mut written = self.store.put_many(&self.scope, &request).await;
        for (new, written) in new.iter().zip(written.iter().flatten()) {
            self.learn(&new.key, written)?;
        }
        self.model.give(written.iter().flatten().map(|written| written.version));
        let expected = self.model.put_many(&self.scope, &request).await;
        if let (Ok(written), Ok(expected)) = (&mut written, &expected) {
            for (written, expected) in written.iter_mut().zip(expected) {
                align_written(Some(written), Some(expected));
            }
        }
        match (&written, &expected) {
            // Which of several failed conditions is reported is the store's choice.
            (Err(store), Err(model)) if store.kind() == model.kind() => Ok(()),
            _ => same(&request, &written, &expected),
        }
    }

    async fn increment(&mut self, request: &Increment) -> std::result::Result<(), String> {
        let mut incremented = self.store.increment(&self.scope, request).await;
        if let Ok(Incremented { written, .. }) = &incremented {
            self.learn(&request.key, written)?;
        }
        self.model.give(incremented.iter().map(|incremented| incremented.written.version));
        let expected = self.model.increment(&self.scope, request).await;
        let written = incremented.as_mut().ok().map(|incremented| &mut incremented.written);
        align_written(written, expected.as_ref().ok().map(|expected| &expected.written));
        match (&incremented, &expected) {
            // The current version is reported where a condition on it failed, and here none did.
            (Err(store), Err(model)) if store.kind() == model.kind() => Ok(()),
            _ => same(request, &incremented, &expected),
        }
    }

    async fn list(&self, prefix: &str, limit: usize) -> std::result::Result<(), String> {
        let list = |page| ListEntries { prefix: prefix.into(), page };
        let mut listed = Vec::new();
        let mut page = PageRequest::first(limit);
        loop {
            let part = self.store.list(&self.scope, &list(page.clone())).await;
            let part = part.map_err(|error| format!("{error:?}"))?;
            listed.extend(part.items);
            let Some(next) = part.next else { break };
            page = page.after(next);
        }
        let all = self.model.list(&self.scope, &list(PageRequest::first(100))).await;
        same_entries(&(prefix, limit), Ok(listed), all.map(|page| page.items))
    }
}

fn align_written(written: Option<&mut Written>, expected: Option<&Written>) {
    if let (Some(written), Some(expected)) = (written, expected) {
        align(&mut written.expires_at, expected.expires_at);
    }
}

fn same_entries(
    what: &impl std::fmt::Debug,
    mut read: Result<Vec<Entry>>,
    expected: Result<Vec<Entry>>,
) -> std::result::Result<(), String> {
    if let (Ok(read), Ok(expected)) = (&mut read, &expected) {
        for (entry, expected) in read.iter_mut().zip(expected) {
            align(&mut entry.expires_at, expected.expires_at);
        }
    }
    same(what, &read, &expected)
}
