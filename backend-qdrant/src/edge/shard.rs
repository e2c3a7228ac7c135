//! A collection's folder: how it is made, and how it is loaded as its last process left it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use qdrant_client::qdrant as proto;
use qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use qdrant_edge as edge;
use tonic::Status;

use super::convert::{self, failed};
use super::journal::{Entry, Journal};
use crate::error::NO_ROOM;

pub(super) type Result<T> = std::result::Result<T, Status>;

/// What a folder's name begins with while it is made. No collection's name begins with a dot.
pub(super) const UNFINISHED: &str = ".qdrant-edge-new-";

/// A file that says that no point is there twice. It is missing while indexes are built.
const DEDUPLICATED: &str = "deduplicated";

/// What must be free on the disk before anything is written: Edge maps its files into memory, and
/// where such a file finds no room the system kills the process (SIGBUS). It is a new part of its
/// log (32 MiB), and what is written until the next flush.
const ROOM: u64 = 128 << 20;

/// How many segments Edge aims at. With its usual two on a small machine, everything is written
/// anew, and parsed once for each index, with every 10 MB of vectors that are added.
pub(super) const SEGMENTS: usize = 8;

/// So many bytes in the journal are reason to flush.
pub(super) const BYTES_UNFLUSHED: u64 = 32 << 20;

/// Points that are looked at, and written anew, at once.
const PART: usize = 100;

/// How Edge begins its message where a point is not there.
const MISSES_POINT: &str = "No point with id";
/// More than operations can be lost from Edge's own log between two flushes.
const ATTEMPTS: usize = 8_000;

pub(super) fn broken(error: io::Error) -> Status {
    Status::internal(format!("the folder cannot be read or written: {error}"))
}

pub(super) fn has_room(at: &Path) -> Result<()> {
    let free = fs4::available_space(at).map_err(broken)?;
    if free < ROOM {
        let (free, needed) = (free >> 20, ROOM >> 20);
        return Err(Status::internal(format!("{NO_ROOM}: {free} MiB free, {needed} needed")));
    }
    Ok(())
}

/// Edge panics where it cannot write.
pub(super) fn unless_it_panics<T>(call: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call))
        .map_err(|_| Status::internal("Edge could not read or write"))
}

/// Where a collection has its journal.
pub(super) fn journal_of(at: &Path) -> PathBuf {
    at.join("journal")
}

/// Where a collection has its segments.
pub(super) fn segments_of(at: &Path) -> PathBuf {
    at.join("segments")
}

/// Whether a folder is a collection; others are not the store's, and are left alone.
pub(super) fn is_collection(at: &Path) -> bool {
    journal_of(at).is_file() && segments_of(at).is_dir()
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(broken(error)),
        _ => Ok(()),
    }
}

/// Makes a collection's folder, under another name until it is whole.
pub(super) fn create(at: &Path, config: edge::EdgeConfig) -> Result<()> {
    let mut name = OsString::from(UNFINISHED);
    name.push(at.file_name().unwrap_or_default());
    let unfinished = at.with_file_name(name);
    remove(&unfinished)?;
    fs::create_dir(&unfinished).map_err(broken)?;
    has_room(&unfinished)?;
    let shard = edge::EdgeShard::new(&unfinished, config).map_err(failed)?;
    // It flushes.
    unless_it_panics(|| drop(shard))?;
    Journal::open(&journal_of(&unfinished)).map_err(broken)?;
    say_deduplicated(&unfinished)?;
    fs::rename(&unfinished, at).map_err(broken)
}

/// Loads a collection and applies what its last process had put down but not flushed.
pub(super) fn load(at: &Path) -> Result<(edge::EdgeShard, Journal)> {
    forget_old_logs(at)?;
    // Of a build that was not ended.
    remove(&at.join("temp_segments"))?;
    let shard = unless_it_panics(|| edge::EdgeShard::load(at, None))?.map_err(failed)?;
    aim_at_segments(&shard);
    match settle(&shard, at) {
        Ok(journal) => Ok((shard, journal)),
        Err(error) => {
            // Its drop flushes; the journal has what that fails to.
            let _ = unless_it_panics(|| drop(shard));
            Err(error)
        }
    }
}

fn aim_at_segments(shard: &edge::EdgeShard) {
    let mut optimizers = shard.config().optimizers.clone();
    if optimizers.default_segment_number == Some(SEGMENTS) {
        return;
    }
    optimizers.default_segment_number = Some(SEGMENTS);
    if let Err(error) = shard.set_optimizers_config(optimizers) {
        // It is slower then, and the next opening tries again.
        tracing::warn!(%error, "the number of Edge's segments could not be set");
    }
}

/// Brings a shard to where its last process was, and to disk. The journal is kept where that fails.
fn settle(shard: &edge::EdgeShard, at: &Path) -> Result<Journal> {
    let (mut journal, entries) = Journal::open(&journal_of(at)).map_err(broken)?;
    let deduplicated = at.join(DEDUPLICATED).exists();
    if entries.is_empty() && deduplicated {
        return Ok(journal);
    }
    if !entries.is_empty() {
        has_room(at)?;
    }
    entries.into_iter().try_for_each(|entry| apply_again(shard, entry))?;
    if !deduplicated {
        deduplicate(shard, at, &mut journal)?;
    }
    unless_it_panics(|| shard.flush())?;
    journal.truncate(0).map_err(broken)?;
    say_deduplicated(at)?;
    Ok(journal)
}

/// Says that no point is there twice: what is loaded anew then need not be searched for any.
pub(super) fn say_deduplicated(at: &Path) -> Result<()> {
    File::create(at.join(DEDUPLICATED)).map(drop).map_err(broken)
}

/// Says that points may be there twice, until the opposite is said.
pub(super) fn say_doubtful(at: &Path) -> Result<()> {
    match fs::remove_file(at.join(DEDUPLICATED)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(broken(error)),
        _ => Ok(()),
    }
}

/// Edge builds a segment out of others, puts it beside them and then removes them. Where it dies
/// between, their points are there twice: it reads the newer one of each, but counts both.
fn deduplicate(shard: &edge::EdgeShard, at: &Path, journal: &mut Journal) -> Result<()> {
    let mut offset = None;
    loop {
        let request = edge::ScrollRequest {
            offset,
            limit: Some(PART),
            with_payload: Some(edge::WithPayloadInterface::Bool(false)),
            ..edge::ScrollRequest::default()
        };
        let (part, next) = shard.scroll(request).map_err(failed)?;
        let ids: Vec<edge::PointId> = part.into_iter().map(|record| record.id).collect();
        if copies(shard, &ids)? > ids.len() {
            write_once(shard, at, journal, ids)?;
        }
        match next {
            Some(next) => offset = Some(next),
            None => return Ok(()),
        }
    }
}

/// How many points bear these ids.
fn copies(shard: &edge::EdgeShard, ids: &[edge::PointId]) -> Result<usize> {
    let among = ids.iter().copied().collect::<edge::HasIdCondition>();
    let filter = edge::Filter::new_must(edge::Condition::HasId(among));
    shard.count(edge::CountRequest { filter: Some(filter), exact: true }).map_err(failed)
}

/// Removes all points of these ids and writes the newest of each. They are in the journal before,
/// so that a death at any moment leaves them there once or twice.
fn write_once(
    shard: &edge::EdgeShard,
    at: &Path,
    journal: &mut Journal,
    ids: Vec<edge::PointId>,
) -> Result<()> {
    has_room(at)?;
    let everything = Some(edge::WithPayloadInterface::Bool(true));
    let vectors = Some(edge::WithVector::Bool(true));
    let newest = shard.retrieve(&ids, everything, vectors).map_err(failed)?;
    let points = newest.into_iter().map(convert::stored).collect();
    let upsert = Entry::Upsert(proto::UpsertPoints { points, ..proto::UpsertPoints::default() });
    journal.append(&upsert).map_err(broken)?;
    let points = Some(named(ids.clone()));
    let delete = Entry::Delete(proto::DeletePoints { points, ..proto::DeletePoints::default() });
    // Numbers that lag behind those of the points are passed over, as in `apply_again`.
    for _ in 0..ATTEMPTS {
        if copies(shard, &ids)? == 0 {
            break;
        }
        apply(shard, delete.clone())?;
    }
    apply_again(shard, upsert)?;
    if journal.bytes() >= BYTES_UNFLUSHED {
        unless_it_panics(|| shard.flush())?;
        journal.truncate(0).map_err(broken)?;
    }
    Ok(())
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

pub(super) fn apply(shard: &edge::EdgeShard, entry: Entry) -> Result<()> {
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

pub(super) fn named(ids: Vec<edge::PointId>) -> proto::PointsSelector {
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

/// The closed parts of Edge's own log, the oldest first.
pub(super) fn closed_logs(at: &Path) -> Result<Vec<PathBuf>> {
    let Ok(entries) = fs::read_dir(at.join("wal")) else { return Ok(Vec::new()) };
    let mut closed = Vec::new();
    for entry in entries {
        let entry = entry.map_err(broken)?;
        let name = entry.file_name();
        let begins = name.to_str().and_then(|name| name.strip_prefix("closed-")?.parse().ok());
        if let Some(begins) = begins {
            closed.push((begins, entry.path()));
        }
    }
    closed.sort_unstable_by_key(|(begins, _): &(u64, PathBuf)| *begins);
    Ok(closed.into_iter().map(|(_, path)| path).collect())
}

/// Edge never removes the closed parts of its own log, nor reads them; only the newest says where
/// its numbers go on.
fn forget_old_logs(at: &Path) -> Result<()> {
    let mut closed = closed_logs(at)?;
    closed.pop();
    closed.iter().try_for_each(fs::remove_file).map_err(broken)
}
