//! Calling a store.

use std::time::Duration;

use memquill::{
    Append, Delete, DeleteRecords, Entry, Get, GetMany, GetRecords, Increment, ListEntries, Memory,
    Message, NewRecord, PageRequest, Put, PutCondition, PutMany, ReadMessages, Record, Result,
    Retention, Scope, Selection, StoreRecords, StoredMessage, TextSearch, Timestamp, Trim,
    VectorSearch,
};

use crate::operation::{
    Answer, CONVERSATION, Condition, KEPT, NAMESPACE, Operation, Seen, TRIMMED, Tag, WINDOW, WORD,
    scope, space,
};

/// More than there ever are.
const ALL: usize = 1_000;

/// Does what is asked in the scope of this number.
pub(crate) async fn perform(
    memory: &Memory,
    number: usize,
    operation: &Operation,
) -> Result<Answer> {
    let scope = scope(number);
    match operation {
        Operation::Append(_)
        | Operation::Read
        | Operation::AppendKept(_)
        | Operation::ReadKept
        | Operation::Trim
        | Operation::ClearWindow => conversation(memory, &scope, operation).await,
        Operation::Store(_)
        | Operation::GetRecords(_)
        | Operation::SearchText
        | Operation::Search(_)
        | Operation::DeleteRecords(_)
        | Operation::DeleteNamespace => vector(memory, &scope, operation).await,
        _ => working(memory, &scope, operation).await,
    }
}

async fn conversation(memory: &Memory, scope: &Scope, operation: &Operation) -> Result<Answer> {
    let conversations = memory.conversations()?;
    let message = |tag: &Tag| Message::user(tag.to_string()).with_id(tag.to_string());
    let append = match operation {
        Operation::Append(tags) => Append::new(CONVERSATION, tags.iter().map(message).collect()),
        Operation::AppendKept(tags) => Append::new(WINDOW, tags.iter().map(message).collect())
            .with_retention(Retention::messages(KEPT)),
        Operation::Trim => {
            let retention = Retention::messages(TRIMMED);
            let trim = Trim::new(WINDOW, retention);
            return Ok(Answer::Removed(conversations.trim(scope, &trim).await?));
        }
        Operation::ClearWindow => {
            return Ok(Answer::Removed(conversations.clear(scope, WINDOW).await?));
        }
        _ => {
            let of = if *operation == Operation::ReadKept { WINDOW } else { CONVERSATION };
            let read = conversations.read(scope, &ReadMessages::all(of)).await?;
            let messages = read.messages.into_iter().map(message_seen).collect();
            return Ok(Answer::Messages(messages, read.total));
        }
    };
    let appended = conversations.append(scope, &append).await?;
    Ok(Answer::Numbered {
        seqs: appended.messages.iter().map(|numbered| numbered.seq).collect(),
        at: appended.messages.last().map_or(0, |last| last.created_at.as_millis()),
    })
}

async fn working(memory: &Memory, scope: &Scope, operation: &Operation) -> Result<Answer> {
    let working = memory.working()?;
    Ok(match operation {
        Operation::Increment { key, by } => {
            let request = Increment { key: key.clone(), by: *by, initial_ttl: None };
            let counted = working.increment(scope, &request).await?;
            let at = counted.written.updated_at.as_millis();
            Answer::Counted { value: counted.value, version: counted.written.version, at }
        }
        Operation::Put { key, tag, condition, ttl_ms } => {
            let mut put = Put::new(key, tag.to_string()).with_condition(match condition {
                Condition::Always => PutCondition::Always,
                Condition::IfAbsent => PutCondition::IfAbsent,
                Condition::IfVersion(version) => PutCondition::IfVersion(*version),
            });
            put.ttl = ttl_ms.map(Duration::from_millis);
            let written = working.put(scope, &put).await?;
            Answer::Written { version: written.version, at: written.updated_at.as_millis() }
        }
        Operation::PutMany(puts) => {
            let entries = puts.iter().map(|(key, tag)| Put::new(key, tag.to_string())).collect();
            let written = working.put_many(scope, &PutMany { entries }).await?;
            Answer::AllWritten {
                versions: written.iter().map(|written| written.version).collect(),
                at: written.last().map_or(0, |last| last.updated_at.as_millis()),
            }
        }
        Operation::ClearWorking => Answer::Removed(working.clear(scope).await?),
        Operation::Delete { key, if_version } => {
            let request = Delete { key: key.clone(), if_version: *if_version };
            Answer::Deleted(working.delete(scope, &request).await?)
        }
        Operation::Get(key) => {
            let entry = working.get(scope, &Get::new(key)).await?;
            Answer::Entries(entry.into_iter().map(entry_seen).collect())
        }
        Operation::GetMany(keys) => {
            let request = GetMany { keys: keys.clone(), extend: None };
            let entries = working.get_many(scope, &request).await?;
            Answer::Entries(entries.into_iter().map(entry_seen).collect())
        }
        _ => {
            let page = PageRequest::first(ALL);
            let request = ListEntries { prefix: String::new(), page };
            let entries = working.list(scope, &request).await?.items;
            Answer::Entries(entries.into_iter().map(entry_seen).collect())
        }
    })
}

async fn vector(memory: &Memory, scope: &Scope, operation: &Operation) -> Result<Answer> {
    let vectors = memory.vectors()?;
    Ok(match operation {
        Operation::Store(records) => {
            let record = |(id, tag): &(String, Tag)| {
                NewRecord::new(tag.to_string(), tag.embedding()).with_id(id)
            };
            let records = records.iter().map(record).collect();
            let request = StoreRecords { namespace: NAMESPACE.into(), space: space(), records };
            let stored = vectors.store(scope, &request).await?;
            Answer::Stored { at: stored.last().map_or(0, |last| last.updated_at.as_millis()) }
        }
        Operation::DeleteRecords(ids) => {
            let which = Selection::Ids(ids.clone());
            let request = DeleteRecords { namespace: NAMESPACE.into(), which };
            Answer::Removed(vectors.delete(scope, &request).await?)
        }
        Operation::DeleteNamespace => {
            let which = Selection::Namespace;
            let request = DeleteRecords { namespace: NAMESPACE.into(), which };
            Answer::Removed(vectors.delete(scope, &request).await?)
        }
        Operation::GetRecords(ids) => {
            let (namespace, ids) = (NAMESPACE.into(), ids.clone());
            let request = GetRecords { namespace, ids, with_embeddings: true };
            let records = vectors.get(scope, &request).await?;
            Answer::Records(records.into_iter().map(record_seen).collect())
        }
        Operation::Search(near) => {
            let request = VectorSearch::new(NAMESPACE, space(), near.embedding(), ALL);
            let hits = vectors.search(scope, &request).await?.hits;
            Answer::Records(hits.into_iter().map(|hit| record_seen(hit.record)).collect())
        }
        _ => {
            let request = TextSearch::new(NAMESPACE, WORD, ALL);
            let hits = vectors.search_text(scope, &request).await?.hits;
            Answer::Records(hits.into_iter().map(|hit| record_seen(hit.record)).collect())
        }
    })
}

fn message_seen(stored: StoredMessage) -> Seen {
    Seen {
        version: stored.seq,
        value: stored.message.text().to_owned(),
        key: stored.message.id.unwrap_or_default(),
        expires_at: None,
    }
}

fn entry_seen(entry: Entry) -> Seen {
    Seen {
        value: entry.value.as_str().map_or_else(
            || entry.value.as_json().map(ToString::to_string).unwrap_or_default(),
            str::to_owned,
        ),
        key: entry.key,
        version: entry.version,
        expires_at: entry.expires_at.map(Timestamp::as_millis),
    }
}

/// A record whose embedding is not that of its content shows itself by another value.
fn record_seen(record: Record) -> Seen {
    let tag: Option<Tag> = record.content.parse().ok();
    let torn =
        record.embedding.is_some_and(|found| tag.is_some_and(|tag| tag.embedding() != found));
    Seen {
        key: record.id,
        value: if torn {
            format!("{} with another's embedding", record.content)
        } else {
            record.content
        },
        version: 0,
        expires_at: record.expires_at.map(Timestamp::as_millis),
    }
}
