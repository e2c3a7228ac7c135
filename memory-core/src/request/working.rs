//! The requests of working memory (contract, section W).

use std::cell::Cell;

use super::{Request, when};
use crate::capability::{Facet, Feature};
use crate::check::{
    batch, each, identifier, ids, literal, metadata, page, repeated, times, ttl, within,
};
use crate::error::{Error, Result};
use crate::json::{self, Object};
use crate::limits::Limits;
use crate::operation as op;
use crate::restore::{MAX_RESTORED, RestoreEntries};
use crate::working::{
    Delete, Entry, Get, GetMany, Increment, ListEntries, Put, PutCondition, PutMany, WorkingValue,
};

const FACET: Option<Facet> = Some(Facet::Working);

pub(crate) fn check_entry(
    key: &str,
    value: &WorkingValue,
    kept_with_it: &Object,
    limits: &Limits,
) -> Result<usize> {
    identifier("key", key)?;
    if let WorkingValue::Json(value) = value {
        json::check("the value", value)?;
    }
    let size = value.size();
    within("the value", size, limits.value_bytes, "bytes")?;
    metadata(kept_with_it, limits)?;
    Ok(size)
}

fn put(request: &Put, limits: &Limits) -> Result<usize> {
    ttl(request.ttl)?;
    check_entry(&request.key, &request.value, &request.metadata, limits)
}

/// Checks the entries of a batch by `check`, which returns the size of the value, and how large the
/// values are in all.
fn entries<T>(
    entries: &[T],
    limits: &Limits,
    check: impl Fn(&T, &Limits) -> Result<usize>,
) -> Result<()> {
    batch("entry", entries.len(), limits)?;
    let bytes = Cell::new(0_usize);
    each("entry", entries, |entry| {
        bytes.set(bytes.get().saturating_add(check(entry, limits)?));
        Ok(())
    })?;
    within("the batch of values", bytes.get(), limits.batch_bytes, "bytes in all")
}

impl Request for Put {
    const OPERATION: &'static str = op::PUT;
    const FACET: Option<Facet> = FACET;

    fn check(&self, limits: &Limits) -> Result<()> {
        put(self, limits).map(drop)
    }

    fn required(&self) -> [Option<Feature>; 2] {
        [when(self.condition != PutCondition::Always, Feature::Conditions), None]
    }

    fn writes(&self) -> bool {
        true
    }

    fn is_repeatable(&self) -> bool {
        self.condition != PutCondition::Always
    }
}

impl Request for PutMany {
    const OPERATION: &'static str = op::PUT_MANY;
    const FACET: Option<Facet> = FACET;

    fn check(&self, limits: &Limits) -> Result<()> {
        entries(&self.entries, limits, put)?;
        repeated("entries", "key", self.entries.iter().map(|entry| Some(entry.key.as_str())))
    }

    fn required(&self) -> [Option<Feature>; 2] {
        let conditional = self.entries.iter().any(|put| put.condition != PutCondition::Always);
        [when(conditional, Feature::Conditions), None]
    }

    fn writes(&self) -> bool {
        true
    }

    fn is_repeatable(&self) -> bool {
        self.entries.iter().all(|put| put.condition != PutCondition::Always)
    }

    fn items(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

impl Request for Get {
    const OPERATION: &'static str = op::GET;
    const FACET: Option<Facet> = FACET;

    fn check(&self, _: &Limits) -> Result<()> {
        identifier("key", &self.key)?;
        ttl(self.extend)
    }

    fn required(&self) -> [Option<Feature>; 2] {
        [when(self.extend.is_some(), Feature::SlidingExpiry), None]
    }

    fn writes(&self) -> bool {
        self.extend.is_some()
    }
}

impl Request for GetMany {
    const OPERATION: &'static str = op::GET_MANY;
    const FACET: Option<Facet> = FACET;

    fn check(&self, limits: &Limits) -> Result<()> {
        ids("key", &self.keys, limits)?;
        ttl(self.extend)
    }

    fn required(&self) -> [Option<Feature>; 2] {
        [when(self.extend.is_some(), Feature::SlidingExpiry), None]
    }

    fn writes(&self) -> bool {
        self.extend.is_some()
    }

    fn items(&self) -> Option<usize> {
        Some(self.keys.len())
    }
}

impl Request for Delete {
    const OPERATION: &'static str = op::DELETE;
    const FACET: Option<Facet> = FACET;

    fn check(&self, _: &Limits) -> Result<()> {
        identifier("key", &self.key)
    }

    fn required(&self) -> [Option<Feature>; 2] {
        [when(self.if_version.is_some(), Feature::Conditions), None]
    }

    fn writes(&self) -> bool {
        true
    }
}

impl Request for ListEntries {
    const OPERATION: &'static str = op::LIST_ENTRIES;
    const FACET: Option<Facet> = FACET;

    fn check(&self, limits: &Limits) -> Result<()> {
        literal("prefix", &self.prefix)?;
        page(Self::OPERATION, &self.page, limits)
    }

    fn writes(&self) -> bool {
        false
    }
}

impl Request for Increment {
    const OPERATION: &'static str = op::INCREMENT;
    const FACET: Option<Facet> = FACET;

    fn check(&self, _: &Limits) -> Result<()> {
        identifier("key", &self.key)?;
        ttl(self.initial_ttl)
    }

    fn required(&self) -> [Option<Feature>; 2] {
        [Some(Feature::Counters), None]
    }

    fn writes(&self) -> bool {
        true
    }

    fn is_repeatable(&self) -> bool {
        false
    }
}

fn restored_entry(entry: &Entry, limits: &Limits) -> Result<usize> {
    let size = check_entry(&entry.key, &entry.value, &entry.metadata, limits)?;
    times(entry.created_at, entry.updated_at, entry.expires_at)?;
    if (1..=MAX_RESTORED).contains(&entry.version) {
        return Ok(size);
    }
    Err(Error::invalid_input(format!(
        "the version {} is not from 1 to {MAX_RESTORED}",
        entry.version
    ))
    .with_hint("restore what a store gave"))
}

impl Request for RestoreEntries {
    const OPERATION: &'static str = op::RESTORE_ENTRIES;
    const FACET: Option<Facet> = FACET;

    fn check(&self, limits: &Limits) -> Result<()> {
        entries(&self.entries, limits, restored_entry)?;
        repeated("entries", "key", self.entries.iter().map(|entry| Some(entry.key.as_str())))
    }

    fn required(&self) -> [Option<Feature>; 2] {
        [Some(Feature::Restoring), None]
    }

    fn writes(&self) -> bool {
        true
    }

    fn items(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// Removes all entries of a scope.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClearWorking;

impl Request for ClearWorking {
    const OPERATION: &'static str = op::CLEAR_WORKING;
    const FACET: Option<Facet> = FACET;

    fn check(&self, _: &Limits) -> Result<()> {
        Ok(())
    }

    fn writes(&self) -> bool {
        true
    }
}

/// Reads the statistics of a scope's working memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GetWorkingStatistics;

impl Request for GetWorkingStatistics {
    const OPERATION: &'static str = op::WORKING_STATISTICS;
    const FACET: Option<Facet> = FACET;

    fn check(&self, _: &Limits) -> Result<()> {
        Ok(())
    }

    fn writes(&self) -> bool {
        false
    }
}
