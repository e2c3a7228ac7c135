//! One collection: a shard of Edge and the journal of what is not flushed yet.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use parking_lot::{MappedRwLockReadGuard, Mutex, RwLock, RwLockReadGuard};
use qdrant_client::qdrant as proto;
use qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use qdrant_edge as edge;
use tonic::Status;

use super::Failure;
use super::convert::{self, failed};
use super::folder::Job;
use super::journal::Journal;
use super::shard::{
    self, BYTES_UNFLUSHED, Result, apply, catch_panic, check_free_space, io_error, journal_of,
    named, segments,
};
use crate::transport::Write;

/// Points in one page of a scroll.
const PAGE_SIZE: usize = 1_000;

/// The beginning of Edge's message where it does not even begin to build.
const NO_ROOM_TO_BUILD: &str = "Not enough space available for optimization";

/// Written points after which indexes are built and everything is flushed.
const POINTS_UNFLUSHED: usize = 2_000;

/// Bytes in the journal past which a writer flushes by itself: nobody else has for too long.
const MAX_BYTES_UNFLUSHED: u64 = 4 * BYTES_UNFLUSHED;

/// Closed parts of Edge's own log, of 32 MiB each, above which they are removed.
const CLOSED_LOGS: usize = 4;

/// A collection.
///
/// Three locks keep order, taken in this order: `building` by who builds indexes, and nobody
/// flushes meanwhile; `writing` by one writer, and by the flush; `shard` exclusively while a write
/// is applied, so that no reader sees a part of it, and shared by readers.
#[derive(Debug)]
pub struct Collection {
    at: PathBuf,
    config: edge::EdgeConfig,
    building: Mutex<()>,
    writing: Mutex<Writing>,
    /// None where it could not be loaded again; the next call tries.
    shard: RwLock<Option<Arc<edge::EdgeShard>>>,
    /// To whoever builds indexes.
    jobs: Sender<Job>,
    /// Why indexes could not be built the last time.
    trouble: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Writing {
    journal: Journal,
    points: usize,
}

impl Collection {
    /// Makes a collection, in a folder that does not exist yet.
    pub(super) fn create(at: &Path, config: edge::EdgeConfig, jobs: Sender<Job>) -> Result<Self> {
        // One that exists was made, but could not be opened then.
        if !shard::is_collection(at) {
            if at.symlink_metadata().is_ok() {
                return Err(foreign(at));
            }
            shard::create(at, config)?;
        }
        Self::open(at, jobs)
    }

    /// Opens a collection and applies the writes that its last process had not flushed.
    pub(super) fn open(at: &Path, jobs: Sender<Job>) -> Result<Self> {
        let (shard, journal) = shard::load(at)?;
        let config = shard.config().clone();
        Ok(Self {
            at: at.to_owned(),
            config,
            building: Mutex::default(),
            writing: Mutex::new(Writing { journal, points: 0 }),
            shard: RwLock::new(Some(Arc::new(shard))),
            jobs,
            trouble: Mutex::default(),
        })
    }

    /// The shard, for a reader.
    fn reading(&self) -> Result<MappedRwLockReadGuard<'_, edge::EdgeShard>> {
        let loaded = |guard| RwLockReadGuard::try_map(guard, Option::as_deref);
        if let Ok(shard) = loaded(self.shard.read()) {
            return Ok(shard);
        }
        self.loaded(&mut self.writing.lock())?;
        loaded(self.shard.read()).map_err(|_| Status::internal("the collection is being loaded"))
    }

    /// The shard, for a writer.
    fn loaded(&self, writing: &mut Writing) -> Result<Arc<edge::EdgeShard>> {
        if let Some(shard) = &*self.shard.read() {
            return Ok(Arc::clone(shard));
        }
        self.reload(writing)
    }

    /// Closes the shard, if it is open, and loads it as after the death of the process: the
    /// journal's entries are applied again. Readers wait.
    fn reload(&self, writing: &mut Writing) -> Result<Arc<edge::EdgeShard>> {
        let mut open = self.shard.write();
        shard::close(open.take());
        let (shard, journal) = shard::load(&self.at).map_err(|error| self.unloaded(&error))?;
        *writing = Writing { journal, points: 0 };
        Ok(Arc::clone(open.insert(Arc::new(shard))))
    }

    fn unloaded(&self, error: &Status) -> Status {
        let (at, why) = (self.at.display(), error.message());
        Status::new(
            error.code(),
            format!("{at} cannot be loaded again, which the next call tries: {why}"),
        )
    }

    /// The dimensions of its dense vectors, by their names.
    pub(super) fn vector_sizes(&self) -> impl Iterator<Item = (&String, u64)> {
        self.config.vectors.iter().map(|(name, params)| (name, params.size as u64))
    }

    /// The names of its sparse vectors.
    pub(super) fn sparse_names(&self) -> impl Iterator<Item = &String> {
        self.config.sparse_vectors.keys()
    }

    /// Why indexes could not be built the last time, if they could not.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// Appends a write to the journal and applies it.
    pub fn write(self: &Arc<Self>, write: Write) -> std::result::Result<(), Failure> {
        self.bound_journal()?;
        let mut writing = self.writing.lock();
        let shard = self.loaded(&mut writing)?;
        let Some((write, points)) = resolved(&shard, write)? else { return Ok(()) };
        check_free_space(&self.at)?;
        let before = writing.journal.bytes();
        writing.journal.append(&write).map_err(|error| self.journal_error(&error))?;
        let applied = {
            let _applying = self.shard.write();
            catch_panic(|| apply(&shard, write))
        };
        if let Err(status) = applied {
            // The caller learns that it failed, so it must not come back. A part of it may have
            // been applied, and where the journal cannot be cut, all of it will be.
            if let Err(error) = writing.journal.truncate(before) {
                tracing::error!(target: memquill_core::layer::TARGET, %error, "a write that failed may be applied at the next opening");
            }
            return Err(Failure { status, maybe_applied: true });
        }
        writing.points += points;
        if writing.points >= POINTS_UNFLUSHED || writing.journal.bytes() >= BYTES_UNFLUSHED {
            self.schedule();
        }
        Ok(())
    }

    fn journal_error(&self, error: &std::io::Error) -> Status {
        io_error(&journal_of(&self.at), error)
    }

    /// Asks for indexes and a flush in the background.
    fn schedule(self: &Arc<Self>) {
        if self.jobs.send(Job::Build(Arc::clone(self))).is_err() {
            *self.trouble.lock() = Some("the thread that builds indexes has ended".to_owned());
        }
    }

    /// Flushes where the background has not for too long; refuses the write where that fails.
    fn bound_journal(&self) -> Result<()> {
        if self.writing.lock().journal.bytes() < MAX_BYTES_UNFLUSHED {
            return Ok(());
        }
        let _building = self.building.lock();
        let mut writing = self.writing.lock();
        if writing.journal.bytes() < MAX_BYTES_UNFLUSHED {
            return Ok(());
        }
        check_free_space(&self.at)?;
        self.flush(&mut writing)
    }

    /// Builds indexes, while others read and write; then flushes, while others read.
    pub fn optimize(&self) -> Result<()> {
        self.watched(|| self.build())
    }

    /// Records whether a build failed, or panicked.
    fn watched(&self, build: impl FnOnce() -> Result<()>) -> Result<()> {
        let outcome = catch_panic(build);
        *self.trouble.lock() = outcome.as_ref().err().map(|error| error.message().to_owned());
        outcome
    }

    fn build(&self) -> Result<()> {
        let _building = self.building.lock();
        check_free_space(&self.at)?;
        let before = segments(&self.at)?;
        let shard = self.loaded(&mut self.writing.lock())?;
        shard::unlist_segments(&self.at)?;
        let built = catch_panic(|| shard.optimize().map_err(failed));
        drop(shard);
        let mut writing = self.writing.lock();
        let never_begun = |error: &Status| error.message().contains(NO_ROOM_TO_BUILD);
        let never_begun = built.as_ref().is_err_and(never_begun) && segments(&self.at)? == before;
        if built.is_err() && !never_begun {
            // Points that were deleted meanwhile may exist again, since neither what the build
            // leaves on the disk nor the segments that it was to replace know of it. The journal
            // does, and is not emptied before each point is in one segment again.
            self.reload(&mut writing)?;
        } else {
            self.flush(&mut writing)?;
            shard::list_segments(&self.at)?;
            if shard::closed_logs(&self.at)?.len() > CLOSED_LOGS {
                self.reload(&mut writing)?;
            }
        }
        built.map(drop)
    }

    /// Brings everything to disk and empties the journal.
    fn flush(&self, writing: &mut Writing) -> Result<()> {
        let shard = self.loaded(writing)?;
        shard::flush(&shard)?;
        writing.points = 0;
        writing.journal.truncate(0).map_err(|error| self.journal_error(&error))
    }

    /// Reads points by id.
    pub fn get(&self, request: proto::GetPoints) -> Result<Vec<proto::RetrievedPoint>> {
        let ids = convert::point_ids(&request.ids)?;
        let payload = convert::with_payload(request.with_payload)?;
        let vectors = convert::with_vectors(request.with_vectors);
        let shard = self.reading()?;
        let records = shard.retrieve(&ids, Some(payload), Some(vectors)).map_err(failed)?;
        Ok(records.into_iter().map(convert::retrieved).collect())
    }

    /// Walks points in the order of their ids.
    pub fn scroll(&self, request: proto::ScrollPoints) -> Result<proto::ScrollResponse> {
        let offset = request.offset.as_ref();
        let scroll = edge::ScrollRequest {
            offset: offset.map(|id| convert::point_id(Some(id))).transpose()?,
            limit: request.limit.map(|limit| limit as usize),
            filter: convert::filter(request.filter)?,
            with_payload: Some(convert::with_payload(request.with_payload)?),
            with_vector: convert::with_vectors(request.with_vectors),
            order_by: None,
        };
        let shard = self.reading()?;
        let (records, next) = shard.scroll(scroll).map_err(failed)?;
        Ok(proto::ScrollResponse {
            result: records.into_iter().map(convert::retrieved).collect(),
            next_page_offset: next.map(convert::to_point_id),
            ..proto::ScrollResponse::default()
        })
    }

    /// Finds the points nearest to a vector.
    pub fn query(&self, request: proto::QueryPoints) -> Result<Vec<proto::ScoredPoint>> {
        let prefetches = request.prefetch.into_iter().map(convert::prefetch);
        let query = edge::QueryRequest {
            prefetches: prefetches.collect::<Result<_>>()?,
            query: Some(convert::query(request.query, request.using)?),
            filter: convert::filter(request.filter)?,
            score_threshold: request.score_threshold.map(Into::into),
            limit: convert::size(request.limit, 10),
            offset: convert::size(request.offset, 0),
            params: request.params.map(convert::search_params),
            with_vector: convert::with_vectors(request.with_vectors),
            with_payload: convert::with_payload(request.with_payload)?,
        };
        let shard = self.reading()?;
        let points = shard.query(query).map_err(failed)?;
        Ok(points.into_iter().map(convert::scored).collect())
    }

    /// Counts points.
    pub fn count(&self, request: proto::CountPoints) -> Result<u64> {
        let filter = convert::filter(request.filter)?;
        let exact = request.exact.unwrap_or(true);
        let shard = self.reading()?;
        let count = shard.count(edge::CountRequest { filter, exact }).map_err(failed)?;
        Ok(count as u64)
    }

    /// Counts points by the values of a field.
    pub fn facet(&self, request: proto::FacetCounts) -> Result<Vec<proto::FacetHit>> {
        let facet = edge::FacetRequest {
            key: convert::path(&request.key)?,
            limit: convert::size(request.limit, 10),
            filter: convert::filter(request.filter)?,
            exact: request.exact.unwrap_or_default(),
        };
        let shard = self.reading()?;
        let found = shard.facet(facet).map_err(failed)?;
        Ok(found.hits.into_iter().map(convert::facet_hit).collect())
    }
}

impl Drop for Collection {
    fn drop(&mut self) {
        let Some(shard) = self.shard.get_mut().take() else { return };
        if !self.at.exists() {
            // Somebody removed the folder. Edge's own drop would panic, so it does not run.
            std::mem::forget(shard);
            return;
        }
        let writing = self.writing.get_mut();
        let emptied = shard::flush(&shard).and_then(|()| {
            writing.journal.truncate(0).map_err(|error| io_error(&journal_of(&self.at), &error))
        });
        if let Err(error) = emptied {
            // The journal has it. Edge's own drop would panic, so it does not run.
            tracing::error!(target: memquill_core::layer::TARGET, %error, "a collection is left unflushed");
            std::mem::forget(shard);
        }
    }
}

/// Says that something else has the name of a collection.
pub(super) fn foreign(at: &Path) -> Status {
    Status::failed_precondition(format!("{} exists, and is not a collection", at.display()))
}

/// Names the points of a write and drops its conditions, so that it depends on nothing but itself;
/// counts the points. None where nothing is to be written.
fn resolved(shard: &edge::EdgeShard, write: Write) -> Result<Option<(Write, usize)>> {
    let (write, points) = match write {
        Write::CreateIndex(_) => return Ok(Some((write, 0))),
        Write::Upsert(mut request) => {
            let ids = request.points.iter().map(|point| convert::point_id(point.id.as_ref()));
            let ids: Vec<edge::PointId> = ids.collect::<Result<_>>()?;
            let condition = request.update_filter.take();
            let writable = writable(shard, &ids, request.update_mode(), condition)?;
            let mut keep =
                ids.iter().map(|id| writable.as_ref().is_none_or(|ids| ids.contains(id)));
            request.points.retain(|_| keep.next().unwrap_or_default());
            request.update_mode = None;
            let points = request.points.len();
            (Write::Upsert(request), points)
        }
        Write::SetPayload(mut request) => {
            let ids = selected(shard, request.points_selector.take())?;
            let points = ids.len();
            request.points_selector = Some(named(ids));
            (Write::SetPayload(request), points)
        }
        Write::Delete(mut request) => {
            let ids = selected(shard, request.points.take())?;
            let points = ids.len();
            request.points = Some(named(ids));
            (Write::Delete(request), points)
        }
    };
    Ok((points > 0).then_some((write, points)))
}

/// The points that mode and condition allow to be written; none where all may.
fn writable(
    shard: &edge::EdgeShard,
    ids: &[edge::PointId],
    mode: proto::UpdateMode,
    condition: Option<proto::Filter>,
) -> Result<Option<HashSet<edge::PointId>>> {
    if mode == proto::UpdateMode::Upsert && condition.is_none() {
        return Ok(None);
    }
    let no_payload = Some(edge::WithPayloadInterface::Bool(false));
    let present = shard.retrieve(ids, no_payload, None).map_err(failed)?;
    let present: HashSet<edge::PointId> = present.into_iter().map(|record| record.id).collect();
    let matching = match condition {
        None => present.clone(),
        Some(condition) => {
            let mut filter = convert::one_filter(condition)?;
            let among = present.iter().copied().collect::<edge::HasIdCondition>();
            filter.must.get_or_insert_default().push(edge::Condition::HasId(among));
            matching(shard, &filter)?.into_iter().collect()
        }
    };
    let is_new = |id: &&edge::PointId| !present.contains(*id);
    let new = ids.iter().filter(is_new).copied();
    Ok(Some(match mode {
        proto::UpdateMode::InsertOnly => new.collect(),
        proto::UpdateMode::UpdateOnly => matching,
        proto::UpdateMode::Upsert => new.chain(matching).collect(),
    }))
}

fn selected(
    shard: &edge::EdgeShard,
    selector: Option<proto::PointsSelector>,
) -> Result<Vec<edge::PointId>> {
    match selector.and_then(|selector| selector.points_selector_one_of) {
        Some(PointsSelectorOneOf::Points(ids)) => convert::point_ids(&ids.ids),
        Some(PointsSelectorOneOf::Filter(filter)) => matching(shard, &convert::one_filter(filter)?),
        None => Err(Status::invalid_argument("the request selects no points")),
    }
}

/// All points that match.
fn matching(shard: &edge::EdgeShard, filter: &edge::Filter) -> Result<Vec<edge::PointId>> {
    let mut ids = Vec::new();
    let mut offset = None;
    loop {
        let request = edge::ScrollRequest {
            offset,
            limit: Some(PAGE_SIZE),
            filter: Some(filter.clone()),
            with_payload: Some(edge::WithPayloadInterface::Bool(false)),
            ..edge::ScrollRequest::default()
        };
        let (page, next) = shard.scroll(request).map_err(failed)?;
        ids.extend(page.into_iter().map(|record| record.id));
        match next {
            Some(next) => offset = Some(next),
            None => return Ok(ids),
        }
    }
}

#[cfg(test)]
mod tests;
