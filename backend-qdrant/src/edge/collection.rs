//! One collection: a shard of Edge and the journal of what is not flushed yet.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{MappedRwLockReadGuard, Mutex, RwLock, RwLockReadGuard};
use qdrant_client::qdrant as proto;
use qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use qdrant_edge as edge;
use tonic::Status;

use super::convert::{self, failed};
use super::journal::{Entry, Journal};
use super::shard::{
    self, BYTES_UNFLUSHED, Result, apply, broken, has_room, named, unless_it_panics,
};

/// Points in one part of a walk.
const PART: usize = 1_000;

/// What Edge says where it does not even begin to build.
const NO_ROOM_TO_BUILD: &str = "Not enough space available for optimization";

/// After so many written points indexes are built and everything is flushed, as after so many
/// bytes.
const POINTS_UNFLUSHED: usize = 2_000;

/// More closed parts of Edge's own log than this, of 32 MiB each, are removed.
const CLOSED_LOGS: usize = 4;

/// A collection.
///
/// Three locks keep order, taken in this order: `building` by who builds indexes, and nobody
/// flushes meanwhile; `writing` by one writer, and by the flush; `shard` exclusively while a write
/// is applied, so that no reader sees a part of it, and shared by readers.
#[derive(Debug)]
pub(super) struct Collection {
    at: PathBuf,
    config: edge::EdgeConfig,
    building: Mutex<()>,
    writing: Mutex<Writing>,
    /// None where it could not be loaded anew; the next call tries again.
    shard: RwLock<Option<Arc<edge::EdgeShard>>>,
}

#[derive(Debug)]
struct Writing {
    journal: Journal,
    points: usize,
}

impl Collection {
    /// Makes a collection, in a folder that is not there yet.
    pub(super) fn create(at: &Path, config: edge::EdgeConfig) -> Result<Self> {
        // One that is there was made, but could not be opened then.
        if !shard::is_collection(at) {
            if at.symlink_metadata().is_ok() {
                let at = at.display();
                let taken = format!("{at} is in the way of a collection, and is none");
                return Err(Status::failed_precondition(taken));
            }
            shard::create(at, config)?;
        }
        Self::open(at)
    }

    /// Opens a collection and applies what its last process had put down but not flushed.
    pub(super) fn open(at: &Path) -> Result<Self> {
        let (shard, journal) = shard::load(at)?;
        let config = shard.config().clone();
        Ok(Self {
            at: at.to_owned(),
            config,
            building: Mutex::default(),
            writing: Mutex::new(Writing { journal, points: 0 }),
            shard: RwLock::new(Some(Arc::new(shard))),
        })
    }

    /// The shard, for a reader.
    fn reading(&self) -> Result<MappedRwLockReadGuard<'_, edge::EdgeShard>> {
        let there = |guard| RwLockReadGuard::try_map(guard, Option::as_deref);
        if let Ok(shard) = there(self.shard.read()) {
            return Ok(shard);
        }
        self.loaded(&mut self.writing.lock())?;
        there(self.shard.read()).map_err(|_| Status::internal("the collection is being loaded"))
    }

    /// The shard, for a writer.
    fn loaded(&self, writing: &mut Writing) -> Result<Arc<edge::EdgeShard>> {
        if let Some(shard) = &*self.shard.read() {
            return Ok(Arc::clone(shard));
        }
        self.reload(writing)
    }

    /// Closes the shard, if it is open, and loads it as after the death of the process: what the
    /// journal holds is applied again. Who reads waits.
    fn reload(&self, writing: &mut Writing) -> Result<Arc<edge::EdgeShard>> {
        let mut open = self.shard.write();
        // Its drop flushes; the journal has what that fails to.
        let _ = unless_it_panics(|| drop(open.take()));
        let (shard, journal) = shard::load(&self.at).map_err(|error| self.unloaded(&error))?;
        *writing = Writing { journal, points: 0 };
        Ok(Arc::clone(open.insert(Arc::new(shard))))
    }

    fn unloaded(&self, error: &Status) -> Status {
        let (at, why) = (self.at.display(), error.message());
        Status::internal(format!(
            "{at} cannot be loaded anew, which the next call tries again: {why}"
        ))
    }

    pub(super) fn vector_size(&self, name: &str) -> Option<u64> {
        self.config.vectors.get(name).map(|params| params.size as u64)
    }

    /// Makes an index, unless it is there.
    pub(super) fn create_index(&self, request: proto::CreateFieldIndexCollection) -> Result<bool> {
        self.write(|_| Ok(Some((Entry::CreateIndex(request), 0))))
    }

    /// Writes points, as far as mode and condition let it.
    pub(super) fn upsert(&self, mut request: proto::UpsertPoints) -> Result<bool> {
        let mode = request.update_mode();
        let condition = request.update_filter.take();
        self.write(|shard| {
            let ids = request.points.iter().map(|point| convert::point_id(point.id.as_ref()));
            let ids: Vec<edge::PointId> = ids.collect::<Result<_>>()?;
            let kept = kept(shard, &ids, mode, condition)?;
            let mut keep = ids.iter().map(|id| kept.as_ref().is_none_or(|kept| kept.contains(id)));
            request.points.retain(|_| keep.next().unwrap_or_default());
            request.update_mode = None;
            let points = request.points.len();
            Ok((points > 0).then_some((Entry::Upsert(request), points)))
        })
    }

    /// Sets fields of the selected points.
    pub(super) fn set_payload(&self, mut request: proto::SetPayloadPoints) -> Result<bool> {
        self.write(|shard| {
            let ids = selected(shard, request.points_selector.take())?;
            let points = ids.len();
            request.points_selector = Some(named(ids));
            Ok((points > 0).then_some((Entry::SetPayload(request), points)))
        })
    }

    /// Deletes the selected points.
    pub(super) fn delete(&self, mut request: proto::DeletePoints) -> Result<bool> {
        self.write(|shard| {
            let ids = selected(shard, request.points.take())?;
            let points = ids.len();
            request.points = Some(named(ids));
            Ok((points > 0).then_some((Entry::Delete(request), points)))
        })
    }

    /// Resolves a write to the points it is about, puts it down and applies it. Says whether it is
    /// time to flush.
    fn write(
        &self,
        resolve: impl FnOnce(&edge::EdgeShard) -> Result<Option<(Entry, usize)>>,
    ) -> Result<bool> {
        let mut writing = self.writing.lock();
        let shard = self.loaded(&mut writing)?;
        let Some((entry, points)) = resolve(&shard)? else { return Ok(false) };
        has_room(&self.at)?;
        let before = writing.journal.bytes();
        writing.journal.append(&entry).map_err(broken)?;
        let applied = {
            let _applying = self.shard.write();
            apply(&shard, entry)
        };
        if let Err(error) = applied {
            // It is told as failed, so it must not come back.
            writing.journal.truncate(before).map_err(broken)?;
            return Err(error);
        }
        writing.points += points;
        Ok(writing.points >= POINTS_UNFLUSHED || writing.journal.bytes() >= BYTES_UNFLUSHED)
    }

    /// Builds indexes, while others read and write; then flushes, while others read.
    pub(super) fn optimize(&self) -> Result<()> {
        let _building = self.building.lock();
        has_room(&self.at)?;
        let before = self.segments()?;
        let shard = self.loaded(&mut self.writing.lock())?;
        shard::say_doubtful(&self.at)?;
        let built = unless_it_panics(|| shard.optimize()).and_then(|built| built.map_err(failed));
        drop(shard);
        let mut writing = self.writing.lock();
        let never_begun = |error: &Status| error.message().contains(NO_ROOM_TO_BUILD);
        let never_begun = built.as_ref().is_err_and(never_begun) && self.segments()? == before;
        if built.is_err() && !never_begun {
            // What was deleted meanwhile may be there again, since what it leaves on the disk, and
            // the segments that it was to replace, do not know of it: the journal does, and is not
            // to begin anew before all are one again.
            self.reload(&mut writing)?;
        } else {
            self.flush(&mut writing)?;
            shard::say_deduplicated(&self.at)?;
            if shard::closed_logs(&self.at)?.len() > CLOSED_LOGS {
                self.reload(&mut writing)?;
            }
        }
        built.map(drop)
    }

    /// The names of Edge's segments.
    fn segments(&self) -> Result<HashSet<OsString>> {
        let entries = fs::read_dir(shard::segments_of(&self.at)).map_err(broken)?;
        entries.map(|entry| Ok(entry.map_err(broken)?.file_name())).collect()
    }

    /// Brings everything to disk and begins the journal anew.
    fn flush(&self, writing: &mut Writing) -> Result<()> {
        let shard = self.loaded(writing)?;
        unless_it_panics(|| shard.flush())?;
        writing.points = 0;
        writing.journal.truncate(0).map_err(broken)
    }

    pub(super) fn get(&self, request: proto::GetPoints) -> Result<Vec<proto::RetrievedPoint>> {
        let ids = convert::point_ids(&request.ids)?;
        let payload = convert::with_payload(request.with_payload)?;
        let vectors = convert::with_vectors(request.with_vectors);
        let shard = self.reading()?;
        let records = shard.retrieve(&ids, Some(payload), Some(vectors)).map_err(failed)?;
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
        let shard = self.reading()?;
        let (records, next) = shard.scroll(scroll).map_err(failed)?;
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
        let shard = self.reading()?;
        let points = shard.query(query).map_err(failed)?;
        Ok(points.into_iter().map(convert::scored).collect())
    }

    pub(super) fn count(&self, request: proto::CountPoints) -> Result<u64> {
        let filter = convert::filter(request.filter)?;
        let exact = request.exact.unwrap_or(true);
        let shard = self.reading()?;
        let count = shard.count(edge::CountRequest { filter, exact }).map_err(failed)?;
        Ok(count as u64)
    }

    pub(super) fn facet(&self, request: proto::FacetCounts) -> Result<Vec<proto::FacetHit>> {
        let facet = edge::FacetRequest {
            key: convert::path(&request.key)?,
            limit: request.limit.map_or(10, |limit| usize::try_from(limit).unwrap_or(usize::MAX)),
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
        let writing = self.writing.get_mut();
        let Some(shard) = self.shard.get_mut().take() else { return };
        let flushed = unless_it_panics(|| shard.flush());
        if let Err(error) = flushed.and_then(|()| writing.journal.truncate(0).map_err(broken)) {
            // The journal has it. Edge's own drop would panic, so it is not let to.
            tracing::error!(%error, "a collection is left unflushed");
            std::mem::forget(shard);
        }
    }
}

/// The points that mode and condition let be written; none where all may.
fn kept(
    shard: &edge::EdgeShard,
    ids: &[edge::PointId],
    mode: proto::UpdateMode,
    condition: Option<proto::Filter>,
) -> Result<Option<HashSet<edge::PointId>>> {
    if mode == proto::UpdateMode::Upsert && condition.is_none() {
        return Ok(None);
    }
    let no_payload = Some(edge::WithPayloadInterface::Bool(false));
    let there = shard.retrieve(ids, no_payload, None).map_err(failed)?;
    let there: HashSet<edge::PointId> = there.into_iter().map(|record| record.id).collect();
    let matching = match condition {
        None => there.clone(),
        Some(condition) => {
            let mut filter = convert::one_filter(condition)?;
            let among = there.iter().copied().collect::<edge::HasIdCondition>();
            filter.must.get_or_insert_default().push(edge::Condition::HasId(among));
            matching(shard, &filter)?.into_iter().collect()
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
            limit: Some(PART),
            filter: Some(filter.clone()),
            with_payload: Some(edge::WithPayloadInterface::Bool(false)),
            ..edge::ScrollRequest::default()
        };
        let (part, next) = shard.scroll(request).map_err(failed)?;
        ids.extend(part.into_iter().map(|record| record.id));
        match next {
            Some(next) => offset = Some(next),
            None => return Ok(ids),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::shard::journal_of;
    use super::*;

    fn made(at: &Path) -> Collection {
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
        Collection::create(at, convert::config(&request).unwrap()).unwrap()
    }

    #[test]
    fn g6_a_journal_that_cannot_be_applied_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("collection");
        drop(made(&at));
        let (mut journal, _) = Journal::open(&journal_of(&at)).unwrap();
        // One that names no points, as if it came from a version to come.
        let entry = Entry::Delete(proto::DeletePoints::default());
        journal.append(&entry).unwrap();
        Collection::open(&at).unwrap_err();
        let (_, entries) = Journal::open(&journal_of(&at)).unwrap();
        assert_eq!(entries, [entry]);
    }

    #[test]
    fn a_folder_that_was_made_for_fewer_segments_is_kept_in_more() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("collection");
        drop(made(&at));
        let segments = |shard: &edge::EdgeShard| shard.config().optimizers.default_segment_number;
        let old = edge::EdgeShard::load(&at, None).unwrap();
        old.set_optimizers_config(edge::EdgeOptimizersConfig::default()).unwrap();
        drop(old);
        drop(Collection::open(&at).unwrap());
        let now = edge::EdgeShard::load(&at, None).unwrap();
        assert_eq!(segments(&now), Some(shard::SEGMENTS));
    }

    fn point(
        id: u64,
        fields: impl Into<std::collections::HashMap<String, proto::Value>>,
    ) -> proto::PointStruct {
        let dense = proto::Vector::from(vec![1.0, 0.5]);
        let named = std::collections::HashMap::from([(crate::layout::DENSE.to_owned(), dense)]);
        proto::PointStruct {
            id: Some(id.into()),
            payload: fields.into(),
            vectors: Some(named.into()),
        }
    }

    /// As where Edge has put the new segment beside the old one, and then fails: the new one is on
    /// the disk, with what was deleted while it was built.
    #[test]
    fn g6_a_build_that_fails_brings_nothing_back() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("collection");
        let collection = made(&at);
        let points = (1..=300).map(|id| point(id, [("n".to_owned(), 1.into())])).collect();
        collection.upsert(proto::UpsertPoints { points, ..Default::default() }).unwrap();
        collection.optimize().unwrap();
        let segments = shard::segments_of(&at);
        let old = fs::read_dir(&segments).unwrap().next().unwrap().unwrap().path();
        copy(&old, &segments.join("00000000-0000-4000-8000-000000000000"));
        shard::say_doubtful(&at).unwrap();
        let points = Some(named(vec![1.into(), 2.into()]));
        collection.delete(proto::DeletePoints { points, ..Default::default() }).unwrap();
        let points = vec![point(3, [("n".to_owned(), 2.into())])];
        collection.upsert(proto::UpsertPoints { points, ..Default::default() }).unwrap();

        collection.reload(&mut collection.writing.lock()).unwrap();
        let all = proto::ScrollPoints {
            limit: Some(1_000),
            with_payload: Some(true.into()),
            with_vectors: Some(true.into()),
            ..Default::default()
        };
        let found = collection.scroll(all.clone()).unwrap().result;
        assert_eq!(found.len(), 298);
        assert_eq!(found[0].payload["n"], 2.into());
        assert_eq!(found[1].payload["n"], 1.into());
        let count = proto::CountPoints { exact: Some(true), ..Default::default() };
        assert_eq!(collection.count(count).unwrap(), 298);
        drop(collection);
        assert_eq!(Collection::open(&at).unwrap().scroll(all).unwrap().result, found);
    }

    fn copy(from: &Path, to: &Path) {
        if from.is_file() {
            fs::copy(from, to).unwrap();
            return;
        }
        fs::create_dir(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    }
}
