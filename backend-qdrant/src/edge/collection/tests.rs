use std::fs;
use std::sync::mpsc::{Receiver, channel};

use super::*;

/// A collection, and what it asks to be done in the background.
fn make(at: &Path) -> (Arc<Collection>, Receiver<Job>) {
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
    let (jobs, queue) = channel();
    let config = convert::config(&request).unwrap();
    (Arc::new(Collection::create(at, config, jobs).unwrap()), queue)
}

fn open(at: &Path) -> Result<Arc<Collection>> {
    Collection::open(at, channel().0).map(Arc::new)
}

#[test]
fn g6_a_journal_that_cannot_be_applied_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("collection");
    drop(make(&at));
    let (mut journal, _) = Journal::open(&journal_of(&at)).unwrap();
    // One that names no points, as if it came from a version to come.
    let entry = Write::Delete(proto::DeletePoints::default());
    journal.append(&entry).unwrap();
    open(&at).unwrap_err();
    let (_, entries) = Journal::open(&journal_of(&at)).unwrap();
    assert_eq!(entries, [entry]);
}

#[test]
fn a_folder_that_was_made_for_fewer_segments_is_kept_in_more() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("collection");
    drop(make(&at));
    let segments = |shard: &edge::EdgeShard| shard.config().optimizers.default_segment_number;
    let old = edge::EdgeShard::load(&at, None).unwrap();
    old.set_optimizers_config(edge::EdgeOptimizersConfig::default()).unwrap();
    drop(old);
    drop(open(&at).unwrap());
    let now = edge::EdgeShard::load(&at, None).unwrap();
    assert_eq!(segments(&now), Some(shard::SEGMENTS));
}

fn point(
    id: u64,
    fields: impl Into<std::collections::HashMap<String, proto::Value>>,
) -> proto::PointStruct {
    let dense = proto::Vector::from(vec![1.0, 0.5]);
    let named = std::collections::HashMap::from([(crate::layout::DENSE.to_owned(), dense)]);
    proto::PointStruct { id: Some(id.into()), payload: fields.into(), vectors: Some(named.into()) }
}

fn upsert(points: Vec<proto::PointStruct>) -> Write {
    Write::Upsert(proto::UpsertPoints { points, ..Default::default() })
}

/// As where Edge has put the new segment beside the old one, and then fails: the new one is on
/// the disk, with what was deleted while it was built.
#[test]
fn g6_a_build_that_fails_brings_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("collection");
    let (collection, _queue) = make(&at);
    let points = (1..=300).map(|id| point(id, [("n".to_owned(), 1.into())])).collect();
    collection.write(upsert(points)).unwrap();
    collection.optimize().unwrap();
    let segments = shard::segments_of(&at);
    let old = fs::read_dir(&segments).unwrap().next().unwrap().unwrap().path();
    copy(&old, &segments.join("00000000-0000-4000-8000-000000000000"));
    shard::unlist_segments(&at).unwrap();
    let points = Some(named(vec![1.into(), 2.into()]));
    collection.write(Write::Delete(proto::DeletePoints { points, ..Default::default() })).unwrap();
    let points = vec![point(3, [("n".to_owned(), 2.into())])];
    collection.write(upsert(points)).unwrap();

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
    assert_eq!(open(&at).unwrap().scroll(all).unwrap().result, found);
}

#[test]
fn e1_a_write_that_cannot_be_applied_may_have_been_in_part() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("collection");
    let (collection, _queue) = make(&at);
    let write = |points| collection.write(upsert(points));
    // Its second point has a vector of another length, which the engine finds out as it
    // applies them.
    let mut wrong = point(2, [("n".to_owned(), 1.into())]);
    let dense = proto::Vector::from(vec![1.0, 0.5, 0.25]);
    let named = std::collections::HashMap::from([(crate::layout::DENSE.to_owned(), dense)]);
    wrong.vectors = Some(named.into());
    let failure = write(vec![point(1, [("n".to_owned(), 1.into())]), wrong]).unwrap_err();
    assert!(failure.maybe_applied, "{failure:?}");
    assert_eq!(fs::metadata(journal_of(&at)).unwrap().len(), 0, "it does not come back");
    // This one is refused before the journal has it.
    let failure = write(vec![proto::PointStruct::default()]).unwrap_err();
    assert!(!failure.maybe_applied, "{failure:?}");
}

#[test]
fn g14_a_build_that_panics_is_recorded_until_one_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let (collection, _queue) = make(&folder.path().join("collection"));
    collection.watched(|| panic!("as the test says")).unwrap_err();
    assert!(collection.trouble().unwrap().contains("panicked"));
    collection.optimize().unwrap();
    assert_eq!(collection.trouble(), None);
}

#[test]
fn g6_a_journal_that_nobody_flushes_is_flushed_by_a_writer() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("collection");
    let (collection, queue) = make(&at);
    drop(queue);
    let long = "x".repeat(24 << 20);
    let mut most = 0;
    for id in 1..=8 {
        let points = vec![point(id, [("long".to_owned(), long.clone().into())])];
        collection.write(upsert(points)).unwrap();
        most = most.max(fs::metadata(journal_of(&at)).unwrap().len());
    }
    assert!(most < MAX_BYTES_UNFLUSHED + (25 << 20), "{most}");
    assert!(fs::metadata(journal_of(&at)).unwrap().len() < most, "it was never emptied");
    assert!(collection.trouble().unwrap().contains("has ended"));
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
