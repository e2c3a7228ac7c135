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
use crate::layout::{self, Place, field};
use crate::payload::{self, Payload};
use crate::record::{Stamp, fingerprint, point};
use crate::transport::or_empty;

/// Rounds before a writer gives up against others who change the same records.
const ROUNDS: usize = 100;

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
}

/// What is there of a record, dead or alive.
struct Head {
    created: Timestamp,
    updated: Timestamp,
    expires: Option<Timestamp>,
    version: String,
    binding: String,
    fingerprint: String,
    /// When a deleter marked it.
    taken: Option<Timestamp>,
}

impl Head {
    fn of(fields: &Payload) -> Result<Self> {
        Ok(Self {
            created: payload::need_moment(fields, field::CREATED)?,
            updated: payload::need_moment(fields, field::UPDATED)?,
            expires: payload::get_moment(fields, field::EXPIRES)?,
            version: payload::need_text(fields, field::VERSION)?.to_owned(),
            binding: payload::need_text(fields, field::BINDING)?.to_owned(),
            fingerprint: payload::need_text(fields, field::FINGERPRINT)?.to_owned(),
            taken: payload::get_moment(fields, field::TAKEN)?,
        })
    }

    /// Whether it is a record of this bond.
    fn is_living(&self, binding: &Binding, now: Timestamp) -> bool {
        self.taken.is_none()
            && self.binding == binding.token
            && self.expires.is_none_or(|expires| expires > now)
    }

    /// Whether a deleter is about to remove and count it, unless it has died.
    fn is_leaving(&self, now: Timestamp) -> bool {
        self.taken.is_some_and(|taken| taken.saturating_add(DELETING) > now)
    }
}

/// What a write of this round is to come to.
struct Written<'a> {
    task: Task<'a>,
    stored: StoredRecord,
}

impl Store {
    pub(super) async fn store_records(
        &self,
        scope: &Scope,
        request: &StoreRecords,
    ) -> Result<Vec<StoredRecord>> {
        let place = Place::of(scope, &request.namespace);
        let mut tasks: Vec<Task<'_>> = Vec::with_capacity(request.records.len());
        let mut order = Vec::with_capacity(request.records.len());
        let mut seen = HashSet::new();
        for record in &request.records {
            let id = record.identity();
            order.push(id.clone());
            if seen.insert(id.clone()) {
                tasks.push(Task { record, id, fingerprint: fingerprint(record) });
            }
        }
        let mut done: HashMap<String, StoredRecord> = HashMap::with_capacity(tasks.len());
        for _ in 0..ROUNDS {
            tasks = self.round(scope, request, &place, tasks, &mut done).await?;
            if tasks.is_empty() {
                return Ok(order.iter().filter_map(|id| done.get(id).cloned()).collect());
            }
        }
        Err(Error::conflict("others keep changing the same records")
            .with_retry(Retry::Transient)
            .with_maybe_applied(true)
            .with_hint("repeat the call"))
    }

    /// One round; gives what others came in between of.
    async fn round<'a>(
        &self,
        scope: &Scope,
        request: &StoreRecords,
        place: &Place,
        tasks: Vec<Task<'a>>,
        done: &mut HashMap<String, StoredRecord>,
    ) -> Result<Vec<Task<'a>>> {
        let space = &request.space;
        let (binding, heads) = tokio::try_join!(
            self.bound(scope, request, place),
            self.heads(space, place, tasks.iter().map(|task| &task.id)),
        )?;
        self.ensure_space(space).await?;
        let now = crate::backend::now();
        let version = layout::token();
        let (mut written, mut inserts, mut changes, mut seen) = (vec![], vec![], vec![], vec![]);
        let mut again = Vec::new();
        for task in tasks {
            let head = heads.get(&task.id);
            if head.is_some_and(|head| head.is_leaving(now)) {
                again.push(task);
                continue;
            }
            let living = head.filter(|head| head.is_living(&binding, now));
            if let Some(head) = living
                && head.expires.is_none()
                && task.record.ttl.is_none()
                && head.fingerprint == task.fingerprint
            {
                let stored = task.stored(Outcome::Unchanged, head.created, head.updated, None);
                done.insert(task.id.clone(), stored);
                continue;
            }
            let (outcome, created) = match living {
                Some(head) => (Outcome::Updated, head.created),
                None => (Outcome::Inserted, now),
            };
            let expires = task.record.ttl.map(|ttl| now.saturating_add(ttl));
            let updated = now.max(created);
            let stamp = Stamp {
                created,
                updated,
                expires,
                version: &version,
                binding: &binding.token,
                fingerprint: &task.fingerprint,
            };
            let point = point(place, task.record, stamp);
            match head {
                None => inserts.push(point),
                Some(head) => {
                    seen.push(head.version.clone());
                    changes.push(point);
                }
            }
            let stored = task.stored(outcome, created, updated, expires);
            written.push(Written { task, stored });
        }
        if !again.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
        if written.is_empty() {
            return Ok(again);
        }
        let collection = self.collection(space);
        self.write(&collection, inserts, UpdateMode::InsertOnly, None).await?;
        if !changes.is_empty() {
            let as_seen = Filter::must([Condition::matches(field::VERSION, seen)]);
            self.write(&collection, changes, UpdateMode::UpdateOnly, Some(as_seen)).await?;
        }
        again.extend(self.confirm(place, space, &binding, &version, written, done).await?);
        Ok(again)
    }

    /// The namespace's bond, made now if there is none; another space's is `Conflict` (V3).
    async fn bound(&self, scope: &Scope, request: &StoreRecords, place: &Place) -> Result<Binding> {
        let binding = if let Some(binding) = self.binding(place).await? {
            binding
        } else {
            self.ensure_space(&request.space).await?;
            let registry = self.registry();
            let binding = registry.bind(scope, &request.namespace, &request.space).await?;
            self.remember(place, Some(&binding));
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
        space: &EmbeddingSpace,
        place: &Place,
        ids: impl Iterator<Item = &String>,
    ) -> Result<HashMap<String, Head>> {
        let points = self.points(space, place, ids, Some(fields(field::HEAD)), None).await;
        let mut heads = HashMap::new();
        for point in or_empty(points)? {
            let id = payload::need_text(&point.payload, field::ID)?.to_owned();
            heads.insert(id, Head::of(&point.payload)?);
        }
        Ok(heads)
    }

    /// Writes points in requests of bounded size, some at once.
    async fn write(
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

    /// Reads who won. Where the bond was undone meanwhile, nothing counts as written.
    async fn confirm<'a>(
        &self,
        place: &Place,
        space: &EmbeddingSpace,
        binding: &Binding,
        version: &str,
        written: Vec<Written<'a>>,
        done: &mut HashMap<String, StoredRecord>,
    ) -> Result<Vec<Task<'a>>> {
        let ids = written.iter().map(|written| &written.task.id);
        let wanted = Some(fields([field::ID, field::VERSION]));
        let (points, bound) =
            tokio::try_join!(self.points(space, place, ids, wanted, None), self.binding(place),)?;
        let mut winners: HashMap<&str, &str> = HashMap::with_capacity(points.len());
        for point in &points {
            let id = payload::need_text(&point.payload, field::ID)?;
            winners.insert(id, payload::need_text(&point.payload, field::VERSION)?);
        }
        if bound.as_ref().is_some_and(|bound| bound.space != *space) {
            // Another space has the namespace now: what was written belongs to nobody.
            let mine = Condition::matches(field::VERSION, version.to_owned());
            self.remove(&self.collection(space), Filter::must([mine])).await?;
        }
        let bound = bound.as_ref() == Some(binding);
        let mut again = Vec::new();
        for Written { task, stored } in written {
            if bound && winners.get(task.id.as_str()) == Some(&version) {
                done.insert(task.id, stored);
            } else {
                again.push(task);
            }
        }
        Ok(again)
    }
}

impl Task<'_> {
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
