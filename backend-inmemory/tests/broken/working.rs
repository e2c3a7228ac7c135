//! Working memory with faults.

use std::time::Duration;

use memquill_conformance::async_trait;
use memquill_core::{
    Cursor, Delete, Entry, Error, Get, GetMany, Increment, Incremented, ListEntries, Page,
    PageRequest, Put, PutCondition, PutMany, RestoreEntries, Restored, Result, Scope,
    WorkingStatistics, WorkingStore, WorkingValue, Written, operation,
};
use serde_json::Value;

use super::{Broken, Fault, others_turn};

impl Broken {
    async fn read(&self, scope: &Scope, key: &str) -> Result<Option<Entry>> {
        self.working().get(scope, &Get::new(key)).await
    }

    /// The put as the fault has it.
    async fn put_as_told(&self, scope: &Scope, put: &Put) -> Result<Put> {
        let mut put = put.clone();
        match self.fault {
            Fault::IgnoresTtls => put.ttl = None,
            Fault::KeepsOldTtls if put.ttl.is_none() => {
                let before = self.read(scope, &put.key).await?;
                put.ttl = before.and_then(|entry| entry.expires_at).map(|_| memquill_core::MAX_TTL);
            }
            Fault::RoundsLargeIntegers => {
                if let WorkingValue::Json(value) = &mut put.value {
                    round(value);
                }
            }
            Fault::KeepsBytesAsText => {
                if let Some(bytes) = put.value.as_bytes() {
                    put.value = String::from_utf8_lossy(bytes).replace('\0', "").into();
                }
            }
            Fault::RoundsTtls => {
                let whole = |ttl: Duration| {
                    Duration::from_secs(ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0))
                };
                put.ttl = put.ttl.map(whole);
            }
            Fault::PutsForgetCreatedAt if put.condition == PutCondition::Always => {
                self.working().delete(scope, &Delete::new(put.key.clone())).await?;
            }
            Fault::ChecksBeforeItPuts => {
                let before = self.read(scope, &put.key).await?;
                let version = before.map(|entry| entry.version);
                if !put.condition.holds(version) {
                    return Err(Error::conflict("the condition does not hold")
                        .with_hint("read it again")
                        .with_current_version(version.unwrap_or(0)));
                }
                others_turn().await;
                put.condition = PutCondition::Always;
            }
            Fault::RestartsVersions => {
                if let PutCondition::IfVersion(version) = put.condition {
                    let base = self.base(scope, &put.key).await;
                    put.condition = PutCondition::IfVersion(version.saturating_add(base));
                }
            }
            _ => {}
        }
        Ok(put)
    }

    async fn base(&self, scope: &Scope, key: &str) -> u64 {
        let state = self.state.lock().await;
        state.bases.get(&(scope.clone(), key.to_owned())).copied().unwrap_or(0)
    }

    /// Numbers the versions of a key from 1, each time it is created.
    async fn renumber(&self, scope: &Scope, key: &str, began: bool, version: u64) -> u64 {
        if !self.is(Fault::RestartsVersions) {
            return version;
        }
        if began {
            let key = (scope.clone(), key.to_owned());
            self.state.lock().await.bases.insert(key, version - 1);
        }
        version - self.base(scope, key).await
    }

    /// Puts into the stale store, where nothing expires.
    async fn put_stale(&self, scope: &Scope, put: &Put) -> Result<()> {
        let forever = Put { ttl: None, condition: PutCondition::Always, ..put.clone() };
        self.stale_working().put(scope, &forever).await.map(drop)
    }

    async fn put_one(&self, scope: &Scope, put: &Put) -> Result<Written> {
        let began = self.read(scope, &put.key).await?.is_none();
        let put = self.put_as_told(scope, put).await?;
        let mut written = self.working().put(scope, &put).await?;
        self.put_stale(scope, &put).await?;
        written.version = self.renumber(scope, &put.key, began, written.version).await;
        self.note_stored(scope, 1).await;
        Ok(written)
    }

    /// Extends the expiry of what was read, as the fault has it.
    async fn slide(&self, scope: &Scope, entry: &Entry, extend: Duration) -> Result<()> {
        let same = Put {
            metadata: entry.metadata.clone(),
            ..Put::new(entry.key.clone(), entry.value.clone())
        };
        let put = match (self.fault, entry.expires_at) {
            (Fault::SlidesByPutting, Some(_)) => same.with_ttl(memquill_core::MAX_TTL),
            (Fault::SlidesByPutting, None) => same,
            (Fault::SlidesTheEternal, None) => same.with_ttl(extend),
            _ => return Ok(()),
        };
        self.working().put(scope, &put).await.map(drop)
    }

    /// Puts after an increment what the fault leaves of the entry.
    async fn after_increment(
        &self,
        scope: &Scope,
        before: Option<Entry>,
        value: i64,
    ) -> Result<()> {
        let Some(before) = before else { return Ok(()) };
        let put = Put::new(before.key, value);
        let put = match self.fault {
            Fault::IncrementsClearExpiry => Put { metadata: before.metadata, ..put },
            Fault::IncrementsDropMetadata if before.expires_at.is_some() => {
                put.with_ttl(Duration::from_hours(1))
            }
            Fault::IncrementsDropMetadata => put,
            _ => return Ok(()),
        };
        self.working().put(scope, &put).await.map(drop)
    }
}

/// Takes integers through a float and back.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the fault itself")]
fn round(value: &mut Value) {
    match value {
        Value::Number(number) if !number.is_f64() => {
            let float = number.as_f64().unwrap_or(0.0);
            *number = if float < 0.0 { (float as i64).into() } else { (float as u64).into() };
        }
        Value::Array(items) => items.iter_mut().for_each(round),
        Value::Object(object) => object.values_mut().for_each(round),
        _ => {}
    }
}

/// SQL's LIKE.
fn like(text: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|at| like(&text[at..], rest)),
        [first, rest @ ..] => {
            matches!(text, [c, tail @ ..] if (c == first || *first == '_') && like(tail, rest))
        }
    }
}

#[async_trait]
impl WorkingStore for Broken {
    async fn put(&self, scope: &Scope, request: &Put) -> Result<Written> {
        let written = self.put_one(&self.scope(scope), request).await;
        self.report(written)
    }

    async fn put_many(&self, scope: &Scope, request: &PutMany) -> Result<Vec<Written>> {
        let scope = self.scope(scope);
        if self.is(Fault::PutsManyOneByOne) {
            let mut written = Vec::new();
            for put in &request.entries {
                written.push(self.working().put(&scope, put).await?);
                others_turn().await;
            }
            return Ok(written);
        }
        let mut entries = Vec::new();
        for put in &request.entries {
            entries.push(self.put_as_told(&scope, put).await?);
        }
        let written = self.working().put_many(&scope, &PutMany { entries }).await;
        if written.is_ok() {
            for put in &request.entries {
                self.put_stale(&scope, put).await?;
            }
        }
        self.report(written)
    }

    async fn get(&self, scope: &Scope, request: &Get) -> Result<Option<Entry>> {
        if !self.reach()? {
            return Ok(None);
        }
        let scope = self.scope(scope);
        let mut entry = self.working().get(&scope, request).await?;
        if self.is(Fault::RevivesBySliding)
            && let (None, Some(extend)) = (&entry, request.extend)
            && let Some(old) = self.stale_working().get(&scope, request).await?
        {
            let put = Put::new(request.key.clone(), old.value).with_ttl(extend);
            self.working().put(&scope, &put).await?;
            entry = self.working().get(&scope, request).await?;
        }
        if self.is(Fault::ShortensBySliding)
            && let (Some(old), Some(extend)) = (&entry, request.extend)
            && old.expires_at.is_some()
        {
            let put = Put {
                metadata: old.metadata.clone(),
                ..Put::new(old.key.clone(), old.value.clone())
            };
            self.working().put(&scope, &put.with_ttl(extend)).await?;
            entry = self.read(&scope, &request.key).await?;
        }
        if let (Some(found), Some(extend)) = (&entry, request.extend) {
            self.slide(&scope, found, extend).await?;
        }
        if let Some(entry) = &mut entry {
            entry.version = self.renumber(&scope, &request.key, false, entry.version).await;
        }
        Ok(entry)
    }

    async fn get_many(&self, scope: &Scope, request: &GetMany) -> Result<Vec<Entry>> {
        let scope = self.scope(scope);
        if self.is(Fault::ReturnsExpiredEntries) {
            return self.stale_working().get_many(&scope, request).await;
        }
        let mut found = self.working().get_many(&scope, request).await?;
        if self.is(Fault::ReadsManySorted) {
            found.sort_by(|a, b| a.key.cmp(&b.key));
        }
        Ok(found)
    }

    async fn delete(&self, scope: &Scope, request: &Delete) -> Result<bool> {
        let scope = self.scope(scope);
        let base = self.base(&scope, &request.key).await;
        let request = Delete {
            if_version: request.if_version.map(|version| version.saturating_add(base)),
            ..request.clone()
        };
        let request = match self.fault {
            Fault::DeletesAtAnyVersion => Delete::new(request.key),
            _ => request,
        };
        self.stale_working().delete(&scope, &Delete::new(request.key.clone())).await?;
        self.report(self.working().delete(&scope, &request).await)
    }

    async fn list(&self, scope: &Scope, request: &ListEntries) -> Result<Page<Entry>> {
        let scope = self.scope(scope);
        let page = PageRequest::first(10_000);
        let all = |prefix: &str| ListEntries { prefix: prefix.into(), page: page.clone() };
        if self.is(Fault::ListsByPattern) {
            let pattern: Vec<char> = request.prefix.chars().chain(['%']).collect();
            let mut listed = self.working().list(&scope, &all("")).await?;
            listed.items.retain(|e| like(&e.key.chars().collect::<Vec<_>>(), &pattern));
            return Ok(listed);
        }
        if self.is(Fault::PagesByOffset) {
            let listed = self.working().list(&scope, &all(&request.prefix)).await?.items;
            let from = request.page.position(operation::LIST_ENTRIES)?;
            let from: usize = from.and_then(|from| from.parse().ok()).unwrap_or(0);
            let to = from + request.page.limit;
            let next =
                (listed.len() > to).then(|| Cursor::new(operation::LIST_ENTRIES, to.to_string()));
            let items = listed.into_iter().skip(from).take(request.page.limit).collect();
            return Ok(Page { items, next });
        }
        if self.is(Fault::ListsExpired) {
            return self.stale_working().list(&scope, request).await;
        }
        let mut listed = self.working().list(&scope, request).await?;
        if self.is(Fault::ListsDescending) {
            listed.items.reverse();
        }
        Ok(listed)
    }

    async fn increment(&self, scope: &Scope, request: &Increment) -> Result<Incremented> {
        let scope = self.scope(scope);
        if self.is(Fault::ClaimsWhatItRefuses) {
            return Err(Error::unsupported("no counters here"));
        }
        if self.is(Fault::LosesIncrementsToOthers) {
            let before = self.read(&scope, &request.key).await?;
            let value = before.and_then(|entry| entry.value.as_i64()).unwrap_or(0) + request.by;
            others_turn().await;
            let written = self.working().put(&scope, &Put::new(request.key.clone(), value)).await?;
            return Ok(Incremented { value, written });
        }
        let before = self.read(&scope, &request.key).await?;
        let counted = self.working().increment(&scope, request).await;
        if let (Fault::WrapsCounters, Err(_), Some(before)) = (self.fault, &counted, &before)
            && let Some(value) = before.value.as_i64()
        {
            let value = value.wrapping_add(request.by);
            let written = self.working().put(&scope, &Put::new(request.key.clone(), value)).await?;
            return Ok(Incremented { value, written });
        }
        if let Ok(counted) = &counted {
            self.after_increment(&scope, before, counted.value).await?;
        }
        self.report(counted)
    }

    async fn clear(&self, scope: &Scope) -> Result<u64> {
        self.working().clear(&self.scope(scope)).await
    }

    async fn restore(&self, scope: &Scope, request: &RestoreEntries) -> Result<Restored> {
        let scope = self.scope(scope);
        if self.is(Fault::RestoresByPutting) {
            for entry in &request.entries {
                let put = Put {
                    metadata: entry.metadata.clone(),
                    ..Put::new(entry.key.clone(), entry.value.clone())
                };
                self.working().put(&scope, &put).await?;
            }
            return Ok(Restored::of(request.entries.len(), request.entries.len()));
        }
        self.report(self.working().restore(&scope, request).await)
    }

    async fn statistics(&self, scope: &Scope) -> Result<WorkingStatistics> {
        let scope = self.scope(scope);
        if self.is(Fault::CountsExpiredEntries) {
            return self.stale_working().statistics(&scope).await;
        }
        self.working().statistics(&scope).await
    }
}
