//! A collection's folder: how it is made, and how it is loaded as its last process left it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use qdrant_client::qdrant as proto;
use qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use qdrant_edge as edge;
use tonic::Status;

use super::convert::{self, failed};
use super::journal::Journal;
use crate::error::NO_ROOM;
use crate::transport::Write;

pub(super) type Result<T> = std::result::Result<T, Status>;

/// The prefix of a folder's name while it is made. No collection's name begins with a dot.
pub(super) const UNFINISHED: &str = ".qdrant-edge-new-";

/// The file that lists the segments, a line each, while every point is in one of them alone. It is
/// missing while indexes are built.
const SEGMENT_LIST: &str = "segments.txt";

/// The file without which Edge takes a segment for unfinished, and deletes it.
const SEGMENT_VERSION: &str = "version.info";

/// Bytes that must be free on the disk before anything is written: Edge maps its files into memory,
/// and where such a file finds no room the system kills the process (SIGBUS). It is a new part of
/// its log (32 MiB), and what is written until the next flush.
const ROOM: u64 = 128 << 20;

/// The number of segments that Edge aims at. With its default of two on a small machine, everything
/// is rewritten, and parsed once for each index, with every 10 MB of vectors that are added.
pub(super) const SEGMENTS: usize = 8;

/// Bytes in the journal after which everything is flushed.
pub(super) const BYTES_UNFLUSHED: u64 = 32 << 20;

/// Points that are compared, and rewritten, at once.
const PAGE_SIZE: usize = 100;

/// The beginning of Edge's message where a point is missing.
const MISSES_POINT: &str = "No point with id";
/// An upper bound on the operations that Edge's own log can lose between two flushes.
const ATTEMPTS: usize = 8_000;

/// Translates a failure of the file system at `path`.
pub(super) fn io_error(path: &Path, error: &io::Error) -> Status {
    let message = format!("{} cannot be read or written: {error}", path.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Status::permission_denied(message)
        }
        io::ErrorKind::NotFound => Status::data_loss(message),
        _ => Status::internal(message),
    }
}

/// Refuses what would be written where the disk has little room.
pub(super) fn check_free_space(at: &Path) -> Result<()> {
    let free = fs4::available_space(at).map_err(|error| io_error(at, &error))?;
    if free < ROOM {
        let (free, needed) = (free >> 20, ROOM >> 20);
        return Err(Status::internal(format!("{NO_ROOM}: {free} MiB free, {needed} needed")));
    }
    Ok(())
}

/// Makes an error of a panic: Edge panics where it cannot write.
pub(super) fn catch_panic<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
        Err(Status::internal("Qdrant Edge panicked: it could not read or write"))
    })
}

/// Brings a shard to disk.
pub(super) fn flush(shard: &edge::EdgeShard) -> Result<()> {
    catch_panic(|| {
        shard.flush();
        Ok(())
    })
}

/// Closes a shard, which flushes it; the journal holds what that fails to.
pub(super) fn close<T>(shard: T) {
    let _ = catch_panic(|| {
        drop(shard);
        Ok(())
    });
}

/// The path of a collection's journal.
pub(super) fn journal_of(at: &Path) -> PathBuf {
    at.join("journal")
}

/// The path of a collection's segments.
pub(super) fn segments_of(at: &Path) -> PathBuf {
    at.join("segments")
}

/// The path of Edge's own log.
fn log_of(at: &Path) -> PathBuf {
    at.join("wal")
}

/// Whether a folder is a collection; others belong to somebody else and are left alone.
pub(super) fn is_collection(at: &Path) -> bool {
    journal_of(at).is_file() && segments_of(at).is_dir() || at.join(SEGMENT_LIST).is_file()
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(folder, &error)),
        _ => Ok(()),
    }
}

/// Makes a collection's folder, under another name until it is whole.
pub(super) fn create(at: &Path, config: edge::EdgeConfig) -> Result<()> {
    let mut name = OsString::from(UNFINISHED);
    name.push(at.file_name().unwrap_or_default());
    let unfinished = at.with_file_name(name);
    remove(&unfinished)?;
    fs::create_dir(&unfinished).map_err(|error| io_error(&unfinished, &error))?;
    check_free_space(&unfinished)?;
    let shard = catch_panic(|| edge::EdgeShard::new(&unfinished, config).map_err(failed))?;
    let flushed = flush(&shard);
    close(shard);
    flushed?;
    Journal::create(&journal_of(&unfinished))?;
    list_segments(&unfinished)?;
    fs::rename(&unfinished, at).map_err(|error| io_error(at, &error))
}

/// Loads a collection and applies the writes that its last process had not flushed.
pub(super) fn load(at: &Path) -> Result<(edge::EdgeShard, Journal)> {
    let listed = check_files(at)?;
    // Before Edge touches anything, so that a folder that is refused stays as it is.
    let (journal, entries) = Journal::open(&journal_of(at))?;
    remove_old_logs(at)?;
    // Of a build that did not finish.
    remove(&at.join("temp_segments"))?;
    let shard = catch_panic(|| edge::EdgeShard::load(at, None).map_err(failed))?;
    set_segment_number(&shard);
    match catch_panic(|| replay(&shard, at, journal, entries, listed)) {
        Ok(journal) => Ok((shard, journal)),
        Err(error) => {
            close(shard);
            Err(error)
        }
    }
}

/// Checks that Edge finds everything that was flushed: it would replace a log or a segment that is
/// missing by an empty one. Says whether the segments are listed.
fn check_files(at: &Path) -> Result<bool> {
    let list = at.join(SEGMENT_LIST);
    let listed = match fs::read_to_string(&list) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io_error(&list, &error)),
    };
    for name in listed.lines() {
        let needed = segments_of(at).join(name).join(SEGMENT_VERSION);
        if !needed.is_file() {
            return Err(Status::data_loss(format!("{} is missing", needed.display())));
        }
    }
    let log = log_of(at);
    let has_log = fs::read_dir(&log).is_ok_and(|mut entries| entries.next().is_some());
    if has_log { Ok(true) } else { Err(Status::data_loss(format!("{} is missing", log.display()))) }
}

fn set_segment_number(shard: &edge::EdgeShard) {
    let mut optimizers = shard.config().optimizers.clone();
    if optimizers.default_segment_number == Some(SEGMENTS) {
        return;
    }
    optimizers.default_segment_number = Some(SEGMENTS);
    if let Err(error) = shard.set_optimizers_config(optimizers) {
        // It is slower then, and the next opening tries again.
        tracing::warn!(target: memquill_core::layer::TARGET, %error, "cannot set the number of Edge's segments");
    }
}

/// Brings a shard to where its last process was, and to disk. The journal is kept where that fails.
fn replay(
    shard: &edge::EdgeShard,
    at: &Path,
    mut journal: Journal,
    entries: Vec<Write>,
    listed: bool,
) -> Result<Journal> {
    if entries.is_empty() && listed {
        return Ok(journal);
    }
    if !entries.is_empty() {
        check_free_space(at)?;
    }
    entries.into_iter().try_for_each(|entry| apply_again(shard, entry))?;
    if !listed {
        deduplicate(shard, at, &mut journal)?;
    }
    flush(shard)?;
    journal.truncate(0).map_err(|error| io_error(at, &error))?;
    list_segments(at)?;
    Ok(journal)
}

/// Lists the segments: each point is in one of them alone, so that loading need not look for twins.
pub(super) fn list_segments(at: &Path) -> Result<()> {
    let names = segments(at)?;
    let whole = |name: &&str| segments_of(at).join(name).join(SEGMENT_VERSION).is_file();
    // Those that Edge is removing have an ending.
    let names: Vec<&str> = names
        .iter()
        .filter_map(|name| name.to_str())
        .filter(|name| !name.contains('.'))
        .filter(whole)
        .collect();
    // Under another name first: a part of the list would pass for all of it.
    let (list, unfinished) = (at.join(SEGMENT_LIST), at.join(".segments.txt"));
    fs::write(&unfinished, names.join("\n"))
        .and_then(|()| fs::rename(&unfinished, &list))
        .map_err(|error| io_error(&list, &error))
}

/// Removes the list: until there is another, points may be in two segments.
pub(super) fn unlist_segments(at: &Path) -> Result<()> {
    let list = at.join(SEGMENT_LIST);
    match fs::remove_file(&list) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(&list, &error)),
        _ => Ok(()),
    }
}

/// The names of Edge's segments.
pub(super) fn segments(at: &Path) -> Result<BTreeSet<OsString>> {
    let folder = segments_of(at);
    let names = fs::read_dir(&folder).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<_>>()
    });
    names.map_err(|error| io_error(&folder, &error))
}

/// Leaves one of each point. Edge builds a segment out of others, puts it beside them and then
/// removes them. Where it dies in between, their points exist twice: it reads the newer one of each,
/// but counts both.
fn deduplicate(shard: &edge::EdgeShard, at: &Path, journal: &mut Journal) -> Result<()> {
    let mut offset = None;
    loop {
        let request = edge::ScrollRequest {
            offset,
            limit: Some(PAGE_SIZE),
            with_payload: Some(edge::WithPayloadInterface::Bool(false)),
            ..edge::ScrollRequest::default()
        };
        let (page, next) = shard.scroll(request).map_err(failed)?;
        let ids: Vec<edge::PointId> = page.into_iter().map(|record| record.id).collect();
        if copies(shard, &ids)? > ids.len() {
            write_once(shard, at, journal, ids)?;
        }
        match next {
            Some(next) => offset = Some(next),
            None => return Ok(()),
        }
    }
}

/// The number of points that have these ids.
fn copies(shard: &edge::EdgeShard, ids: &[edge::PointId]) -> Result<usize> {
    let among = ids.iter().copied().collect::<edge::HasIdCondition>();
    let filter = edge::Filter::new_must(edge::Condition::HasId(among));
    shard.count(edge::CountRequest { filter: Some(filter), exact: true }).map_err(failed)
}

/// Removes all points of these ids and writes the newest of each. The journal has them before, so
/// that a death at any moment leaves them there once or twice.
fn write_once(
    shard: &edge::EdgeShard,
    at: &Path,
    journal: &mut Journal,
    ids: Vec<edge::PointId>,
) -> Result<()> {
    check_free_space(at)?;
    let failed_at = |error| io_error(&journal_of(at), &error);
    let everything = Some(edge::WithPayloadInterface::Bool(true));
    let vectors = Some(edge::WithVector::Bool(true));
    let newest = shard.retrieve(&ids, everything, vectors).map_err(failed)?;
    let points = newest.into_iter().map(convert::stored).collect();
    let upsert = Write::Upsert(proto::UpsertPoints { points, ..proto::UpsertPoints::default() });
    journal.append(&upsert).map_err(failed_at)?;
    let points = Some(named(ids.clone()));
    let delete = Write::Delete(proto::DeletePoints { points, ..proto::DeletePoints::default() });
    // Numbers that lag behind those of the points are skipped, as in `apply_again`.
    for _ in 0..ATTEMPTS {
        if copies(shard, &ids)? == 0 {
            break;
        }
        apply(shard, delete.clone())?;
    }
    apply_again(shard, upsert)?;
    if journal.bytes() >= BYTES_UNFLUSHED {
        flush(shard)?;
        journal.truncate(0).map_err(failed_at)?;
    }
    Ok(())
}

/// Applies a write to a shard that may have it on disk already, with those that came after it:
/// fields may be set of points that a later entry deletes, and which are gone. Points may be
/// skipped, since the numbers that Edge gives to operations can lag behind those of points on its
/// disk, and it then misses them; each attempt takes the next number.
fn apply_again(shard: &edge::EdgeShard, entry: Write) -> Result<()> {
    let Write::SetPayload(mut request) = entry else {
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
    let present = shard.retrieve(&ids, no_payload, None).map_err(failed)?;
    if present.is_empty() {
        return Ok(());
    }
    request.points_selector = Some(named(present.into_iter().map(|point| point.id).collect()));
    apply(shard, Write::SetPayload(request))
}

/// Applies a write.
pub(super) fn apply(shard: &edge::EdgeShard, entry: Write) -> Result<()> {
    let operation = match entry {
        Write::Upsert(request) => {
            let points = request.points.into_iter().map(convert::point);
            let points = edge::PointInsertOperations::PointsList(points.collect::<Result<_>>()?);
            edge::UpdateOperation::PointOperation(edge::PointOperations::UpsertPoints(points))
        }
        Write::Delete(request) => {
            let ids = ids_of(request.points)?;
            let delete = edge::PointOperations::DeletePoints { ids };
            edge::UpdateOperation::PointOperation(delete)
        }
        Write::SetPayload(request) => {
            let set = edge::SetPayloadOp {
                payload: convert::payload(request.payload),
                points: Some(ids_of(request.points_selector)?),
                filter: None,
                key: None,
            };
            edge::UpdateOperation::PayloadOperation(edge::PayloadOps::SetPayload(set))
        }
        Write::CreateIndex(request) => {
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

/// A selector of these points.
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
    let log = log_of(at);
    let mut closed = Vec::new();
    for entry in fs::read_dir(&log).map_err(|error| io_error(&log, &error))? {
        let entry = entry.map_err(|error| io_error(&log, &error))?;
        let name = entry.file_name();
        let begins = name.to_str().and_then(|name| name.strip_prefix("closed-")?.parse().ok());
        if let Some(begins) = begins {
            closed.push((begins, entry.path()));
        }
    }
    closed.sort_unstable_by_key(|(begins, _): &(u64, PathBuf)| *begins);
    Ok(closed.into_iter().map(|(_, path)| path).collect())
}

/// Removes the closed parts of Edge's own log, which it neither reads nor removes, but for the
/// newest, which says where its numbers continue.
fn remove_old_logs(at: &Path) -> Result<()> {
    let mut closed = closed_logs(at)?;
    closed.pop();
    closed.iter().try_for_each(|path| fs::remove_file(path).map_err(|error| io_error(path, &error)))
}
