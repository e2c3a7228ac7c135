//! Storing records, and telling truly what it did (V1).
//!
//! Each round reads what is there, writes what differs under the condition that it is still so, and
//! reads who won. What others changed in between is tried again. So a record is written by one of
//! many writers of the same, and the others find it unchanged.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use memory_core::{
    EmbeddingSpace, Error, NewRecord, Outcome, Result, Retry, Scope, StoreRecords, StoredRecord,
    Timestamp, content_hash,
};
use prost::Message as _;
use qdrant_client::qdrant::{Condition, Filter, PointStruct, UpdateMode, UpsertPoints};

use super::fields;
use crate::backend::{AT_ONCE, Store};
use crate::bindings::{Binding, strong};
use crate::filter;
use crate::layout::{self, Namespace, Place, field};
use crate::payload::{self, Payload};
use crate::record::{Stamp, fingerprint, point};
use crate::transport::or_empty;

/// Rounds before a writer gives up against others who change the same records.
pub(super) const ROUNDS: usize = 100;

/// How long a writer leaves a record to the deleter that marked it, and between two looks at it.
const DELETING: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// Points in one request, and bytes, far below what servers take (32 MiB).
const POINTS: usize = 250;
const BYTES: usize = 8 << 20;

/// A record that is to be stored.
struct Task<'a> {
    record: &'a NewRecord,
    id: String,
    fingerprint: String,
    /// The versions under which it was written in rounds before, and what that came to.
    written: Vec<(String, StoredRecord)>,
}

/// What is there of a record, dead or alive.
struct Head {
    created: Timestamp,
    updated: Timestamp,
    expires: Option<Timestamp>,
    version: String,
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
            created: payload::need_moment(fields, field::CREATED)?,
            updated: payload::need_moment(fields, field::UPDATED)?,
            expires: payload::get_moment(fields, field::EXPIRES)?,
            version: payload::need_text(fields, field::VERSION)?.to_owned(),
            fingerprint: payload::need_text(fields, field::FINGERPRINT)?.to_owned(),
            taken: payload::get_moment(fields, field::TAKEN)?,
            leaving: place == filter::NOWHERE,
        })
    }

    fn is_living(&self, now: Timestamp) -> bool {
        !self.leaving && self.expires.is_none_or(|expires| expires > now)
    }

    /// Whether the deleter that is about to remove it may yet do so.
    fn is_awaited(&self, now: Timestamp) -> bool {
        self.leaving && self.taken.is_some_and(|taken| taken.saturating_add(DELETING) > now)
    }
}

impl Store {
    pub(super) async fn store_records(
        &self,
        scope: &Scope,
        request: &StoreRecords,
    ) -> Result<Vec<StoredRecord>> {
        let namespace = Namespace::of(scope, &request.namespace);
        let mut tasks: Vec<Task<'_>> = Vec::with_capacity(request.records.len());
        let mut order = Vec::with_capacity(request.records.len());
        let mut seen = HashSet::new();
        for record in &request.records {
            let id = record.identity();
            order.push(id.clone());
            if seen.insert(id.clone()) {
                let fingerprint = fingerprint(record);
                tasks.push(Task { record, id, fingerprint, written: Vec::new() });
            }
        }
        let mut done: HashMap<String, StoredRecord> = HashMap::with_capacity(tasks.len());
        for _ in 0..ROUNDS {
            tasks = self.round(scope, request, &namespace, tasks, &mut done).await?;
            if tasks.is_empty() {
                return Ok(order.iter().filter_map(|id| done.get(id).cloned()).collect());
            }
        }
        Err(contended())
    }

    /// One round; gives what others came in between of.
    async fn round<'a>(
        &self,
        scope: &Scope,
        request: &StoreRecords,
        namespace: &Namespace,
        tasks: Vec<Task<'a>>,
        done: &mut HashMap<String, StoredRecord>,
    ) -> Result<Vec<Task<'a>>> {
        let (binding, heads) = self.bound_heads(scope, request, namespace, &tasks).await?;
        self.ensure_collection(request.space.dimensions).await?;
        let place = self.place(namespace, &binding);
        let now = crate::backend::now();
        let version = layout::token();
        let (mut written, mut inserts, mut changes, mut seen) = (vec![], vec![], vec![], vec![]);
        let mut again = Vec::new();
        for mut task in tasks {
            let head = heads.get(&task.id);
            if head.is_some_and(|head| head.is_awaited(now)) {
                again.push(task);
                continue;
            }
            let living = head.filter(|head| head.is_living(now));
            if let Some(stored) = living.and_then(|head| task.is_done(head)) {
                done.insert(task.id, stored);
                continue;
            }
            let (outcome, created) = match living {
                Some(head) => (Outcome::Updated, head.created),
                None => (Outcome::Inserted, now),
            };
            let expires = task.record.ttl.map(|ttl| now.saturating_add(ttl));
            let updated = now.max(created);
            let stamp = Stamp {
                user: scope.user(),
                created,
                updated,
                expires,
                version: &version,
                fingerprint: &task.fingerprint,
            };
            let point = point(&place, task.record, stamp);
            match head {
                None => inserts.push(point),
                Some(head) => {
                    seen.push(head.version.clone());
                    changes.push(point);
                }
            }
            let stored = task.stored(outcome, created, updated, expires);
            task.written.push((version.clone(), stored));
            written.push(task);
        }
        if !again.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
        if written.is_empty() {
            return Ok(again);
        }
        self.write(&place.collection, inserts, UpdateMode::InsertOnly, None).await?;
        if !changes.is_empty() {
            let as_seen = Filter::must([Condition::matches(field::VERSION, seen)]);
            self.write(&place.collection, changes, UpdateMode::UpdateOnly, Some(as_seen)).await?;
        }
        again.extend(self.confirm(namespace, &binding, &version, written, done).await?);
        Ok(again)
    }

    /// The namespace's bond, and what is there of the records. Both are asked for at once, where the
    /// bond that is remembered is still the namespace's.
    async fn bound_heads(
        &self,
        scope: &Scope,
        request: &StoreRecords,
        namespace: &Namespace,
        tasks: &[Task<'_>],
    ) -> Result<(Binding, HashMap<String, Head>)> {
        let ids = || tasks.iter().map(|task| &task.id);
        let remembered = self.remembered(namespace);
        let early = async {
            match &remembered {
                Some(known) => self.heads(&self.place(namespace, known), ids()).await.map(Some),
                None => Ok(None),
            }
        };
        let (binding, early) = tokio::try_join!(self.bound(scope, request, namespace), early)?;
        let heads = match early {
            Some(heads) if remembered.is_some_and(|known| known.is_at(&binding)) => heads,
            _ => self.heads(&self.place(namespace, &binding), ids()).await?,
        };
        Ok((binding, heads))
    }

    /// The namespace's bond, made now if there is none; another space's is `Conflict` (V3).
    async fn bound(
        &self,
        scope: &Scope,
        request: &StoreRecords,
        namespace: &Namespace,
    ) -> Result<Binding> {
        let binding = if let Some(binding) = self.writable(namespace).await? {
            binding
        } else {
            self.ensure_collection(request.space.dimensions).await?;
            let registry = self.registry();
            let binding = registry.bind(scope, &request.namespace, &request.space).await?;
            self.remember(namespace, Some(&binding));
            binding
        };
        if binding.space == request.space {
            return Ok(binding);
        }
        Err(other_space(&request.namespace, &binding.space, &request.space))
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
        stream::iter(parts(points))
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
    }

    /// Reads who won. Where the bond was changed meanwhile, nothing counts as written.
    async fn confirm<'a>(
        &self,
        namespace: &Namespace,
        binding: &Binding,
        version: &str,
        written: Vec<Task<'a>>,
        done: &mut HashMap<String, StoredRecord>,
    ) -> Result<Vec<Task<'a>>> {
        let place = self.place(namespace, binding);
        let ids = written.iter().map(|task| &task.id);
        let wanted = Some(fields([field::ID, field::VERSION]));
        let (points, bound) =
            tokio::try_join!(self.points(&place, ids, wanted, None), self.binding(namespace))?;
        let mut winners: HashMap<&str, &str> = HashMap::with_capacity(points.len());
        for point in &points {
            let id = payload::need_text(&point.payload, field::ID)?;
            winners.insert(id, payload::need_text(&point.payload, field::VERSION)?);
        }
        if !bound.as_ref().is_some_and(|bound| bound.is_at(binding)) {
            // The namespace's records are somewhere else: what was written belongs to nobody.
            let mine = Condition::matches(field::VERSION, version.to_owned());
            self.remove(&place.collection, Filter::must([mine])).await?;
        }
        let bound = bound.is_some_and(|bound| bound.token == binding.token);
        let mut again = Vec::new();
        for mut task in written {
            let won = bound && winners.get(task.id.as_str()) == Some(&version);
            match task.written.pop_if(|_| won) {
                Some((_, stored)) => drop(done.insert(task.id, stored)),
                None => again.push(task),
            }
        }
        Ok(again)
    }
}

/// Others have been in between too often.
pub(super) fn contended() -> Error {
    Error::conflict("others keep changing the same records")
        .with_retry(Retry::Transient)
        .with_maybe_applied(true)
        .with_hint("repeat the call")
}

impl Task<'_> {
    /// What storing comes to where a living record makes writing needless: because it is the same,
    /// or was written in a round before.
    fn is_done(&self, head: &Head) -> Option<StoredRecord> {
        let before = self.written.iter().find(|(version, _)| *version == head.version);
        if let Some((_, stored)) = before {
            return Some(stored.clone());
        }
        let unchanged = head.expires.is_none()
            && self.record.ttl.is_none()
            && head.fingerprint == self.fingerprint;
        unchanged.then(|| self.stored(Outcome::Unchanged, head.created, head.updated, None))
    }

    fn stored(
        &self,
        outcome: Outcome,
        created_at: Timestamp,
        updated_at: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> StoredRecord {
        StoredRecord {
            id: self.id.clone(),
            content_hash: content_hash(&self.record.content),
            outcome,
            created_at,
            updated_at,
            expires_at,
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
