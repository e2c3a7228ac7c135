//! Moving between stores in this process: what arrives is what was there, and what is damaged,
//! missing or different is told.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use memquill_core::json::Object;
use memquill_core::layer::{Call, Policy};
use memquill_core::text::Language;
use memquill_core::{
    Append, Backend, DeleteRecords, EmbeddingSpace, ErrorKind, Facet, Message, NewRecord, Put,
    ReadMessages, Rebind, Retention, Scope, Selection, StoreRecords, Timestamp, Trim, operation,
};
use memquill_inmemory::InMemory;
use memquill_transfer::{
    CopyOptions, Counts, Endpoint, Import, LeftOut, Moved, UserSelection, Verification, check,
    check_order, copy, count, export, import, verify,
};
use serde_json::json;

fn scope(user: &str, node: &str) -> Scope {
    Scope::new(user, node).unwrap()
}

fn quiet(_: u64) {}

const LENIENT: CopyOptions = CopyOptions { overwrite: false, strict: false };
const OVERWRITING: CopyOptions = CopyOptions { overwrite: true, strict: false };
const STRICT: CopyOptions = CopyOptions { overwrite: false, strict: true };

fn store() -> (InMemory, Backend) {
    let store = InMemory::new();
    let backend = store.backend();
    (store, backend)
}

fn everybody(store: &InMemory) -> UserSelection {
    UserSelection::All(Facet::ALL.into_iter().map(|facet| (facet, store.admin())).collect())
}

fn alice() -> UserSelection {
    UserSelection::User("alice".into())
}

fn records(namespace: &str, records: Vec<NewRecord>) -> StoreRecords {
    StoreRecords { namespace: namespace.into(), space: EmbeddingSpace::new("m", 2), records }
}

/// Something of everything: holes, a cleared conversation, an empty namespace, expiry, numbers at
/// the edges of their types, and names made to break out.
async fn fill(backend: &Backend) {
    let conversations = backend.conversations().unwrap();
    let vectors = backend.vectors().unwrap();
    let working = backend.working().unwrap();
    for (user, node) in [("alice", "bot"), ("alice", "it's \"{node}\" %_*"), ("bob", "bot")] {
        let scope = scope(user, node);
        let mut messages = vec![Message::system("be kind")];
        messages.extend((0..299).map(|n| Message::user(format!("{n} 𓀀")).with_id(n.to_string())));
        messages.push(Message {
            content: None,
            tool_calls: vec![json!({})],
            ..Message::assistant("")
        });
        let append = Append::new("long", messages);
        conversations.append(&scope, &append).await.unwrap();
        let retention = Retention::messages(40).keeping_system();
        let trim = Trim::new("long", retention);
        conversations.trim(&scope, &trim).await.unwrap();
        let append = Append::new("cleared; --", vec![Message::assistant("gone")]);
        conversations.append(&scope, &append).await.unwrap();
        conversations.clear(&scope, "cleared; --").await.unwrap();

        let metadata = json!({"n": [u64::MAX, i64::MIN, 1.0, -0.0, null, {"deep": "🙂"}]});
        let rich = NewRecord {
            metadata: metadata.as_object().unwrap().clone(),
            language: Some(Language::English),
            document_type: "faq".into(),
            ..NewRecord::new("runners run", vec![-0.0, 1.0e-40])
        };
        let expiring = NewRecord {
            ttl: Some(Duration::from_hours(1)),
            ..NewRecord::new("soon gone", vec![0.1, 0.2]).with_id("e/%")
        };
        vectors.store(&scope, &records("notes", vec![rich, expiring])).await.unwrap();
        let one = vec![NewRecord::new("x", vec![1.0, 0.0]).with_id("x")];
        vectors.store(&scope, &records("empty", one)).await.unwrap();
        let which = Selection::Ids(vec!["x".into()]);
        let delete = DeleteRecords { namespace: "empty".into(), which };
        vectors.delete(&scope, &delete).await.unwrap();

        let put = Put { metadata: Object::new(), ..Put::new("k:{}", json!({"v": u64::MAX})) };
        working.put(&scope, &put).await.unwrap();
        working.put(&scope, &put.with_ttl(Duration::from_hours(1))).await.unwrap();
        working.put(&scope, &Put::new("plain", 1.5)).await.unwrap();
    }
}

/// What one of the three scopes holds.
const EACH: Counts = Counts { messages: 40, records: 2, entries: 2 };

fn times(counts: Counts, n: u64) -> Counts {
    let Counts { messages, records, entries } = counts;
    Counts { messages: n * messages, records: n * records, entries: n * entries }
}

async fn exported(backend: &Backend, whose: &UserSelection) -> Vec<u8> {
    let mut file = Vec::new();
    export(&Endpoint::of(backend), whose, &mut file, &quiet).await.unwrap();
    file
}

async fn compared(
    from: &Backend,
    to: &Backend,
    whose: &UserSelection,
    there: &UserSelection,
) -> Verification {
    verify(&Endpoint::of(from), &Endpoint::of(to), whose, there, &quiet).await.unwrap()
}

#[tokio::test]
async fn a_file_takes_everything_along() {
    let (source, from) = store();
    fill(&from).await;
    let file = exported(&from, &everybody(&source)).await;
    assert_eq!(check(&mut file.as_slice()).unwrap(), times(EACH, 3));

    let (target, to) = store();
    let side = Endpoint::of(&to);
    let moved = import(&mut file.as_slice(), &side, &Import::default(), &quiet).await.unwrap();
    let left_out = LeftOut::default();
    assert_eq!(moved, Moved { read: times(EACH, 3), written: 132, unchanged: 0, left_out });
    let found = compared(&from, &to, &everybody(&source), &everybody(&target)).await;
    assert_eq!(found.told, []);
    assert_eq!(found.compared, times(EACH, 3));
    assert_eq!(exported(&to, &everybody(&target)).await, file, "to the byte");

    let again = import(&mut file.as_slice(), &side, &Import::default(), &quiet).await.unwrap();
    assert_eq!((again.written, again.unchanged), (0, 132));
}

#[tokio::test]
async fn a_copy_takes_everything_along_and_can_be_repeated() {
    let (source, from) = store();
    fill(&from).await;
    let (target, to) = store();
    let (side_from, side_to) = (Endpoint::of(&from), Endpoint::of(&to));
    let told = AtomicU64::new(0);
    let progress = |items| {
        told.fetch_add(items, Ordering::Relaxed);
    };
    let moved = copy(&side_from, &side_to, &everybody(&source), LENIENT, &progress).await.unwrap();
    assert_eq!(moved.read, times(EACH, 3));
    assert_eq!(told.into_inner(), moved.read.total());
    assert_eq!(count(&side_to, &everybody(&target)).await.unwrap(), times(EACH, 3));
    assert!(compared(&from, &to, &everybody(&source), &everybody(&target)).await.is_equal());
    let again = copy(&side_from, &side_to, &everybody(&source), LENIENT, &quiet).await.unwrap();
    assert_eq!(again.written, 0);
    let retried = Append::new("long", vec![Message::user("298 𓀀").with_id("298")]);
    let conversations = to.conversations().unwrap();
    let appended = conversations.append(&scope("alice", "bot"), &retried).await.unwrap();
    assert!(appended.replayed, "a message keeps its id");
    assert_eq!(appended.messages[0].seq, 300);
}

#[tokio::test]
async fn one_user_moves_alone() {
    let (source, from) = store();
    fill(&from).await;
    let (target, to) = store();
    copy(&Endpoint::of(&from), &Endpoint::of(&to), &alice(), LENIENT, &quiet).await.unwrap();
    assert_eq!(count(&Endpoint::of(&to), &everybody(&target)).await.unwrap(), times(EACH, 2));

    let file = exported(&from, &everybody(&source)).await;
    let (target, to) = store();
    let bob = Import { user: Some("bob".into()), ..Import::default() };
    import(&mut file.as_slice(), &Endpoint::of(&to), &bob, &quiet).await.unwrap();
    assert_eq!(count(&Endpoint::of(&to), &everybody(&target)).await.unwrap(), EACH);
}

#[tokio::test]
async fn a_facet_that_the_target_lacks_is_refused_before_anything_is_written() {
    let (_, from) = store();
    fill(&from).await;
    let (target, to) = store();
    let all = Endpoint::of(&from);
    let some = Endpoint::new().with(Facet::Vectors, to.clone());
    let refused = copy(&all, &some, &alice(), LENIENT, &quiet).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.message().contains("conversations"), "{refused}");
    assert!(refused.hint().unwrap().contains("--facets vectors"), "{refused}");
    assert_eq!(count(&Endpoint::of(&to), &everybody(&target)).await.unwrap(), Counts::default());

    let vectors = BTreeSet::from([Facet::Vectors]);
    let moved = copy(&all.only(&vectors).unwrap(), &some, &alice(), LENIENT, &quiet).await.unwrap();
    assert_eq!(moved.read, Counts { records: 4, ..Counts::default() });
}

#[tokio::test]
async fn what_differs_stops_a_strict_copy_unless_it_is_overwritten() {
    let (_, from) = store();
    fill(&from).await;
    let (_, to) = store();
    to.working().unwrap().put(&scope("alice", "bot"), &Put::new("plain", 2)).await.unwrap();
    let (from_side, to_side) = (Endpoint::of(&from), Endpoint::of(&to));
    let stopped = copy(&from_side, &to_side, &alice(), STRICT, &quiet).await.unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Conflict);
    for part in ["plain", "alice", "bot"] {
        assert!(stopped.message().contains(part), "{stopped}");
    }
    copy(&from_side, &to_side, &alice(), OVERWRITING, &quiet).await.unwrap();
    assert!(compared(&from, &to, &alice(), &alice()).await.is_equal());
}

#[tokio::test]
async fn a_conversation_that_went_on_in_the_target_is_never_overwritten() {
    let (_, from) = store();
    fill(&from).await;
    let (_, to) = store();
    let (from_side, to_side) = (Endpoint::of(&from), Endpoint::of(&to));
    copy(&from_side, &to_side, &alice(), LENIENT, &quiet).await.unwrap();
    for (backend, text) in [(&from, "here"), (&to, "there")] {
        let append = Append::new("long", vec![Message::user(text)]);
        let conversations = backend.conversations().unwrap();
        conversations.append(&scope("alice", "bot"), &append).await.unwrap();
    }
    let moved = copy(&from_side, &to_side, &alice(), OVERWRITING, &quiet).await.unwrap();
    assert_eq!(moved.left_out.count, 1);
    let left_out = &moved.left_out.items[0];
    assert_eq!(left_out.code, "conflict");
    assert!(left_out.reason.contains("\"long\"") && left_out.reason.contains("302"), "{left_out}");
}

#[tokio::test]
async fn every_difference_is_told() {
    let (_, from) = store();
    fill(&from).await;
    let (_, to) = store();
    copy(&Endpoint::of(&from), &Endpoint::of(&to), &alice(), LENIENT, &quiet).await.unwrap();
    let scope = scope("alice", "bot");
    let (conversations, vectors) = (to.conversations().unwrap(), to.vectors().unwrap());
    let working = to.working().unwrap();

    let append = |name: &str| Append::new(name, vec![Message::user("more")]);
    conversations.append(&scope, &append("long")).await.unwrap();
    conversations.append(&scope, &append("alone")).await.unwrap();
    let store =
        |name, id: &str| records(name, vec![NewRecord::new("n", vec![1.0, 1.0]).with_id(id)]);
    vectors.store(&scope, &store("notes", "e/%")).await.unwrap();
    vectors.store(&scope, &store("empty", "surplus")).await.unwrap();
    vectors.store(&scope, &store("besides", "x")).await.unwrap();
    working.put(&scope, &Put::new("plain", 1.5)).await.unwrap();
    working.delete(&scope, &memquill_core::Delete::new("k:{}")).await.unwrap();

    let found = compared(&from, &to, &alice(), &alice()).await;
    let told: Vec<String> = found
        .told
        .iter()
        .map(|difference| format!("{} {}", difference.place, difference.what))
        .collect();
    for expected in [
        "the conversation \"long\" has 41 messages in the target, not 40",
        "the conversation \"long\" has 302 as last number in the target, not 301",
        "the conversation \"alone\" is in the target alone",
        "record \"e/%\" of the namespace \"notes\" differs in content, ",
        "the namespace \"empty\" holds 1 records in the target, not 0",
        "the namespace \"besides\" is in the target alone",
        "entry \"plain\" of the working memory differs in version, ",
        "entry \"k:{}\" of the working memory is missing in the target",
        "the working memory holds 1 entries in the target, not 2",
    ] {
        assert!(told.iter().any(|told| told.starts_with(expected)), "{expected} in {told:#?}");
    }
    assert_eq!(found.differences, told.len() as u64);
    assert!(found.told.iter().all(|difference| difference.node == "bot"));
}

#[tokio::test]
async fn a_damaged_file_is_told_before_it_is_taken_for_whole() {
    let (_, from) = store();
    let append = Append::new("c", vec![Message::user("one"), Message::user("two")]);
    from.conversations().unwrap().append(&scope("alice", "bot"), &append).await.unwrap();
    from.working().unwrap().put(&scope("alice", "bot"), &Put::new("k", 1)).await.unwrap();
    let file = exported(&from, &alice()).await;
    check(&mut file.as_slice()).unwrap();
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 0x04;
        check(&mut damaged.as_slice()).unwrap_err();
        // The end of the last line is all that may be missing.
        assert_eq!(check(&mut &file[..at]).is_ok(), at == file.len() - 1, "the first {at} bytes");
    }
    let lines: Vec<&[u8]> = file.split_inclusive(|byte| *byte == b'\n').collect();
    for left_out in 0..lines.len() {
        let kept: Vec<&[u8]> =
            (0..lines.len()).filter(|at| *at != left_out).map(|at| lines[at]).collect();
        let error = check(&mut kept.concat().as_slice()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupted, "without line {left_out}");
        let swapped = left_out + 1;
        if swapped < lines.len() {
            let mut others = lines.clone();
            others.swap(left_out, swapped);
            check(&mut others.concat().as_slice()).unwrap_err();
        }
    }
    check(&mut [file.as_slice(), b"{}"].concat().as_slice()).unwrap_err();
}

#[tokio::test]
async fn a_file_that_an_editor_saved_is_read() {
    let (_, from) = store();
    fill(&from).await;
    let file = String::from_utf8(exported(&from, &alice()).await).unwrap();
    for text in [
        format!("\u{FEFF}{file}"),
        file.replace('\n', "\r\n"),
        file.trim_end().to_owned(),
        format!("{file}\n\r\n"),
    ] {
        check(&mut text.as_bytes()).unwrap();
        let (_, to) = store();
        let side = Endpoint::of(&to);
        let moved = import(&mut text.as_bytes(), &side, &Import::default(), &quiet).await.unwrap();
        assert!(moved.left_out.is_empty(), "{:?}", moved.left_out);
        assert!(compared(&from, &to, &alice(), &alice()).await.is_equal());
    }
}

/// What an import of a text leaves out, line and reason, and how much is there then.
async fn left_out(text: &str) -> (Vec<(u64, String)>, Counts) {
    let (target, to) = store();
    let side = Endpoint::of(&to);
    let moved = import(&mut text.as_bytes(), &side, &Import::default(), &quiet).await.unwrap();
    let left_out = moved.left_out.items.into_iter();
    let left_out = left_out.map(|item| (item.line.unwrap(), item.reason)).collect();
    (left_out, count(&side, &everybody(&target)).await.unwrap())
}

#[tokio::test]
async fn a_damaged_line_costs_itself_alone() {
    let (source, from) = store();
    fill(&from).await;
    let file = String::from_utf8(exported(&from, &everybody(&source)).await).unwrap();
    let lines: Vec<&str> = file.split_inclusive('\n').collect();
    let with = |at: usize, text: &str| {
        let mut lines = lines.clone();
        lines[at] = text;
        lines.concat()
    };
    let at = |begins: &str| lines.iter().position(|line| line.starts_with(begins)).unwrap();
    for begins in ["{\"message\"", "{\"record\"", "{\"entry\""] {
        let at = at(begins);
        let text = with(at, &lines[at].replacen("created", "created_", 1));
        check_order(&mut text.as_bytes()).unwrap();
        let (left_out, there) = left_out(&text).await;
        assert_eq!(left_out.len(), 1, "{left_out:?}");
        assert_eq!(left_out[0].0, at as u64 + 1);
        assert_eq!(there.total(), 132 - 1, "{begins}");
    }
    // The items of a container that is unknown are put into no other.
    let space = lines.iter().position(|line| line.contains("\"namespace\":\"notes\"")).unwrap();
    let (lost, there) = left_out(&with(space, "{\"name\n")).await;
    assert_eq!((lost.len(), lost[0].0), (1, space as u64 + 1));
    assert!(there.records < 6, "{there:?}");
    assert_eq!((there.messages, there.entries), (120, 6));
    // A file that was cut short gives what it has.
    let (lost, there) = left_out(&lines[..lines.len() - 1].concat()).await;
    assert!(lost[0].1.contains("cut short"), "{lost:?}");
    assert_eq!(there.total(), 132);
    // Lines that are missing could belong anywhere.
    check_order(&mut with(space, "").as_bytes()).unwrap_err();
}

#[tokio::test]
async fn two_items_of_one_name_are_answered_alike_near_and_far() {
    for between in [0, 300] {
        let mut text = String::new();
        let mut line = |body: String| {
            let crc = crc32fast::hash(body.as_bytes());
            text.extend([body.as_str(), ",\"crc32\":\"", &format!("{crc:08x}"), "\"}\n"]);
        };
        line("{\"memquill_export\":{\"version\":1}".into());
        line("{\"working\":{\"user\":\"u\",\"node\":\"n\"}".into());
        let entry = |key: &str, value: u64| {
            let time = "2026-01-01T00:00:00.000Z";
            json!({"entry": {"key": key, "value": value, "metadata": {}, "version": 1,
                "created_at": time, "updated_at": time, "expires_at": null}})
            .to_string()
            .strip_suffix('}')
            .unwrap()
            .to_owned()
        };
        line(entry("twice", 1));
        for n in 0..between {
            line(entry(&format!("k{n}"), 0));
        }
        line(entry("twice", 2));
        line(entry("twice", 1));
        let (left_out, there) = left_out(&text).await;
        assert_eq!(left_out[0].0, 4 + between);
        assert!(left_out[0].1.contains("\"twice\""), "{left_out:?}");
        assert_eq!(left_out.len(), 2, "and the end is missing: {left_out:?}");
        assert_eq!(there.entries, 1 + between);
    }
}

#[tokio::test]
async fn one_item_that_differs_holds_no_other() {
    let (_, from) = store();
    let scope = scope("alice", "bot");
    for n in 0..300 {
        let put = Put::new(format!("k{n:03}"), n);
        from.working().unwrap().put(&scope, &put).await.unwrap();
    }
    let record =
        |n: u32| NewRecord::new(format!("text {n}"), vec![1.0, 0.0]).with_id(n.to_string());
    let all = records("notes", (0..300).map(record).collect());
    from.vectors().unwrap().store(&scope, &all).await.unwrap();
    for name in ["a", "b", "c"] {
        let append = Append::new(name, vec![Message::user(name)]);
        from.conversations().unwrap().append(&scope, &append).await.unwrap();
    }
    let (target, to) = store();
    to.working().unwrap().put(&scope, &Put::new("k123", "mine")).await.unwrap();
    let mine = NewRecord::new("mine", vec![0.0, 1.0]).with_id("77");
    to.vectors().unwrap().store(&scope, &records("notes", vec![mine])).await.unwrap();
    let append = Append::new("b", vec![Message::user("mine")]);
    to.conversations().unwrap().append(&scope, &append).await.unwrap();

    let (from_side, to_side) = (Endpoint::of(&from), Endpoint::of(&to));
    let moved = copy(&from_side, &to_side, &alice(), LENIENT, &quiet).await.unwrap();
    let reasons: Vec<&str> = moved.left_out.items.iter().map(|item| item.reason.as_str()).collect();
    assert_eq!(moved.left_out.count, 3, "{reasons:?}");
    for name in ["\"b\"", "\"77\"", "\"k123\""] {
        assert!(reasons.iter().any(|reason| reason.contains(name)), "{name} in {reasons:?}");
    }
    let there = count(&to_side, &everybody(&target)).await.unwrap();
    assert_eq!(there, Counts { messages: 3, records: 300, entries: 300 });
    assert_eq!(moved.written, 2 + 299 + 299);
    let file = exported(&from, &alice()).await;
    let again = import(&mut file.as_slice(), &to_side, &Import::default(), &quiet).await.unwrap();
    assert_eq!((again.left_out.count, again.written), (3, 0));
    assert!(again.left_out.items.iter().all(|item| item.line.is_some()));
}

#[tokio::test]
async fn v3_a_namespace_of_another_space_is_left_out_once() {
    let (_, from) = store();
    let scope = scope("alice", "bot");
    let record = |n: u32| NewRecord::new(format!("text {n}"), vec![1.0, 0.0]);
    let all = records("notes", (0..400).map(record).collect());
    from.vectors().unwrap().store(&scope, &all).await.unwrap();
    let (_, to) = store();
    let other = StoreRecords {
        space: EmbeddingSpace::new("other", 2),
        ..records("notes", vec![NewRecord::new("x", vec![1.0, 0.0])])
    };
    to.vectors().unwrap().store(&scope, &other).await.unwrap();
    let (from, to) = (Endpoint::of(&from), Endpoint::of(&to));
    let moved = copy(&from, &to, &alice(), LENIENT, &quiet).await.unwrap();
    assert_eq!((moved.left_out.count, moved.written), (1, 0), "{:?}", moved.left_out);
    assert_eq!(moved.read.records, 400);
}

#[tokio::test]
async fn a_file_of_a_newer_format_is_refused() {
    let body = "{\"memquill_export\":{\"version\":2}";
    let line = format!("{body},\"crc32\":\"{:08x}\"}}\n", crc32fast::hash(body.as_bytes()));
    let error = check(&mut line.as_bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("format 2"), "{error}");
}

/// Counts the calls of an operation.
#[derive(Debug, Clone)]
struct Counting(Arc<AtomicU64>);

impl Policy for Counting {
    async fn around<T, F, N>(&self, call: Call<'_>, next: N) -> memquill_core::Result<T>
    where
        T: Send,
        F: Future<Output = memquill_core::Result<T>> + Send,
        N: Fn() -> F + Send + Sync,
    {
        if call.operation == operation::READ_MESSAGES {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        next().await
    }
}

#[tokio::test]
async fn a_wide_gap_costs_few_reads() {
    let (_, from) = store();
    let scope = scope("alice", "bot");
    let conversations = from.conversations().unwrap();
    let keep = Retention::messages(2).keeping_system();
    let mut messages = vec![Message::system("stays")];
    messages.extend((0..999).map(|_| Message::user("goes")));
    conversations.append(&scope, &Append::new("c", messages.clone())).await.unwrap();
    messages[0] = Message::user("goes");
    for _ in 0..100 {
        let append = Append::new("c", messages.clone()).with_retention(keep);
        conversations.append(&scope, &append).await.unwrap();
    }
    let reads = Arc::new(AtomicU64::new(0));
    let counted = from.clone().layered(Counting(Arc::clone(&reads)));
    let file = exported(&counted, &alice()).await;
    assert_eq!(check(&mut file.as_slice()).unwrap().messages, 2);
    let reads = reads.load(Ordering::Relaxed);
    assert!(reads < 40, "{reads} reads for a gap of 100,000 numbers");
}

#[tokio::test]
async fn what_expires_meanwhile_is_no_difference() {
    let clock = Arc::new(memquill_core::ManualClock::new(
        Timestamp::from_millis(1_800_000_000_000).unwrap(),
    ));
    let at = || InMemory::with_clock(Arc::clone(&clock) as Arc<dyn memquill_core::Clock>).backend();
    let (from, to) = (at(), at());
    let scope = scope("alice", "bot");
    let put = Put::new("k", 1).with_ttl(Duration::from_secs(1));
    from.working().unwrap().put(&scope, &put).await.unwrap();
    from.working().unwrap().put(&scope, &Put::new("stays", 1)).await.unwrap();
    copy(&Endpoint::of(&from), &Endpoint::of(&to), &alice(), LENIENT, &quiet).await.unwrap();
    let ended = Arc::clone(&clock);
    // It expires while the first items are being compared.
    let progress = move |_| ended.advance(Duration::from_secs(2));
    let found = verify(&Endpoint::of(&from), &Endpoint::of(&to), &alice(), &alice(), &progress)
        .await
        .unwrap();
    assert_eq!(found.told, []);
    let read = ReadMessages::all("none");
    assert_eq!(to.conversations().unwrap().read(&scope, &read).await.unwrap().messages, []);
}

#[tokio::test]
async fn the_documented_example_is_a_whole_file() {
    let document = include_str!("../../docs/export-format.md");
    let (_, example) = document.split_once("```text\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let (target, to) = store();
    let mut file = example.as_bytes();
    check(&mut file).unwrap();
    let mut file = example.as_bytes();
    import(&mut file, &Endpoint::of(&to), &Import::default(), &quiet).await.unwrap();
    let exported = exported(&to, &everybody(&target)).await;
    assert_eq!(String::from_utf8(exported).unwrap(), example, "as this program writes it");
}

/// Moves the namespace to another space behind the last of its records that are read.
#[derive(Debug)]
struct Rebound(Backend);

impl Policy for Rebound {
    async fn around<T, F, N>(&self, call: Call<'_>, next: N) -> memquill_core::Result<T>
    where
        T: Send,
        F: Future<Output = memquill_core::Result<T>> + Send,
        N: Fn() -> F + Send + Sync,
    {
        let done = next().await?;
        if call.operation == operation::SCAN_RECORDS {
            let vectors = self.0.vectors()?;
            let space = EmbeddingSpace::new("other", 2);
            let record = NewRecord::new("x", vec![1.0, 0.0]);
            let other = StoreRecords { namespace: "new".into(), space, records: vec![record] };
            vectors.store(&scope("alice", "bot"), &other).await?;
            let rebind = Rebind { namespace: "n".into(), from: "new".into() };
            vectors.rebind(&scope("alice", "bot"), &rebind).await?;
        }
        Ok(done)
    }
}

#[tokio::test]
async fn v13_records_are_not_told_with_a_space_that_they_do_not_have() {
    let (_source, from) = store();
    let record = NewRecord::new("x", vec![1.0, 0.0]);
    let vectors = from.vectors().unwrap();
    vectors.store(&scope("alice", "bot"), &records("n", vec![record])).await.unwrap();
    let (_target, to) = store();
    let from = Endpoint::of(&from.clone().layered(Rebound(from)));
    let error = copy(&from, &Endpoint::of(&to), &alice(), LENIENT, &quiet).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}
