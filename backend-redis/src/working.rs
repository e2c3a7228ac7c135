//! Working memory (section W).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use memquill_core::json::{self, Object};
use memquill_core::{
    Delete, Entry, EntryPage, Error, Get, GetMany, Increment, Incremented, Limits, ListEntries,
    Page, Put, PutCondition, PutMany, RestoreEntries, Restored, Result, Scope, Timestamp,
    WorkingStatistics, WorkingStore, WorkingValue, Written, conflict, operation as op,
};
use redis::Value;

use crate::codec::{self, Reply};
use crate::connection::{Script, script};
use crate::error::unreadable;
use crate::store::{Store, unknown_outcome};

/// A script of entries, after their form, the time and the steps that most of them take.
macro_rules! entry_script {
    ($kind:ident, $($file:literal),+) => {
        script!($kind, "lib/time", "lib/digits", "lib/entry", "lib/entries", $($file),+)
    };
}

static PUT: Script = script!(writing, "lib/entry", "lib/sweep", "working/put");
static PUT_MANY: Script = entry_script!(writing, "lib/sweep", "working/put_many");
static INCREMENT: Script = entry_script!(writing, "lib/sweep", "working/increment");
static GET_MANY: Script = script!(reading, "working/get_many");
static GET_EXTENDING: Script = entry_script!(writing, "working/get_extending");
static DELETE: Script = entry_script!(writing, "working/delete");
static LIST: Script = entry_script!(reading, "working/list");
static STATISTICS: Script = entry_script!(reading, "working/statistics");
static RESTORE: Script = entry_script!(writing, "working/restore");
static CLEAR: Script = entry_script!(writing, "lib/unlink", "working/clear");

/// Working memory on Redis.
#[derive(Debug)]
pub(crate) struct Working(pub(crate) Arc<Store>);

#[async_trait]
impl WorkingStore for Working {
    async fn put(&self, scope: &Scope, request: &Put) -> Result<Written> {
        let keys = self.0.keys(scope);
        let names = [keys.versions(), keys.working(), keys.expiries(), keys.entry(&request.key)];
        let body = body(request)?;
        let written = self.0.write(scope, &PUT, &names, |call| {
            call.arg(&request.key).arg(condition(request.condition));
            call.arg(millis(request.ttl)).arg(&body);
        });
        let (outcome, mut reply) = written.await?;
        if outcome == "conflict" {
            return Err(conflict::stale_version(&request.key, Some(reply.number()?)));
        }
        // It is how the entry begins.
        let (version, created_at) = (reply.number()?, reply.time()?);
        let (updated_at, expires_at) = (reply.time()?, expires_at(digits(&outcome)?)?);
        Ok(Written { version, created_at, updated_at, expires_at })
    }

    async fn put_many(&self, scope: &Scope, request: &PutMany) -> Result<Vec<Written>> {
        let puts = &request.entries;
        let keys = self.0.keys(scope);
        let start = keys.entry("").len();
        let mut names = vec![keys.versions(), keys.working(), keys.expiries()];
        names.extend(puts.iter().map(|put| keys.entry(&put.key)));
        let bodies: Vec<Vec<u8>> = puts.iter().map(body).collect::<Result<_>>()?;
        let ttl = puts.first().and_then(|put| put.ttl);
        let same = puts.iter().all(|put| put.ttl == ttl && put.condition == PutCondition::Always);
        let written = self.0.write(scope, &PUT_MANY, &names, |call| {
            call.arg(start);
            if same {
                call.arg("same").arg(millis(ttl));
            } else {
                call.arg("each").arg("");
            }
            for (put, body) in puts.iter().zip(&bodies) {
                call.arg(body);
                if !same {
                    call.arg(condition(put.condition)).arg(millis(put.ttl));
                }
            }
        });
        let (outcome, mut reply) = written.await?;
        match outcome.as_str() {
            "ok" => {
                let (version, updated_at) = (reply.number()?, reply.time()?);
                let (created, expires) = (reply.text()?, reply.text()?);
                let mut created = created.split(' ').filter(|created| !created.is_empty());
                let mut expires = expires.split(' ');
                let mut expiry = "";
                let written = puts.iter().map(|_| {
                    let created_at = created.next().map_or(Ok(updated_at), |t| time(digits(t)?))?;
                    // One stands for all where they are the same.
                    expiry = expires.next().unwrap_or(expiry);
                    let expires_at = expires_at(digits(expiry)?)?;
                    Ok(Written { version, created_at, updated_at, expires_at })
                });
                written.collect()
            }
            "conflict" => {
                let put = &puts[reply.place(puts.len())?];
                Err(conflict::stale_version(&put.key, Some(reply.number()?)))
            }
            other => Err(unknown_outcome(other)),
        }
    }

    async fn get(&self, scope: &Scope, request: &Get) -> Result<Option<Entry>> {
        let keys = vec![request.key.clone()];
        let texts = self.texts(scope, &GetMany { keys, extend: request.extend }).await?;
        let text = texts.into_iter().next().flatten();
        text.map(|text| entry(request.key.clone(), text)).transpose()
    }

    async fn get_many(&self, scope: &Scope, request: &GetMany) -> Result<Vec<Entry>> {
        let texts = self.texts(scope, request).await?;
        let found = request.keys.iter().zip(texts).filter_map(|(key, text)| Some((key, text?)));
        found.map(|(key, text)| entry(key.clone(), text)).collect()
    }

    async fn delete(&self, scope: &Scope, request: &Delete) -> Result<bool> {
        let keys = self.0.keys(scope);
        let names = [keys.entry(&request.key), keys.working(), keys.expiries()];
        let version = request.if_version.map(version_text).unwrap_or_default();
        let answer = self.0.run(&DELETE, &names, |call| {
            call.arg(&request.key).arg(version);
        });
        let mut reply = Reply::new(answer.await?)?;
        match reply.text()?.as_str() {
            "ok" => Ok(reply.number::<u64>()? == 1),
            "conflict" => Err(conflict::stale_version(&request.key, Some(reply.number()?))),
            other => Err(unknown_outcome(other)),
        }
    }

    async fn list(&self, scope: &Scope, request: &ListEntries) -> Result<Page<Entry>> {
        let keys = self.0.keys(scope);
        // A position before the prefix is one of a listing by another prefix.
        let position = request.page.position(op::LIST_ENTRIES)?;
        let from =
            match position.filter(|position| position.as_bytes() >= request.prefix.as_bytes()) {
                Some(position) => format!("({position}"),
                None => format!("[{}", request.prefix),
            };
        // No UTF-8 text holds the byte 255, so nothing with the prefix is greater than this.
        let to = [b"(", request.prefix.as_bytes(), b"\xff"].concat();
        let names = [keys.working(), keys.expiries()];
        let answer = self.0.run(&LIST, &names, |call| {
            call.arg(keys.entry("")).arg(from).arg(to).arg(request.page.limit + 1);
            call.arg(Limits::CONTRACT.batch_bytes);
        });
        let mut reply = Reply::new(answer.await?)?;
        let mut page = EntryPage::new(request.page.limit);
        while !reply.is_empty() {
            let (key, text) = (reply.text()?, reply.bytes()?);
            if !page.takes(text.len()) {
                break;
            }
            page.push(entry(key, text)?);
        }
        Ok(page.finish())
    }

    async fn increment(&self, scope: &Scope, request: &Increment) -> Result<Incremented> {
        let keys = self.0.keys(scope);
        let names = [
            keys.versions(),
            keys.working(),
            keys.expiries(),
            keys.entry(&request.key),
            keys.scratch(),
        ];
        let written = self.0.write(scope, &INCREMENT, &names, |call| {
            call.arg(&request.key).arg(request.by).arg(millis(request.initial_ttl));
        });
        let (outcome, mut reply) = written.await?;
        match outcome.as_str() {
            "ok" => Ok(Incremented {
                value: reply.number()?,
                written: Written {
                    version: reply.number()?,
                    updated_at: reply.time()?,
                    created_at: reply.time()?,
                    expires_at: expires_at(reply.number()?)?,
                },
            }),
            "no_integer" => Err(conflict::not_an_integer(request)),
            "overflow" => Err(conflict::counter_overflow(request)),
            other => Err(unknown_outcome(other)),
        }
    }

    async fn clear(&self, scope: &Scope) -> Result<u64> {
        let keys = self.0.keys(scope);
        let names = [keys.working(), keys.expiries()];
        let answer = self.0.run(&CLEAR, &names, |call| {
            call.arg(keys.entry(""));
        });
        codec::number(&answer.await?)
    }

    async fn restore(&self, scope: &Scope, request: &RestoreEntries) -> Result<Restored> {
        let entries = &request.entries;
        let keys = self.0.keys(scope);
        let start = keys.entry("").len();
        let mut names = vec![keys.versions(), keys.working(), keys.expiries()];
        names.extend(entries.iter().map(|entry| keys.entry(&entry.key)));
        let highest = entries.iter().map(|entry| entry.version).max().unwrap_or_default();
        let mut texts: Vec<Vec<u8>> = entries.iter().map(entry_text).collect::<Result<_>>()?;
        loop {
            let written = self.0.write(scope, &RESTORE, &names, |call| {
                call.arg(start).arg(i32::from(request.overwrite)).arg(highest).arg(&texts);
            });
            let (outcome, mut reply) = written.await?;
            match outcome.as_str() {
                "ok" => return Ok(Restored::of(entries.len(), reply.number()?)),
                // Values may be identical and their texts not, as the members of objects have no
                // order: then what is there counts as what was to be put back.
                "differs" => {
                    while !reply.is_empty() {
                        let (at, text) = (reply.place(entries.len())?, reply.bytes()?);
                        let held = entry(entries[at].key.clone(), text.clone())?;
                        if request.must_write(&entries[at], Some(&held))? {
                            return Err(RestoreEntries::differs(&held));
                        }
                        texts[at] = text;
                    }
                }
                other => return Err(unknown_outcome(other)),
            }
        }
    }

    async fn statistics(&self, scope: &Scope) -> Result<WorkingStatistics> {
        let keys = self.0.keys(scope);
        let answer = self.0.run(&STATISTICS, &[keys.working(), keys.expiries()], |_| ()).await?;
        let mut reply = Reply::new(answer)?;
        Ok(WorkingStatistics { entries: reply.number()?, expiring: reply.number()? })
    }
}

impl Working {
    /// The stored texts of entries, none for keys that do not exist.
    async fn texts(&self, scope: &Scope, request: &GetMany) -> Result<Vec<Option<Vec<u8>>>> {
        let GetMany { keys: wanted, extend } = request;
        let keys = self.0.keys(scope);
        let names: Vec<String> = wanted.iter().map(|key| keys.entry(key)).collect();
        let limits = Limits::CONTRACT;
        // That of the values; metadata and the beginning of each text do not count.
        let most = limits.batch_bytes + names.len() * (limits.metadata_bytes + HEAD_BYTES);
        let answer = match (extend, names.as_slice()) {
            (Some(_), _) => {
                let names = [vec![keys.expiries()], names].concat();
                let call = self.0.run(&GET_EXTENDING, &names, |call| {
                    call.arg(millis(*extend)).arg(most).arg(wanted);
                });
                call.await?
            }
            (None, [name]) => {
                let mut command = redis::cmd("GET");
                command.arg(name);
                Value::Array(vec![self.0.connection.read(name, &command).await?])
            }
            (None, [name, ..]) if names.len() * limits.value_bytes <= limits.batch_bytes => {
                let mut command = redis::cmd("MGET");
                command.arg(&names);
                self.0.connection.read(name, &command).await?
            }
            (None, _) => {
                let call = self.0.run(&GET_MANY, &names, |call| {
                    call.arg(most);
                });
                call.await?
            }
        };
        let Value::Array(texts) = answer else {
            request.check_answer(usize::MAX)?;
            return Err(unreadable("an answer"));
        };
        let mut reply = Reply::new(Value::Array(texts))?;
        wanted.iter().map(|_| reply.maybe_bytes()).collect()
    }
}

/// More than an entry's text has before its metadata.
const HEAD_BYTES: usize = 64;

fn condition(condition: PutCondition) -> String {
    match condition {
        PutCondition::Always => String::new(),
        PutCondition::IfAbsent => "absent".into(),
        PutCondition::IfVersion(version) => version_text(version),
    }
}

/// A version as entries have it.
fn version_text(version: u64) -> String {
    format!("{version:016}")
}

/// Whole milliseconds, rounded up; empty for none.
fn millis(duration: Option<Duration>) -> String {
    duration.map(|d| d.as_nanos().div_ceil(1_000_000).to_string()).unwrap_or_default()
}

/// Metadata and value as the scripts keep them: compact JSON holds no raw line break.
fn body(put: &Put) -> Result<Vec<u8>> {
    let mut body = Vec::with_capacity(128);
    write_body(&mut body, &put.metadata, &put.value)?;
    Ok(body)
}

fn write_body(out: &mut Vec<u8>, metadata: &Object, value: &WorkingValue) -> Result<()> {
    if !metadata.is_empty() {
        write_json(out, metadata)?;
    }
    out.push(b'\n');
    match value {
        WorkingValue::Json(value) => write_json(out, value),
        WorkingValue::Bytes(bytes) => {
            out.reserve_exact(1 + bytes.len());
            out.push(BYTES);
            out.extend_from_slice(bytes);
            Ok(())
        }
    }
}

fn write_json(out: &mut Vec<u8>, value: &impl serde::Serialize) -> Result<()> {
    serde_json::to_writer(out, value).map_err(|error| Error::internal(error.to_string()))
}

/// An entry as the scripts keep it; see `lua/lib/entry.lua`.
fn entry_text(entry: &Entry) -> Result<Vec<u8>> {
    let millis = |time: Timestamp| time.as_millis();
    let mut out = format!(
        "{:015} {} {} {} ",
        // 0 would be never.
        entry.expires_at.map_or(0, |time| millis(time).max(1)),
        version_text(entry.version),
        millis(entry.created_at),
        millis(entry.updated_at)
    )
    .into_bytes();
    write_body(&mut out, &entry.metadata, &entry.value)?;
    Ok(out)
}

/// What the value of an entry begins with where it is bytes.
const BYTES: u8 = 0;

/// Reads an entry as the scripts keep it; see `lua/lib/entry.lua`.
fn entry(key: String, mut text: Vec<u8>) -> Result<Entry> {
    let broken = || unreadable("an entry");
    let end = text.iter().position(|byte| *byte == b'\n').ok_or_else(broken)?;
    let value = match text.get(end + 1..).unwrap_or_default() {
        [BYTES, bytes @ ..] => WorkingValue::Bytes(bytes.to_vec()),
        json => WorkingValue::Json(json::parse(str::from_utf8(json).map_err(|_| broken())?)?),
    };
    text.truncate(end);
    let head = String::from_utf8(text).map_err(|_| broken())?;
    let mut parts = head.splitn(5, ' ');
    let mut number = || -> Result<u64> { digits(parts.next().unwrap_or_default()) };
    let (expires, version, created, updated) = (number()?, number()?, number()?, number()?);
    let metadata = match parts.next().unwrap_or_default() {
        "" => Object::new(),
        metadata => json::parse(metadata)?,
    };
    Ok(Entry {
        key,
        value,
        metadata,
        version,
        created_at: time(created)?,
        updated_at: time(updated)?,
        expires_at: expires_at(expires)?,
    })
}

fn digits(text: &str) -> Result<u64> {
    text.parse().map_err(|_| unreadable("an entry"))
}

/// 0 stands for never.
fn expires_at(millis: u64) -> Result<Option<Timestamp>> {
    (millis > 0).then(|| time(millis)).transpose()
}

fn time(millis: u64) -> Result<Timestamp> {
    let millis = i64::try_from(millis).map_err(|_| unreadable("a time"))?;
    Timestamp::from_millis(millis).map_err(|_| unreadable("a time"))
}
