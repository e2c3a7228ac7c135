//! One collection: a shard of Edge and the journal of what is not flushed yet.

use std::collections::HashSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use qdrant_client::qdrant as proto;
use qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use qdrant_edge as edge;
use tonic::Status;

use super::convert::{self, failed};
use super::journal::{Entry, Journal};
use crate::error::NO_ROOM;

type Result<T> = std::result::Result<T, Status>;

/// Points in one part of a walk.
const PART: usize = 1_000;

/// After so many written points or bytes indexes are built and everything is flushed.
const POINTS_UNFLUSHED: usize = 2_000;
const BYTES_UNFLUSHED: u64 = 32 << 20;

/// What must be free on the disk before anything is written: Edge maps its files into memory, and
/// where such a file finds no room the system kills the process (SIGBUS). It is a new part of its
/// log (32 MiB), and what is written until the next flush.
const ROOM: u64 = 128 << 20;

/// How Edge begins its message where a point is not there.
const MISSES_POINT: &str = "No point with id";
/// More than operations can be lost from Edge's own log between two flushes.
const ATTEMPTS: usize = 4 * POINTS_UNFLUSHED;

/// A collection.
///
/// Two locks keep order: `writing` is held by one writer, and by the flush; `applying` exclusively
/// while a write is applied, so that no reader sees a part of it, and shared by readers.
#[derive(Debug)]
pub(super) struct Collection {
    at: PathBuf,
    shard: Arc<edge::EdgeShard>,
    writing: Mutex<Writing>,
    applying: RwLock<()>,
}

#[derive(Debug)]
struct Writing {
    journal: Journal,
    points: usize,
}

fn broken(error: std::io::Error) -> Status {
    Status::internal(format!("the folder cannot be read or written: {error}"))
}

fn has_room(at: &Path) -> Result<()> {
    let free = fs4::available_space(at).map_err(broken)?;
    if free < ROOM {
        let (free, needed) = (free >> 20, ROOM >> 20);
        return Err(Status::internal(format!("{NO_ROOM}: {free} MiB free, {needed} needed")));
    }
    Ok(())
}

/// Edge panics where it cannot write.
fn unless_it_panics<T>(call: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| Status::internal("Edge could not write"))
}

impl Collection {
    /// Makes a collection. Its journal comes last: a folder without one was left by a process that
    /// died over it.
    pub(super) fn create(at: &Path, config: edge::EdgeConfig) -> Result<Self> {
        if at.exists() {
            fs::remove_dir_all(at).map_err(broken)?;
        }
        fs::create_dir_all(at).map_err(broken)?;
        has_room(at)?;
        let shard = edge::EdgeShard::new(at, config).map_err(failed)?;
        shard.flush();
        let (journal, _) = Journal::open(&journal_of(at)).map_err(broken)?;
        Ok(Self::with(shard, journal, at))
    }

    fn with(shard: edge::EdgeShard, journal: Journal, at: &Path) -> Self {
        Self {
            at: at.to_owned(),
            shard: Arc::new(shard),
            writing: Mutex::new(Writing { journal, points: 0 }),
            applying: RwLock::new(()),
        }
    }

    /// Opens a collection and applies what its last process had put down but not flushed.
    pub(super) fn open(at: &Path) -> Result<Self> {
        forget_old_logs(&at.join("wal")).map_err(broken)?;
        let shard = edge::EdgeShard::load(at, None).map_err(failed)?;
        let (journal, entries) = Journal::open(&journal_of(at)).map_err(broken)?;
        if entries.is_empty() {
            return Ok(Self::with(shard, journal, at));
        }
        if let Err(error) = replay(&shard, at, entries) {
            // Not as a collection, whose drop would begin the journal anew.
            let _ = unless_it_panics(|| drop(shard));
            return Err(error);
        }
        let collection = Self::with(shard, journal, at);
        collection.flush()?;
        Ok(collection)
    }

    pub(super) fn vector_size(&self, name: &str) -> Option<u64> {
        self.shard.config().vectors.get(name).map(|params| params.size as u64)
    }

    /// Makes an index, unless it is there.
    pub(super) fn create_index(&self, request: proto::CreateFieldIndexCollection) -> Result<bool> {
        self.write(|| Ok(Some((Entry::CreateIndex(request), 0))))
    }

    /// Writes points, as far as mode and condition let it.
    pub(super) fn upsert(&self, mut request: proto::UpsertPoints) -> Result<bool> {
        let mode = request.update_mode();
        let condition = request.update_filter.take();
        self.write(|| {
            let ids = request.points.iter().map(|point| convert::point_id(point.id.as_ref()));
            let ids: Vec<edge::PointId> = ids.collect::<Result<_>>()?;
            let kept = self.kept(&ids, mode, condition)?;
            let mut keep = ids.iter().map(|id| kept.as_ref().is_none_or(|kept| kept.contains(id)));
            request.points.retain(|_| keep.next().unwrap_or_default());
            request.update_mode = None;
            let points = request.points.len();
            Ok((points > 0).then_some((Entry::Upsert(request), points)))
        })
    }

    /// The points that mode and condition let be written; none where all may.
    fn kept(
        &self,
        ids: &[edge::PointId],
        mode: proto::UpdateMode,
        condition: Option<proto::Filter>,
    ) -> Result<Option<HashSet<edge::PointId>>> {
        if mode == proto::UpdateMode::Upsert && condition.is_none() {
            return Ok(None);
        }
        let no_payload = Some(edge::WithPayloadInterface::Bool(false));
        let there = self.shard.retrieve(ids, no_payload, None).map_err(failed)?;
        let there: HashSet<edge::PointId> = there.into_iter().map(|record| record.id).collect();
        let matching = match condition {
            None => there.clone(),
            Some(condition) => {
                let mut filter = convert::one_filter(condition)?;
                let among = there.iter().copied().collect::<edge::HasIdCondition>();
                filter.must.get_or_insert_default().push(edge::Condition::HasId(among));
                self.matching(&filter)?.into_iter().collect()
            }
        };
        let is_new = |id: &&edge::PointId| !there.contains(*id);
        let new = ids.iter().filter(is_new).copied();
        Ok(Some(match mode {
            proto::UpdateMode::InsertOnly => new.collect(),
            proto::UpdateMode::UpdateOnly => matching,
            proto::UpdateMode::Upsert => new.chain(matching).collect(),
        }))
    }

    /// Sets fields of the selected points.
    pub(super) fn set_payload(&self, mut request: proto::SetPayloadPoints) -> Result<bool> {
        self.write(|| {
            let ids = self.selected(request.points_selector.take())?;
            let points = ids.len();
            request.points_selector = Some(named(ids));
            Ok((points > 0).then_some((Entry::SetPayload(request), points)))
        })
    }

    /// Deletes the selected points.
    pub(super) fn delete(&self, mut request: proto::DeletePoints) -> Result<bool> {
        self.write(|| {
            let ids = self.selected(request.points.take())?;
            let points = ids.len();
            request.points = Some(named(ids));
            Ok((points > 0).then_some((Entry::Delete(request), points)))
        })
    }

    /// Resolves a write to the points it is about, puts it down and applies it. Says whether it is
    /// time to flush.
    fn write(&self, resolve: impl FnOnce() -> Result<Option<(Entry, usize)>>) -> Result<bool> {
        let mut writing = self.writing.lock();
        let Some((entry, points)) = resolve()? else { return Ok(false) };
        has_room(&self.at)?;
        let before = writing.journal.bytes();
        writing.journal.append(&entry).map_err(broken)?;
        let applied = {
            let _applying = self.applying.write();
            apply(&self.shard, entry)
        };
        if let Err(error) = applied {
            // It is told as failed, so it must not come back.
            writing.journal.truncate(before).map_err(broken)?;
            return Err(error);
        }
        writing.points += points;
        Ok(writing.points >= POINTS_UNFLUSHED || writing.journal.bytes() >= BYTES_UNFLUSHED)
    }

    fn selected(&self, selector: Option<proto::PointsSelector>) -> Result<Vec<edge::PointId>> {
        match selector.and_then(|selector| selector.points_selector_one_of) {
            Some(PointsSelectorOneOf::Points(ids)) => convert::point_ids(&ids.ids),
            Some(PointsSelectorOneOf::Filter(filter)) => {
                self.matching(&convert::one_filter(filter)?)
            }
            None => Err(Status::invalid_argument("the request selects no points")),
        }
    }

    /// All points that match.
    fn matching(&self, filter: &edge::Filter) -> Result<Vec<edge::PointId>> {
        let mut ids = Vec::new();
        let mut offset = None;
        loop {
            let request = edge::ScrollRequest {
                offset,
                limit: Some(PART),
                filter: Some(filter.clone()),
                with_payload: Some(edge::WithPayloadInterface::Bool(false)),
                ..edge::ScrollRequest::default()
            };
            let (part, next) = self.shard.scroll(request).map_err(failed)?;
            ids.extend(part.into_iter().map(|record| record.id));
            match next {
                Some(next) => offset = Some(next),
                None => return Ok(ids),
            }
        }
    }

    /// Builds indexes, while others read and write; then flushes, while others read.
    pub(super) fn optimize(&self) -> Result<()> {
        has_room(&self.at)?;
        unless_it_panics(|| self.shard.optimize())?.map_err(failed)?;
        self.flush()
    }

    /// Brings everything to disk and begins the journal anew.
    pub(super) fn flush(&self) -> Result<()> {
        let mut writing = self.writing.lock();
        unless_it_panics(|| self.shard.flush())?;
        writing.points = 0;
        writing.journal.truncate(0).map_err(broken)
    }

    pub(super) fn get(&self, request: proto::GetPoints) -> Result<Vec<proto::RetrievedPoint>> {
        let ids = convert::point_ids(&request.ids)?;
        let payload = convert::with_payload(request.with_payload)?;
        let vectors = convert::with_vectors(request.with_vectors);
        let _reading = self.applying.read();
        let records = self.shard.retrieve(&ids, Some(payload), Some(vectors)).map_err(failed)?;
        Ok(records.into_iter().map(convert::retrieved).collect())
    }

    pub(super) fn scroll(&self, request: proto::ScrollPoints) -> Result<proto::ScrollResponse> {
        let offset = request.offset.as_ref();
        let scroll = edge::ScrollRequest {
            offset: offset.map(|id| convert::point_id(Some(id))).transpose()?,
            limit: request.limit.map(|limit| limit as usize),
            filter: convert::filter(request.filter)?,
            with_payload: Some(convert::with_payload(request.with_payload)?),
            with_vector: convert::with_vectors(request.with_vectors),
            order_by: None,
        };
        let _reading = self.applying.read();
        let (records, next) = self.shard.scroll(scroll).map_err(failed)?;
        Ok(proto::ScrollResponse {
            result: records.into_iter().map(convert::retrieved).collect(),
            next_page_offset: next.map(convert::to_point_id),
            ..proto::ScrollResponse::default()
        })
    }

    pub(super) fn query(&self, request: proto::QueryPoints) -> Result<Vec<proto::ScoredPoint>> {
        let size = |number: Option<u64>, usual| {
            number.map_or(usual, |number| usize::try_from(number).unwrap_or(usize::MAX))
        };
        let query = edge::QueryRequest {
            prefetches: Vec::new(),
            query: Some(convert::query(request.query, request.using)?),
            filter: convert::filter(request.filter)?,
            score_threshold: request.score_threshold.map(Into::into),
            limit: size(request.limit, 10),
            offset: size(request.offset, 0),
            params: request.params.map(convert::search_params),
            with_vector: convert::with_vectors(request.with_vectors),
            with_payload: convert::with_payload(request.with_payload)?,
        };
        let _reading = self.applying.read();
        let points = self.shard.query(query).map_err(failed)?;
        Ok(points.into_iter().map(convert::scored).collect())
    }

    pub(super) fn count(&self, request: proto::CountPoints) -> Result<u64> {
        let filter = convert::filter(request.filter)?;
        let exact = request.exact.unwrap_or(true);
        let _reading = self.applying.read();
        let count = self.shard.count(edge::CountRequest { filter, exact }).map_err(failed)?;
        Ok(count as u64)
    }

    pub(super) fn facet(&self, request: proto::FacetCounts) -> Result<Vec<proto::FacetHit>> {
        let facet = edge::FacetRequest {
            key: convert::path(&request.key)?,
            limit: request.limit.map_or(10, |limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            filter: convert::filter(request.filter)?,
            exact: request.exact.unwrap_or_default(),
        };
        let _reading = self.applying.read();
        let found = self.shard.facet(facet).map_err(failed)?;
        Ok(found.hits.into_iter().map(convert::facet_hit).collect())
    }
}

/// Applies what the journal holds to a shard as it was left.
fn replay(shard: &edge::EdgeShard, at: &Path, entries: Vec<Entry>) -> Result<()> {
    has_room(at)?;
    entries.into_iter().try_for_each(|entry| apply_again(shard, entry))
}

/// Applies what the shard may have on disk already, with what came after it: fields are then to
/// be set of points that are deleted further on in the journal, and are gone. Points may be
/// passed over, since the numbers that Edge gives to operations can lag behind those of points
/// on its disk, and it then misses them; each attempt takes the next number.
fn apply_again(shard: &edge::EdgeShard, entry: Entry) -> Result<()> {
    let Entry::SetPayload(mut request) = entry else {
        for _ in 0..ATTEMPTS {
            match apply(shard, entry.clone()) {
                Err(status) if status.message().starts_with(MISSES_POINT) => {}
                applied => return applied,
            }
        }
        return apply(shard, entry);
    };
    let ids = ids_of(request.points_selector.take())?;
    let no_payload = Some(edge::WithPayloadInterface::Bool(false));
    let there = shard.retrieve(&ids, no_payload, None).map_err(failed)?;
    if there.is_empty() {
        return Ok(());
    }
    request.points_selector = Some(named(there.into_iter().map(|point| point.id).collect()));
    apply(shard, Entry::SetPayload(request))
}

fn apply(shard: &edge::EdgeShard, entry: Entry) -> Result<()> {
    let operation = match entry {
        Entry::Upsert(request) => {
            let points = request.points.into_iter().map(convert::point);
            let points = edge::PointInsertOperations::PointsList(points.collect::<Result<_>>()?);
            edge::UpdateOperation::PointOperation(edge::PointOperations::UpsertPoints(points))
        }
        Entry::Delete(request) => {
            let ids = ids_of(request.points)?;
            let delete = edge::PointOperations::DeletePoints { ids };
            edge::UpdateOperation::PointOperation(delete)
        }
        Entry::SetPayload(request) => {
            let set = edge::SetPayloadOp {
                payload: convert::payload(request.payload),
                points: Some(ids_of(request.points_selector)?),
                filter: None,
                key: None,
            };
            edge::UpdateOperation::PayloadOperation(edge::PayloadOps::SetPayload(set))
        }
        Entry::CreateIndex(request) => {
            let index = edge::CreateIndex {
                field_name: convert::path(&request.field_name)?,
                field_schema: Some(convert::index(&request)?),
            };
            let index = edge::FieldIndexOperations::CreateIndex(index);
            edge::UpdateOperation::FieldIndexOperation(index)
        }
    };
    shard.update(operation).map_err(failed)
}

impl Drop for Collection {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            // The journal has it. Edge's own drop would panic, so it is not let to.
            tracing::error!(%error, "a collection is left unflushed");
            std::mem::forget(Arc::clone(&self.shard));
        }
    }
}

/// Where a collection has its journal.
pub(super) fn journal_of(at: &Path) -> PathBuf {
    at.join("journal")
}

fn named(ids: Vec<edge::PointId>) -> proto::PointsSelector {
    let ids = ids.into_iter().map(convert::to_point_id).collect();
    let ids = PointsSelectorOneOf::Points(proto::PointsIdsList { ids });
    proto::PointsSelector { points_selector_one_of: Some(ids) }
}

fn ids_of(selector: Option<proto::PointsSelector>) -> Result<Vec<edge::PointId>> {
    match selector.and_then(|selector| selector.points_selector_one_of) {
        Some(PointsSelectorOneOf::Points(ids)) => convert::point_ids(&ids.ids),
        _ => Err(Status::data_loss("the journal holds a write that names no points")),
    }
}

/// Edge never removes the closed parts of its own log, nor reads them; only the newest says where
/// its numbers go on.
fn forget_old_logs(folder: &Path) -> std::io::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    let mut closed = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let begins = name.to_str().and_then(|name| name.strip_prefix("closed-")?.parse().ok());
        if let Some(begins) = begins {
            closed.push((begins, entry.path()));
        }
    }
    closed.sort_unstable_by_key(|(begins, _): &(u64, PathBuf)| *begins);
    closed.pop();
    closed.iter().try_for_each(|(_, path)| fs::remove_file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g6_a_journal_that_cannot_be_applied_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("collection");
        let dense = proto::VectorParams {
            size: 2,
            distance: proto::Distance::Dot.into(),
            ..proto::VectorParams::default()
        };
        let map = [(crate::layout::DENSE.to_owned(), dense)].into();
        let config = proto::vectors_config::Config::ParamsMap(proto::VectorParamsMap { map });
        let request = proto::CreateCollection {
            vectors_config: Some(proto::VectorsConfig { config: Some(config) }),
            ..proto::CreateCollection::default()
        };
        drop(Collection::create(&at, convert::config(&request).unwrap()).unwrap());
        let (mut journal, _) = Journal::open(&journal_of(&at)).unwrap();
        // One that names no points, as if it came from a version to come.
        let entry = Entry::Delete(proto::DeletePoints::default());
        journal.append(&entry).unwrap();
        Collection::open(&at).unwrap_err();
        let (_, entries) = Journal::open(&journal_of(&at)).unwrap();
        assert_eq!(entries, [entry]);
    }
}
