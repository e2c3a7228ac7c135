//! Storing and restoring records, with a true outcome for each (V1, V14).
//!
//! Each round reads what exists, writes what differs on the condition that it is still the same, and
//! reads who won. What a concurrent call changed is tried again. So of many writers of the same
//! record one writes it, and the others find it unchanged. A record remembers the last versions that
//! it replaced, by which a writer that was overtaken before it looked knows that it had won. One
//! whose record was deleted before it looked cannot know, and stores it again.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use memquill_core::{
    EmbeddingSpace, Error, Outcome, Record, RestoreRecords, Restored, Result, Scope, StoreRecords,
    StoredRecord, Timestamp, conflict,
};
use prost::Message as _;
use qdrant_client::qdrant::{Condition, Filter, PointStruct, UpdateMode};

use super::fields;
use crate::bindings::Binding;
use crate::codec::payload::{self, Payload};
use crate::codec::{Draft, Times, point};
use crate::error::{applied, applied_if};
use crate::filter;
use crate::layout::{self, Namespace, Place, field};
use crate::store::{MAX_CONCURRENT_REQUESTS, Store};
use crate::transport::Write;

/// Attempts before a call gives up against others that change the same records.
pub(super) const MAX_ATTEMPTS: usize = 100;

/// How long a writer waits for the deleter that marked a record, and how often it looks.
const DELETION_WAIT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Versions that a record remembers to have replaced: a writer who finds another's version looks for
/// its own among them, and so knows that it was written and overtaken.
const HISTORY: usize = 4;

/// Points and bytes in one request at most; servers take 32 MiB.
const MAX_POINTS: usize = 250;
const MAX_BYTES: usize = 8 << 20;

/// Records of a namespace that are to be written.
struct Batch<'a> {
    scope: &'a Scope,
    name: &'a str,
    namespace: Namespace,
    space: &'a EmbeddingSpace,
    /// The request, if they are restored.
    restore: Option<&'a RestoreRecords>,
}

/// A record that is to be written.
struct Task<'a> {
    draft: Draft<'a>,
    when: When,
    /// The versions under which it was written in rounds before, and what that came to.
    written: Vec<(String, StoredRecord)>,
    /// The version of the deletion that it waits for, and since when.
    awaits: Option<(String, Instant)>,
}

/// Where a record's times come from.
enum When {
    /// The time of the write; it expires this long after.
    Now(Option<Duration>),
    /// The times that another store gave.
    Then(Times),
}

/// What is stored of a record, living or not.
struct Head {
    times: Times,
    version: String,
    /// Those that it replaced, the newest first.
    before: Vec<String>,
    fingerprint: String,
    /// When somebody claimed it.
    claimed: Option<Timestamp>,
    /// Whether a deleter has marked it, and is about to remove and count it.
    deleted: bool,
}

impl Head {
    fn of(fields: &Payload) -> Result<Self> {
        let place = payload::need_text(fields, field::PLACE)?;
        Ok(Self {
            times: Times {
                created: payload::need_moment(fields, field::CREATED)?,
                updated: payload::need_moment(fields, field::UPDATED)?,
                expires: payload::get_moment(fields, field::EXPIRES)?,
            },
            version: payload::need_text(fields, field::VERSION)?.to_owned(),
            before: before(fields),
            fingerprint: payload::need_text(fields, field::FINGERPRINT)?.to_owned(),
            claimed: payload::get_moment(fields, field::CLAIMED)?,
            deleted: place == filter::DELETED,
        })
    }

    fn is_living(&self, now: Timestamp) -> bool {
        !self.deleted && self.times.expires.is_none_or(|expires| expires > now)
    }

    /// Whether the deleter that is about to remove it may still do so. The clocks of the two may
    /// differ, so this says only that it did not die long ago.
    fn is_being_deleted(&self, now: Timestamp) -> bool {
        let died = |at: Timestamp| at.saturating_add(filter::DELETION_TIMEOUT) <= now;
        self.deleted && !self.claimed.is_some_and(died)
    }

    /// The versions that a version which replaces it has replaced.
    fn history(&self) -> Vec<String> {
        let all = std::iter::once(&self.version).chain(&self.before);
        all.take(HISTORY).cloned().collect()
    }
}

fn before(fields: &Payload) -> Vec<String> {
    payload::get_texts(fields, field::BEFORE).into_iter().map(str::to_owned).collect()
}

impl Store {
    pub(super) async fn store_records(
        &self,
        scope: &Scope,
        request: &StoreRecords,
    ) -> Result<Vec<StoredRecord>> {
        let batch = Batch {
            scope,
            name: &request.namespace,
            namespace: Namespace::of(scope, &request.namespace),
            space: &request.space,
            restore: None,
        };
        let mut tasks = Vec::with_capacity(request.records.len());
        let mut order = Vec::with_capacity(request.records.len());
        let mut seen = HashSet::new();
        for record in &request.records {
            let task = Task::new(Draft::new(record), When::Now(record.ttl));
            order.push(task.draft.id.clone());
            if seen.insert(task.draft.id.clone()) {
                tasks.push(task);
            }
        }
        let done = self.write_batch(&batch, tasks).await?;
        Ok(order.iter().filter_map(|id| done.get(id).cloned()).collect())
    }

    /// Restores records (V14).
    pub(super) async fn restore_records(
        &self,
        scope: &Scope,
        request: &RestoreRecords,
    ) -> Result<Restored> {
        let batch = Batch {
            scope,
            name: &request.namespace,
            namespace: Namespace::of(scope, &request.namespace),
            space: &request.space,
            restore: Some(request),
        };
        let tasks = request.records.iter().map(Task::restored).collect();
        let done = self.write_batch(&batch, tasks).await?;
        let written = done.values().filter(|stored| stored.outcome != Outcome::Unchanged).count();
        Ok(Restored::of(request.records.len(), written))
    }

    /// Writes all, and returns the outcomes by id.
    async fn write_batch<'a>(
        &self,
        batch: &Batch<'a>,
        mut tasks: Vec<Task<'a>>,
    ) -> Result<HashMap<String, StoredRecord>> {
        let mut done = HashMap::with_capacity(tasks.len());
        let mut rounds = 0;
        while rounds < MAX_ATTEMPTS {
            let round = self.round(batch, tasks, &mut done).await.map_err(applied_if(rounds > 0));
            let (again, wrote) = round?;
            tasks = again;
            if tasks.is_empty() {
                return Ok(done);
            }
            // One that only waited for deleters does not count.
            rounds += usize::from(wrote);
        }
        Err(contended())
    }

    /// Does one round; returns the tasks that a concurrent call made void, and whether anything was
    /// written.
    async fn round<'a>(
        &self,
        batch: &Batch<'a>,
        tasks: Vec<Task<'a>>,
        done: &mut HashMap<String, StoredRecord>,
    ) -> Result<(Vec<Task<'a>>, bool)> {
        let (binding, heads) = self.bound_heads(batch, &tasks).await?;
        self.ensure_collection(batch.space.dimensions).await?;
        let place = self.place(&batch.namespace, &binding);
        let now = crate::store::now();
        let version = layout::token();
        let (mut written, mut inserts, mut changes, mut seen) = (vec![], vec![], vec![], vec![]);
        let mut again = Vec::new();
        for mut task in tasks {
            let head = heads.get(&task.draft.id);
            if head.is_some_and(|head| task.waits_for(head, now)) {
                again.push(task);
                continue;
            }
            let living = head.filter(|head| head.is_living(now));
            if let Some(stored) = living.and_then(|head| task.is_done(head)) {
                done.insert(task.draft.id, stored);
                continue;
            }
            if let (Some(_), Some(request)) = (living, batch.restore)
                && !request.overwrite
            {
                return Err(request.differs(&task.draft.id));
            }
            let times = task.times(living, now);
            let mut point = point(&place, batch.scope.user(), &task.draft, times, &version);
            if let Some(living) = living {
                let history = payload::texts(living.history());
                point.payload.insert(field::BEFORE.to_owned(), history);
            }
            match head {
                None => inserts.push(point),
                Some(head) => {
                    seen.push(head.version.clone());
                    changes.push(point);
                }
            }
            let outcome = if living.is_some() { Outcome::Updated } else { Outcome::Inserted };
            task.written.push((version.clone(), task.stored(outcome, times)));
            written.push(task);
        }
        if !again.is_empty() {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        if written.is_empty() {
            return Ok((again, false));
        }
        let has_inserted = !inserts.is_empty();
        self.write(&place.collection, inserts, UpdateMode::InsertOnly, None).await?;
        if !changes.is_empty() {
            let as_seen = Filter::must([Condition::matches(field::VERSION, seen)]);
            self.write(&place.collection, changes, UpdateMode::UpdateOnly, Some(as_seen))
                .await
                .map_err(applied_if(has_inserted))?;
        }
        let confirmed = self.confirm(&batch.namespace, &binding, &version, written, done).await;
        again.extend(confirmed.map_err(applied)?);
        Ok((again, true))
    }

    /// Reads the namespace's binding, and what is stored of the records; both at once, where the
    /// cached binding is still the namespace's.
    async fn bound_heads(
        &self,
        batch: &Batch<'_>,
        tasks: &[Task<'_>],
    ) -> Result<(Binding, HashMap<String, Head>)> {
        let ids = || tasks.iter().map(|task| &task.draft.id);
        let namespace = &batch.namespace;
        let cached = self.cached(namespace);
        let early = async {
            match &cached {
                Some(known) => self.heads(&self.place(namespace, known), ids()).await.map(Some),
                None => Ok(None),
            }
        };
        let (binding, early) = tokio::try_join!(self.bound(batch), early)?;
        let heads = match early {
            Some(heads) if cached.is_some_and(|known| known.is_at(&binding)) => heads,
            _ => self.heads(&self.place(namespace, &binding), ids()).await?,
        };
        Ok((binding, heads))
    }

    /// Reads the namespace's binding, or makes it; another space's is `Conflict` (V3).
    async fn bound(&self, batch: &Batch<'_>) -> Result<Binding> {
        let Batch { scope, name, namespace, space, .. } = batch;
        let binding = if let Some(binding) = self.writable(namespace).await? {
            binding
        } else {
            self.ensure_collection(space.dimensions).await?;
            let binding = self.registry().bind(scope, name, space).await?;
            self.cache(namespace, Some(&binding));
            binding
        };
        if binding.space == **space {
            return Ok(binding);
        }
        Err(conflict::other_space(name, &binding.space, space))
    }

    /// Reads what is stored of these records, living or not.
    async fn heads(
        &self,
        place: &Place,
        ids: impl Iterator<Item = &String> + Clone,
    ) -> Result<HashMap<String, Head>> {
        let head = || self.points(place, ids.clone(), Some(fields(field::HEAD)), None);
        let mut heads = HashMap::new();
        for point in self.read_from(&place.collection, head).await? {
            let id = payload::need_text(&point.payload, field::ID)?.to_owned();
            heads.insert(id, Head::of(&point.payload)?);
        }
        Ok(heads)
    }

    /// Writes points in requests of bounded size, some at once.
    pub(super) async fn write(
        &self,
        collection: &str,
        points: Vec<PointStruct>,
        mode: UpdateMode,
        filter: Option<Filter>,
    ) -> Result<()> {
        let parts = parts(points);
        let several = parts.len() > 1;
        stream::iter(parts)
            .map(|points| {
                self.transport.write(Write::upsert(collection, points, mode, filter.clone()))
            })
            .buffer_unordered(MAX_CONCURRENT_REQUESTS)
            .try_collect()
            .await
            .map_err(applied_if(several))
    }

    /// Reads who won, or won and was overtaken. Where the binding was changed meanwhile, nothing
    /// counts as written.
    async fn confirm<'a>(
        &self,
        namespace: &Namespace,
        binding: &Binding,
        version: &str,
        written: Vec<Task<'a>>,
        done: &mut HashMap<String, StoredRecord>,
    ) -> Result<Vec<Task<'a>>> {
        let place = self.place(namespace, binding);
        let ids = written.iter().map(|task| &task.draft.id);
        let wanted = Some(fields([field::ID, field::VERSION, field::BEFORE]));
        let (points, bound) =
            tokio::try_join!(self.points(&place, ids, wanted, None), self.binding(namespace))?;
        let mut winners = HashSet::with_capacity(points.len());
        for point in &points {
            let last = payload::need_text(&point.payload, field::VERSION)?;
            if last == version || before(&point.payload).iter().any(|before| before == version) {
                winners.insert(payload::need_text(&point.payload, field::ID)?);
            }
        }
        if !bound.as_ref().is_some_and(|bound| bound.is_at(binding)) {
            // The namespace's records are somewhere else, and nobody reads what was written.
            let mine = filter::is(field::VERSION, version);
            self.remove(&place.collection, Filter::must([mine])).await?;
        }
        let bound = bound.is_some_and(|bound| bound.token == binding.token);
        let mut again = Vec::new();
        for mut task in written {
            let won = bound && winners.contains(task.draft.id.as_str());
            match task.written.pop_if(|_| won) {
                Some((_, stored)) => drop(done.insert(task.draft.id, stored)),
                None => again.push(task),
            }
        }
        Ok(again)
    }
}

/// Gives up against concurrent modifications.
pub(super) fn contended() -> Error {
    Error::unavailable("other calls keep changing the same records")
        .with_maybe_applied(true)
        .with_hint("repeat the call")
}

impl<'a> Task<'a> {
    fn new(draft: Draft<'a>, when: When) -> Self {
        Self { draft, when, written: Vec::new(), awaits: None }
    }

    /// Whether to wait for a deleter, for no longer than one takes by this process's own clock.
    fn waits_for(&mut self, head: &Head, now: Timestamp) -> bool {
        if !head.is_being_deleted(now) {
            return false;
        }
        match &self.awaits {
            Some((version, since)) if *version == head.version => since.elapsed() < DELETION_WAIT,
            _ => {
                self.awaits = Some((head.version.clone(), Instant::now()));
                true
            }
        }
    }

    fn restored(record: &'a Record) -> Self {
        let Record { created_at, updated_at, expires_at, .. } = *record;
        let times = Times { created: created_at, updated: updated_at, expires: expires_at };
        Self::new(Draft::restored(record), When::Then(times))
    }

    /// The outcome where a living record makes the write needless: it is the same, or was written in
    /// an earlier round.
    fn is_done(&self, head: &Head) -> Option<StoredRecord> {
        let is_mine = |version: &String| *version == head.version || head.before.contains(version);
        let before = self.written.iter().find(|(version, _)| is_mine(version));
        if let Some((_, stored)) = before {
            return Some(stored.clone());
        }
        let unchanged = head.fingerprint == self.draft.fingerprint
            && match self.when {
                When::Now(ttl) => head.times.expires.is_none() && ttl.is_none(),
                When::Then(times) => head.times == times,
            };
        unchanged.then(|| self.stored(Outcome::Unchanged, head.times))
    }

    /// The record's times, where this one is living.
    fn times(&self, living: Option<&Head>, now: Timestamp) -> Times {
        match self.when {
            When::Then(times) => times,
            When::Now(ttl) => {
                let created = living.map_or(now, |head| head.times.created);
                let expires = ttl.map(|ttl| now.saturating_add(ttl));
                Times { created, updated: now.max(created), expires }
            }
        }
    }

    fn stored(&self, outcome: Outcome, times: Times) -> StoredRecord {
        StoredRecord {
            id: self.draft.id.clone(),
            content_hash: self.draft.content_hash.clone(),
            outcome,
            created_at: times.created,
            updated_at: times.updated,
            expires_at: times.expires,
        }
    }
}

/// Splits points into parts of bounded number and size.
fn parts(points: Vec<PointStruct>) -> Vec<Vec<PointStruct>> {
    let mut parts: Vec<Vec<PointStruct>> = Vec::new();
    let mut bytes = 0;
    for point in points {
        let size = point.encoded_len();
        match parts.last_mut() {
            Some(part) if part.len() < MAX_POINTS && bytes + size <= MAX_BYTES => part.push(point),
            _ => {
                bytes = 0;
                parts.push(vec![point]);
            }
        }
        bytes += size;
    }
    parts
}
