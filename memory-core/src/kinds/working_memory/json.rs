//! `WORKING_MEMORY` in JSON.

use std::collections::HashSet;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;

use super::{EntryContext, EntryWindow, NewEntry, StoredEntry, Ttl, WorkingMemory};
use crate::error::{Error, Result};
use crate::json::Object;
use crate::kinds::strict::{self, from_object, in_seconds};
use crate::kinds::{KindName, MemoryKind, Operation, moment, not_offered, object};
use crate::limits::Limits;
use crate::page::{Cursor, PageRequest};
use crate::request::check_entry;
use crate::working::{Entry, PutCondition, WorkingValue, value};

/// How many entries `retrieve` lists that states no `limit`.
const LISTED: usize = 1000;

/// What `store` takes beside `entries`, and each of those.
#[derive(Deserialize)]
struct EntryInput {
    key: String,
    value: Option<Value>,
    value_base64: Option<String>,
    ttl_seconds: Option<f64>,
    if_absent: Option<bool>,
    if_version: Option<u64>,
    metadata: Option<Object>,
}

impl EntryInput {
    fn read(what: &str, input: &Object) -> Result<NewEntry> {
        let mut entry: Self = from_object(what, input)?;
        Ok(NewEntry {
            condition: entry.condition(what)?,
            value: entry.value(what, input)?,
            key: entry.key,
            metadata: entry.metadata.unwrap_or_default(),
            ttl: match entry.ttl_seconds {
                None => Ttl::Default,
                Some(seconds) => {
                    strict::seconds("ttl_seconds", seconds)?.map_or(Ttl::Never, Ttl::For)
                }
            },
        })
    }

    /// JSON, or bytes in base64. A `value` that is `null` is a value.
    fn value(&mut self, what: &str, input: &Object) -> Result<WorkingValue> {
        match (input.contains_key("value"), &self.value_base64) {
            (true, None) => Ok(self.value.take().unwrap_or_default().into()),
            (false, Some(text)) => {
                let bytes = value::decode(text).map_err(|error| error.at(what))?;
                Ok(WorkingValue::Bytes(bytes))
            }
            (true, Some(_)) => Err(Error::invalid_input(format!(
                "{what}: value and value_base64 exclude each other"
            ))
            .with_hint("give JSON as value, or bytes as value_base64")),
            (false, None) => Err(Error::invalid_input(format!("{what}: the value is missing"))
                .with_hint("give JSON as value (null is one), or bytes as value_base64")),
        }
    }

    /// Version 0 is that of a key that does not exist, as conflicts report it (W3).
    fn condition(&self, what: &str) -> Result<PutCondition> {
        match (self.if_absent.unwrap_or_default(), self.if_version) {
            (false, None) => Ok(PutCondition::Always),
            (true, None | Some(0)) | (false, Some(0)) => Ok(PutCondition::IfAbsent),
            (false, Some(version)) => Ok(PutCondition::IfVersion(version)),
            (true, Some(_)) => Err(Error::invalid_input(format!(
                "{what}: if_absent and if_version exclude each other"
            ))
            .with_hint("give one of the two")),
        }
    }
}

/// What `retrieve` takes.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RetrieveInput {
    key: Option<String>,
    keys: Option<Vec<String>>,
    prefix: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// What `clear` takes.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ClearInput {
    key: Option<String>,
}

/// What `get_statistics` takes.
#[derive(Deserialize)]
struct NoInput {}

#[async_trait]
impl MemoryKind for WorkingMemory {
    fn name(&self) -> KindName {
        KindName::WorkingMemory
    }

    async fn try_execute(&self, operation: Operation, input: &Object) -> Result<Object> {
        let what = operation.name();
        match operation {
            Operation::Store => self.store_json(input).await,
            Operation::Retrieve => self.retrieve_json(from_object(what, input)?).await,
            Operation::GetContext => self.context_json(&from_object(what, input)?).await,
            Operation::Clear => {
                let cleared = match from_object(what, input)? {
                    ClearInput { key: Some(key) } => u64::from(self.delete(key).await?),
                    ClearInput { key: None } => self.clear().await?,
                };
                Ok(object([("cleared", cleared.into())]))
            }
            Operation::Summarize | Operation::Truncate | Operation::Pop => {
                Err(not_offered(self.name(), operation))
            }
            Operation::GetStatistics => {
                let NoInput {} = from_object(what, input)?;
                self.statistics_json().await
            }
        }
    }
}

impl WorkingMemory {
    /// One entry, or `entries`, which stand alone.
    async fn store_json(&self, input: &Object) -> Result<Object> {
        let what = Operation::Store.name();
        let Some(entries) = input.get("entries").filter(|entries| !entries.is_null()) else {
            let mut single = input.clone();
            single.shift_remove("entries");
            return Ok(stored(&self.store(EntryInput::read(what, &single)?).await?));
        };
        if input.len() > 1 {
            return Err(Error::invalid_input("store takes an entry's fields or entries")
                .with_hint("give each of entries its own fields"));
        }
        let wrong = || Error::invalid_input("store: entries is a list of objects");
        let entries = entries.as_array().ok_or_else(wrong)?;
        let entries = strict::each("entries", entries, |entry| {
            let input = entry.as_object().ok_or_else(|| Error::invalid_input("not an object"))?;
            let entry = EntryInput::read("the entry", input)?;
            check_entry(&entry.key, &entry.value, &entry.metadata, &Limits::CONTRACT)?;
            Ok(entry)
        })?;
        let written = self.store_many(entries).await?;
        Ok(object([("entries", written.iter().map(|e| Value::Object(stored(e))).collect())]))
    }

    async fn retrieve_json(&self, input: RetrieveInput) -> Result<Object> {
        let paged = input.limit.is_some() || input.cursor.is_some();
        match (input.key, input.keys, input.prefix) {
            (Some(key), None, None) if !paged => {
                let entry = self.get(key.as_str()).await?;
                Ok(read(&key, entry))
            }
            (None, Some(keys), None) if !paged => self.retrieve_many(keys).await,
            (None, None, prefix) => {
                let page = PageRequest {
                    limit: input.limit.unwrap_or(LISTED),
                    cursor: input.cursor.map(|cursor| cursor.parse::<Cursor>()).transpose()?,
                };
                let page = self.list(prefix.unwrap_or_default(), page).await?;
                let mut answer = object([
                    ("total_keys", page.items.len().into()),
                    ("next", page.next.map(|cursor| cursor.to_string()).into()),
                ]);
                answer.extend(data(page.items));
                Ok(answer)
            }
            _ => Err(Error::invalid_input(
                "retrieve takes key, or keys, or a prefix with limit and cursor",
            )
            .with_hint("give one of them, or nothing for all entries")),
        }
    }

    async fn retrieve_many(&self, keys: Vec<String>) -> Result<Object> {
        let found = self.get_many(keys.clone()).await?;
        let there: HashSet<&str> = found.iter().map(|entry| entry.key.as_str()).collect();
        let missing: Vec<String> =
            keys.into_iter().filter(|key| !there.contains(key.as_str())).collect();
        let total = there.len();
        let mut answer = object([("total_keys", total.into())]);
        answer.extend(data(found));
        answer.insert("missing".into(), missing.into());
        Ok(answer)
    }

    async fn context_json(&self, request: &EntryWindow) -> Result<Object> {
        let EntryContext { context, more_keys } = self.context(request).await?;
        Ok(object([
            ("context", context.text.into()),
            ("format", request.format.as_str().into()),
            ("tokens", context.tokens.into()),
            ("key_count", context.items.into()),
            ("omitted", context.omitted.into()),
            ("more_keys", more_keys.into()),
        ]))
    }

    async fn statistics_json(&self) -> Result<Object> {
        let statistics = self.statistics().await?;
        Ok(object([
            ("entries", statistics.entries.into()),
            ("expiring", statistics.expiring.into()),
            ("default_ttl", in_seconds(self.config.default_ttl)),
            ("max_ttl", in_seconds(self.config.max_ttl)),
            ("refresh_on_read", self.config.refresh_on_read.into()),
        ]))
    }
}

fn stored(entry: &StoredEntry) -> Object {
    object([
        ("key", entry.key.as_str().into()),
        ("version", entry.written.version.into()),
        ("expires_at", moment(entry.written.expires_at)),
        ("ttl_seconds", in_seconds(entry.ttl)),
        ("ttl_capped", entry.ttl_capped.into()),
    ])
}

/// A key that does not exist is an answer, not an error: `found` is false, `value` is `null`.
fn read(key: &str, entry: Option<Entry>) -> Object {
    let mut answer = object([("key", key.into()), ("found", entry.is_some().into())]);
    let value = entry.as_ref().map_or(("value", Value::Null), |entry| match &entry.value {
        WorkingValue::Json(value) => ("value", value.clone()),
        WorkingValue::Bytes(bytes) => ("value_base64", value::encode(bytes).into()),
    });
    answer.extend(object([value]));
    if let Some(entry) = entry {
        answer.extend(object([
            ("version", entry.version.into()),
            ("metadata", entry.metadata.into()),
            ("created_at", entry.created_at.to_string().into()),
            ("updated_at", entry.updated_at.to_string().into()),
            ("expires_at", moment(entry.expires_at)),
        ]));
    }
    answer
}

/// The values by key: JSON as `data`, and bytes, where there are any, as `data_base64`.
fn data(entries: Vec<Entry>) -> Object {
    let (mut json, mut bytes) = (Object::new(), Object::new());
    for entry in entries {
        match entry.value {
            WorkingValue::Json(value) => json.insert(entry.key, value),
            WorkingValue::Bytes(value) => bytes.insert(entry.key, value::encode(&value).into()),
        };
    }
    let mut data = object([("data", Value::Object(json))]);
    if !bytes.is_empty() {
        data.insert("data_base64".into(), bytes.into());
    }
    data
}
