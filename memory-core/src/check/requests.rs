//! What a legal request is.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::Value;

use super::{identifier, literal, within};
use crate::conversation::{Append, Message, ReadMessages, Retention, Trim};
use crate::embed::EmbeddingSpace;
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::json::{self, Object};
use crate::limits::{Limits, MAX_TTL, MIN_TTL};
use crate::page::PageRequest;
use crate::restore::{MAX_RESTORED, RestoreEntries, RestoreMessages, RestoreRecords};
use crate::time::Timestamp;
use crate::vector::{
    DeleteRecords, GetRecords, NewRecord, Rebind, Record, Selection, StoreRecords, TextSearch,
    VectorSearch, content_hash,
};
use crate::working::{Entry, GetMany, Increment, ListEntries, Put, PutMany};

fn batch(what: &str, items: usize, limits: &Limits) -> Result<()> {
    if items == 0 {
        return Err(Error::invalid_input(format!("the batch of {what} is empty"))
            .with_hint("leave the call out, or give it an item"));
    }
    within(&format!("the batch of {what}"), items, limits.batch_items, "items")
}

fn result_limit(limit: usize, limits: &Limits) -> Result<()> {
    if limit == 0 {
        return Err(Error::invalid_input("the limit is 0").with_hint("ask for at least 1"));
    }
    within("the limit", limit, limits.page_items, "items")
}

pub(super) fn page(listing: &'static str, page: &PageRequest, limits: &Limits) -> Result<()> {
    result_limit(page.limit, limits)?;
    page.position(listing).map(drop)
}

fn metadata(metadata: &Object, limits: &Limits) -> Result<()> {
    if metadata.is_empty() {
        return Ok(());
    }
    json::check_object("metadata", metadata)?;
    within("metadata", json::size(metadata), limits.metadata_bytes, "bytes")
}

fn content(content: &str, limits: &Limits) -> Result<()> {
    within("content", content.len(), limits.content_bytes, "bytes")?;
    json::check_text("content", content)
}

fn ttl(ttl: Option<Duration>) -> Result<()> {
    match ttl {
        Some(ttl) if ttl < MIN_TTL => {
            Err(Error::invalid_input(format!("the ttl {ttl:?} is shorter than 1 ms"))
                .with_hint("give at least 1 ms, or no ttl for an entry that never expires"))
        }
        Some(ttl) if ttl > MAX_TTL => Err(Error::invalid_input(format!(
            "the ttl of {} s is longer than 100 years",
            ttl.as_secs()
        ))
        .with_hint("give no ttl for an entry that never expires")),
        _ => Ok(()),
    }
}

fn retention(retention: &Retention) -> Result<()> {
    if retention.max_messages == Some(0) || retention.max_tokens == Some(0) {
        return Err(Error::invalid_input("a retention limit is 0")
            .with_hint("keep at least 1, or clear the conversation"));
    }
    Ok(())
}

fn message(message: &Message, limits: &Limits) -> Result<()> {
    for (what, text) in [
        ("message id", &message.id),
        ("message name", &message.name),
        ("tool call id", &message.tool_call_id),
    ] {
        if let Some(text) = text {
            identifier(what, text)?;
        }
    }
    content(message.text(), limits)?;
    if !message.tool_calls.is_empty() {
        for call in &message.tool_calls {
            json::check("a tool call", call)?;
        }
        within("tool calls", json::size(&message.tool_calls), limits.content_bytes, "bytes")?;
    }
    metadata(&message.metadata, limits)
}

pub(super) fn append(request: &Append, limits: &Limits) -> Result<()> {
    identifier("conversation", &request.conversation)?;
    batch("messages", request.messages.len(), limits)?;
    request.messages.iter().try_for_each(|m| message(m, limits))?;
    if let Some(id) = repeated(request.messages.iter().filter_map(|m| m.id.as_deref())) {
        return Err(Error::invalid_input(format!(
            "the message id {id:?} stands twice in the batch"
        ))
        .with_hint("give every message an id of its own"));
    }
    request.retention.as_ref().map_or(Ok(()), retention)
}

fn repeated<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = HashSet::new();
    names.find(|name| !seen.insert(*name))
}

pub(crate) fn read_messages(request: &ReadMessages, limits: &Limits) -> Result<()> {
    identifier("conversation", &request.conversation)?;
    request.limit.map_or(Ok(()), |limit| result_limit(limit, limits))
}

pub(super) fn trim(request: &Trim) -> Result<()> {
    identifier("conversation", &request.conversation)?;
    retention(&request.retention)
}

fn space(space: &EmbeddingSpace, limits: &Limits) -> Result<()> {
    identifier("embedding model", &space.model)?;
    if space.dimensions == 0 {
        return Err(Error::invalid_input("an embedding space has at least 1 dimension"));
    }
    within("an embedding space", space.dimensions, limits.dimensions, "dimensions")
}

fn embedding(embedding: &[f32], space: &EmbeddingSpace) -> Result<()> {
    if embedding.len() != space.dimensions {
        return Err(Error::invalid_input(format!(
            "the embedding has {} numbers, its space {space} wants {}",
            embedding.len(),
            space.dimensions
        ))
        .with_hint("embed with the model that the space names"));
    }
    if let Some(bad) = embedding.iter().find(|x| !x.is_finite()) {
        return Err(Error::invalid_input(format!("the embedding holds {bad}"))
            .with_hint("an embedding's numbers are finite; check the model's output"));
    }
    if embedding.iter().all(|x| *x == 0.0) {
        return Err(Error::invalid_input("the embedding is all zero")
            .with_hint("a zero vector has no direction; was the text empty?"));
    }
    Ok(())
}

/// A record, its embedding aside.
fn record(record: &NewRecord, limits: &Limits) -> Result<()> {
    if let Some(id) = &record.id {
        identifier("record id", id)?;
    }
    identifier("document type", &record.document_type)?;
    content(&record.content, limits)?;
    metadata(&record.metadata, limits)?;
    ttl(record.ttl)
}

/// A batch, its embeddings aside.
fn records_of(request: &StoreRecords, limits: &Limits) -> Result<()> {
    identifier("namespace", &request.namespace)?;
    space(&request.space, limits)?;
    batch("records", request.records.len(), limits)?;
    request.records.iter().try_for_each(|new| record(new, limits))
}

/// What can be told of a batch before its texts are embedded. An embedding that is there is checked.
pub(crate) fn without_embeddings(request: &StoreRecords, limits: &Limits) -> Result<()> {
    records_of(request, limits)?;
    let mut there = request.records.iter().filter(|new| !new.embedding.is_empty());
    there.try_for_each(|new| embedding(&new.embedding, &request.space))
}

/// What can be told of a query before its text is embedded.
pub(crate) fn query(
    namespace: &str,
    text: Option<&str>,
    filter: Option<&Filter>,
    limit: usize,
    threshold: Option<f32>,
) -> Result<()> {
    let limits = &Limits::CONTRACT;
    filtered(namespace, filter, limits)?;
    text.map_or(Ok(()), |text| content(text, limits))?;
    result_limit(limit, limits)?;
    min_similarity(threshold)
}

pub(super) fn store_records(request: &StoreRecords, limits: &Limits) -> Result<()> {
    records_of(request, limits)?;
    request.records.iter().try_for_each(|r| embedding(&r.embedding, &request.space))?;
    if request.records.len() == 1 {
        return Ok(());
    }
    let mut by_id = HashMap::new();
    for record in &request.records {
        let id = record.identity();
        if let Some(first) = by_id.insert(id, record).filter(|first| !record.is_repeat_of(first)) {
            return Err(Error::invalid_input(format!(
                "the record {:?} stands twice in the batch, and differs",
                first.identity()
            ))
            .with_hint("leave one out, or store them in two calls"));
        }
    }
    Ok(())
}

fn ids(what: &str, ids: &[String], limits: &Limits) -> Result<()> {
    batch(&format!("{what}s"), ids.len(), limits)?;
    ids.iter().try_for_each(|id| identifier(what, id))
}

pub(super) fn get_records(request: &GetRecords, limits: &Limits) -> Result<()> {
    identifier("namespace", &request.namespace)?;
    ids("record id", &request.ids, limits)
}

pub(super) fn delete_records(request: &DeleteRecords, limits: &Limits) -> Result<()> {
    identifier("namespace", &request.namespace)?;
    match &request.which {
        Selection::Ids(which) => ids("record id", which, limits),
        Selection::Matching(filter) => filter.check(limits),
        Selection::Namespace => Ok(()),
    }
}

pub(super) fn rebind(request: &Rebind) -> Result<()> {
    identifier("namespace", &request.namespace)?;
    identifier("namespace", &request.from)?;
    if request.namespace == request.from {
        return Err(Error::invalid_input("a namespace cannot take its own embeddings")
            .with_hint("name the namespace that holds the new embeddings"));
    }
    Ok(())
}

fn min_similarity(threshold: Option<f32>) -> Result<()> {
    match threshold {
        Some(t) if !(-1.0..=1.0).contains(&t) => {
            Err(Error::invalid_input(format!("the similarity threshold {t} is outside [-1, 1]"))
                .with_hint("1 is the same direction, 0 unrelated, -1 opposite"))
        }
        _ => Ok(()),
    }
}

fn filtered(namespace: &str, filter: Option<&Filter>, limits: &Limits) -> Result<()> {
    identifier("namespace", namespace)?;
    filter.map_or(Ok(()), |filter| filter.check(limits))
}

pub(super) fn search(request: &VectorSearch, limits: &Limits) -> Result<()> {
    filtered(&request.namespace, request.filter.as_ref(), limits)?;
    space(&request.space, limits)?;
    embedding(&request.embedding, &request.space)?;
    result_limit(request.limit, limits)?;
    min_similarity(request.min_similarity)
}

pub(super) fn search_text(request: &TextSearch, limits: &Limits) -> Result<()> {
    filtered(&request.namespace, request.filter.as_ref(), limits)?;
    content(&request.text, limits)?;
    result_limit(request.limit, limits)?;
    if let Some(query) = &request.similarity_to {
        space(&query.space, limits)?;
        embedding(&query.embedding, &query.space)?;
        min_similarity(query.min_similarity)?;
    }
    Ok(())
}

pub(super) fn records(namespace: &str, filter: Option<&Filter>, limits: &Limits) -> Result<()> {
    filtered(namespace, filter, limits)
}

fn keyed(key: &str, value: &Value, kept_with_it: &Object, limits: &Limits) -> Result<()> {
    identifier("key", key)?;
    json::check("the value", value)?;
    within("the value", json::size(value), limits.value_bytes, "bytes")?;
    metadata(kept_with_it, limits)
}

pub(super) fn put(request: &Put, limits: &Limits) -> Result<()> {
    keyed(&request.key, &request.value, &request.metadata, limits)?;
    ttl(request.ttl)
}

pub(super) fn put_many(request: &PutMany, limits: &Limits) -> Result<()> {
    batch("puts", request.entries.len(), limits)?;
    request.entries.iter().try_for_each(|entry| put(entry, limits))?;
    match repeated(request.entries.iter().map(|entry| entry.key.as_str())) {
        None => Ok(()),
        Some(key) => {
            Err(Error::invalid_input(format!("the key {key:?} stands twice in the batch"))
                .with_hint("keep the one that is meant"))
        }
    }
}

pub(super) fn get(key: &str, extend: Option<Duration>) -> Result<()> {
    identifier("key", key)?;
    ttl(extend)
}

pub(crate) fn get_many(request: &GetMany, limits: &Limits) -> Result<()> {
    ids("key", &request.keys, limits)?;
    ttl(request.extend)
}

pub(super) fn list_entries(
    listing: &'static str,
    request: &ListEntries,
    limits: &Limits,
) -> Result<()> {
    literal("prefix", &request.prefix)?;
    page(listing, &request.page, limits)
}

pub(super) fn increment(request: &Increment) -> Result<()> {
    identifier("key", &request.key)?;
    ttl(request.initial_ttl)
}

fn time(what: &str, time: Timestamp) -> Result<()> {
    if time >= Timestamp::default() {
        return Ok(());
    }
    Err(Error::invalid_input(format!("{what} is before 1970: {time}"))
        .with_hint("restore what a store gave; its clock does not go back so far"))
}

/// The times of what is restored.
fn times(
    created_at: Timestamp,
    updated_at: Timestamp,
    expires_at: Option<Timestamp>,
) -> Result<()> {
    time("created_at", created_at)?;
    time("updated_at", updated_at)?;
    expires_at.map_or(Ok(()), |at| time("expires_at", at))
}

fn twice(what: &str, name: &str) -> Error {
    Error::invalid_input(format!("the {what} {name:?} stands twice in the batch"))
        .with_hint("restore what a store gave, where each stands once")
}

pub(super) fn restore_messages(request: &RestoreMessages, limits: &Limits) -> Result<()> {
    identifier("conversation", &request.conversation)?;
    within("the batch of messages", request.messages.len(), limits.batch_items, "items")?;
    let mut last = 0;
    for stored in &request.messages {
        if stored.seq <= last {
            return Err(Error::invalid_input(format!(
                "the message {} stands behind {last}: numbers ascend from 1",
                stored.seq
            ))
            .with_hint("restore what a store gave, in its order"));
        }
        last = stored.seq;
        time("created_at", stored.created_at)?;
        message(&stored.message, limits)?;
    }
    if request.last_seq < last.max(1) || request.last_seq > MAX_RESTORED {
        return Err(Error::invalid_input(format!(
            "the last number {} is less than that of a message, or 0, or past {MAX_RESTORED}",
            request.last_seq
        ))
        .with_hint("give the `last_seq` of the conversation's statistics"));
    }
    match repeated(request.messages.iter().filter_map(|stored| stored.message.id.as_deref())) {
        None => Ok(()),
        Some(id) => Err(twice("message id", id)),
    }
}

fn restored_record(record: &Record, space: &EmbeddingSpace, limits: &Limits) -> Result<()> {
    identifier("record id", &record.id)?;
    identifier("document type", &record.document_type)?;
    content(&record.content, limits)?;
    metadata(&record.metadata, limits)?;
    times(record.created_at, record.updated_at, record.expires_at)?;
    embedding(record.embedding.as_deref().unwrap_or_default(), space)?;
    if record.content_hash != content_hash(&record.content) {
        return Err(Error::invalid_input(format!(
            "the hash of the record {:?} is not that of its content",
            record.id
        ))
        .with_hint("it was damaged on its way"));
    }
    Ok(())
}

pub(super) fn restore_records(request: &RestoreRecords, limits: &Limits) -> Result<()> {
    identifier("namespace", &request.namespace)?;
    space(&request.space, limits)?;
    within("the batch of records", request.records.len(), limits.batch_items, "items")?;
    request.records.iter().try_for_each(|r| restored_record(r, &request.space, limits))?;
    match repeated(request.records.iter().map(|record| record.id.as_str())) {
        None => Ok(()),
        Some(id) => Err(twice("record", id)),
    }
}

fn restored_entry(entry: &Entry, limits: &Limits) -> Result<()> {
    keyed(&entry.key, &entry.value, &entry.metadata, limits)?;
    times(entry.created_at, entry.updated_at, entry.expires_at)?;
    if (1..=MAX_RESTORED).contains(&entry.version) {
        return Ok(());
    }
    Err(Error::invalid_input(format!(
        "the version {} is not from 1 to {MAX_RESTORED}",
        entry.version
    ))
    .with_hint("restore what a store gave"))
}

pub(super) fn restore_entries(request: &RestoreEntries, limits: &Limits) -> Result<()> {
    batch("entries", request.entries.len(), limits)?;
    request.entries.iter().try_for_each(|entry| restored_entry(entry, limits))?;
    match repeated(request.entries.iter().map(|entry| entry.key.as_str())) {
        None => Ok(()),
        Some(key) => Err(twice("key", key)),
    }
}
