//! Storing records and putting them back, and telling truly what it did (V1, V14).
//!
//! Each round reads what is there, writes what differs under the condition that it is still so, and
//! reads who won. What others changed in between is tried again. So a record is written by one of
//! many writers of the same, and the others find it unchanged. A record remembers the last versions
//! that it replaced, by which a writer that was overtaken before it looked knows that it had won.
//! One whose record was deleted before it looked cannot know, and stores it anew.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use memquill_core::{
    EmbeddingSpace, Error, Outcome, Record, RestoreRecords, Restored, Result, Scope, StoreRecords,
    StoredRecord, Timestamp,
};
use prost::Message as _;
use qdrant_client::qdrant::{Condition, Filter, PointStruct, UpdateMode, UpsertPoints};

use super::fields;
use crate::backend::{AT_ONCE, Store};
use crate::bindings::{Binding, strong};
use crate::error::{applied, applied_if};
use crate::filter;
use crate::layout::{self, Namespace, Place, field};
use crate::payload::{self, Payload};
use crate::record::{Draft, Times, point};
use crate::transport::or_empty;

/// Rounds before a writer gives up against others who change the same records.
pub(super) const ROUNDS: usize = 100;

/// How long a writer leaves a record to the deleter that marked it, and between two looks at it.
const DELETING: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// How many versions a record remembers that it replaced: a writer who finds another's version looks
/// for its own among them, and so knows that it was written and overtaken.
const HISTORY: usize = 4;

/// Points in one request, and bytes, far below what servers take (32 MiB).
const POINTS: usize = 250;
const BYTES: usize = 8 << 20;

/// Records of a namespace that are to be written.
struct Batch<'a> {
    scope: &'a Scope,
    name: &'a str,
    namespace: Namespace,
    space: &'a EmbeddingSpace,
    /// The request, if they are put back.
    restore: Option<&'a RestoreRecords>,
}

/// A record that is to be written.
struct Task<'a> {
    draft: Draft<'a>,
    when: When,
    /// The versions under which it was written in rounds before, and what that came to.
    written: Vec<(String, StoredRecord)>,
    /// The deletion that it waits for, by its version, and since when.
    awaits: Option<(String, Instant)>,
}

/// What a record's times are to be.
enum When {
    /// Those of the writing, and it expires after so long.
    Now(Option<Duration>),
    /// Those that another store gave.
    Then(Times),
}

/// What is there of a record, dead or alive.
struct Head {
    times: Times,
    version: String,
    /// Those that it replaced, the newest first.
    before: Vec<String>,
    fingerprint: String,
    /// When somebody took hold of it.
    taken: Option<Timestamp>,
    /// Whether it is no longer at its place, since a deleter is about to remove and count it.
    leaving: bool,
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
            taken: payload::get_moment(fields, field::TAKEN)?,
            leaving: place == filter::NOWHERE,
        })
    }

    fn is_living(&self, now: Timestamp) -> bool {
        !self.leaving && self.times.expires.is_none_or(|expires| expires > now)
    }

    /// Whether the deleter that is about to remove it may yet do so.
    fn is_leaving(&self, now: Timestamp) -> bool {
        self.leaving && self.taken.is_some_and(|taken| taken.saturating_add(DELETING) > now)
    }

    /// What a version that replaces it has replaced.
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

    /// Puts records back (V14).
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

    /// Writes all, and says by their ids what it came to.
    async fn write_batch<'a>(
        &self,
        batch: &Batch<'a>,
        mut tasks: Vec<Task<'a>>,
    ) -> Result<HashMap<String, StoredRecord>> {
        let mut done = HashMap::with_capacity(tasks.len());
        let mut rounds = 0;
        while rounds < ROUNDS {
            let round = self.round(batch, tasks, &mut done).await.map_err(applied_if(rounds > 0));
            let (again, wrote) = round?;
            tasks = again;
            if tasks.is_empty() {
                return Ok(done);
            }
            // One that only waited for deleters is none.
            rounds += usize::from(wrote);
        }
        Err(contended())
    }

    /// One round; gives what others came in between of, and whether anything was written.
    async fn round<'a>(
        &self,
        batch: &Batch<'a>,
        tasks: Vec<Task<'a>>,
        done: &mut HashMap<String, StoredRecord>,
    ) -> Result<(Vec<Task<'a>>, bool)> {
        let (binding, heads) = self.bound_heads(batch, &tasks).await?;
        self.ensure_collection(batch.space.dimensions).await?;
        let place = self.place(&batch.namespace, &binding);
        let now = crate::backend::now();
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
            tokio::time::sleep(PAUSE).await;
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

    /// The namespace's bond, and what is there of the records. Both are asked for at once, where the
    /// bond that is remembered is still the namespace's.
    async fn bound_heads(
        &self,
        batch: &Batch<'_>,
        tasks: &[Task<'_>],
    ) -> Result<(Binding, HashMap<String, Head>)> {
        let ids = || tasks.iter().map(|task| &task.draft.id);
        let namespace = &batch.namespace;
        let remembered = self.remembered(namespace);
        let early = async {
            match &remembered {
                Some(known) => self.heads(&self.place(namespace, known), ids()).await.map(Some),
                None => Ok(None),
            }
        };
        let (binding, early) = tokio::try_join!(self.bound(batch), early)?;
        let heads = match early {
            Some(heads) if remembered.is_some_and(|known| known.is_at(&binding)) => heads,
            _ => self.heads(&self.place(namespace, &binding), ids()).await?,
        };
        Ok((binding, heads))
    }

    /// The namespace's bond, made now if there is none; another space's is `Conflict` (V3).
    async fn bound(&self, batch: &Batch<'_>) -> Result<Binding> {
        let Batch { scope, name, namespace, space, .. } = batch;
        let binding = if let Some(binding) = self.writable(namespace).await? {
            binding
        } else {
            self.ensure_collection(space.dimensions).await?;
            let binding = self.registry().bind(scope, name, space).await?;
            self.remember(namespace, Some(&binding));
            binding
        };
        if binding.space == **space {
            return Ok(binding);
        }
        Err(other_space(name, &binding.space, space))
    }

    /// What is there of these records, dead or alive.
    async fn heads(
        &self,
        place: &Place,
        ids: impl Iterator<Item = &String>,
    ) -> Result<HashMap<String, Head>> {
        let points = self.points(place, ids, Some(fields(field::HEAD)), None).await;
        let mut heads = HashMap::new();
        for point in or_empty(points)? {
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
                self.transport.upsert(UpsertPoints {
                    collection_name: collection.to_owned(),
                    wait: Some(true),
                    points,
                    ordering: Some(strong()),
                    update_filter: filter.clone(),
                    update_mode: Some(mode.into()),
                    ..UpsertPoints::default()
                })
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
            .map_err(applied_if(several))
    }

    /// Reads who won, or won and was overtaken. Where the bond was changed meanwhile, nothing counts
    /// as written.
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
            // The namespace's records are somewhere else: what was written belongs to nobody.
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

/// Others have been in between too often.
pub(super) fn contended() -> Error {
    Error::unavailable("others keep changing the same records")
        .with_maybe_applied(true)
        .with_hint("repeat the call")
}

impl<'a> Task<'a> {
    fn new(draft: Draft<'a>, when: When) -> Self {
        Self { draft, when, written: Vec::new(), awaits: None }
    }

    /// Whether to wait for a deleter, and no longer than one takes by this process's own clock: that
    /// of the deleter may be ahead.
    fn waits_for(&mut self, head: &Head, now: Timestamp) -> bool {
        if !head.is_leaving(now) {
            return false;
        }
        match &self.awaits {
            Some((version, since)) if *version == head.version => since.elapsed() < DELETING,
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

    /// What writing comes to where a living record makes it needless: because it is the same, or
    /// was written in a round before.
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

/// `Conflict` that names both spaces (V3).
pub(super) fn other_space(
    namespace: &str,
    bound: &EmbeddingSpace,
    given: &EmbeddingSpace,
) -> Error {
    Error::conflict(format!(
        "the namespace {namespace:?} is bound to the embedding space {bound}, not to {given}"
    ))
    .with_hint("embed with the model of the namespace, or delete the namespace as a whole")
}

/// Points in parts of bounded number and size.
fn parts(points: Vec<PointStruct>) -> Vec<Vec<PointStruct>> {
    let mut parts: Vec<Vec<PointStruct>> = Vec::new();
    let mut bytes = 0;
    for point in points {
        let size = point.encoded_len();
        match parts.last_mut() {
            Some(part) if part.len() < POINTS && bytes + size <= BYTES => part.push(point),
            _ => {
                bytes = 0;
                parts.push(vec![point]);
            }
        }
        bytes += size;
    }
    parts
}
