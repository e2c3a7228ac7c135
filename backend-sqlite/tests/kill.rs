//! A killed process loses nothing acknowledged and leaves nothing half done (contract, G5, G6 and
//! G13): this test starts itself as a child that writes, kills it at some moment, and looks.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use memquill_core::{
    Append, Backend, CountRecords, EmbeddingSpace, Get, GetMany, Message, NewRecord, Put, PutMany,
    ReadMessages, Retention, StoreRecords, TextSearch,
};
use support::scope;

const FILE: &str = "MEMQUILL_KILL_FILE";
const FROM: &str = "MEMQUILL_KILL_FROM";

/// Kills while the child writes, and while it makes the file and its schema.
const KILLS: u64 = 170;
const EARLY_KILLS: u64 = 50;

const KEYS: [&str; 4] = ["a", "b", "c", "d"];
const KEPT: u64 = 30;

async fn open(file: &Path, round: u64) -> Backend {
    let synchronous = if round.is_multiple_of(4) { "full" } else { "normal" };
    let url = format!("sqlite:{}?synchronous={synchronous}", file.display()).parse().unwrap();
    memquill_sqlite::driver().connect(&url).await.unwrap()
}

/// The step of this number: each is one call, a batch.
async fn step(backend: &Backend, number: u64) {
    let text = format!("step{number}");
    match number % 3 {
        0 => {
            let batch = (0..3).map(|i| Message::user(&text).with_id(format!("{number}-{i}")));
            let append = Append::new("c", batch.collect());
            let append = append.with_retention(Retention::messages(KEPT));
            backend.conversations().unwrap().append(&scope(), &append).await.unwrap();
        }
        1 => {
            let entries = KEYS.map(|key| Put::new(key, number)).to_vec();
            backend.working().unwrap().put_many(&scope(), &PutMany { entries }).await.unwrap();
        }
        _ => {
            let record = |i| NewRecord::new(&text, vec![1.0]).with_id(format!("{number}-{i}"));
            let records = vec![record(0), record(1)];
            let space = EmbeddingSpace::new("model", 1);
            let request = StoreRecords { namespace: "n".into(), space, records };
            backend.vectors().unwrap().store(&scope(), &request).await.unwrap();
        }
    }
}

/// The child: steps from `FROM` on, each acknowledged by a line, until it is killed.
#[tokio::test]
async fn child_that_writes_until_it_is_killed() {
    let (Ok(file), Ok(from)) = (std::env::var(FILE), std::env::var(FROM)) else { return };
    let from: u64 = from.parse().unwrap();
    let backend = open(&PathBuf::from(file), from).await;
    let mut out = std::io::stdout();
    for number in from.. {
        step(&backend, number).await;
        writeln!(out, "\nacknowledged {number}").unwrap();
        out.flush().unwrap();
    }
}

/// Lets a child write for a while; gives the last step that it acknowledged.
fn killed_after(file: &Path, from: u64, life: Duration) -> Option<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_that_writes_until_it_is_killed", "--exact", "--nocapture"])
        .env(FILE, file)
        .env(FROM, from.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(life);
    child.kill().unwrap();
    let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let acknowledged = |line: &str| line.strip_prefix("acknowledged ")?.parse().ok();
    // A line that the kill cut short was not acknowledged.
    let whole = output.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().rev().find_map(acknowledged)
}

/// The last step of each kind that is there, whole; how many records there are.
async fn applied(backend: &Backend) -> [Option<u64>; 3] {
    let conversations = backend.conversations().unwrap();
    let read = conversations.read(&scope(), &ReadMessages::all("c")).await.unwrap();
    let statistics = conversations.statistics(&scope(), "c").await.unwrap();
    assert_eq!(statistics.message_count, read.messages.len() as u64);
    assert!(statistics.message_count <= KEPT);
    let number = |m: &memquill_core::StoredMessage| m.message.text()[4..].parse::<u64>().unwrap();
    for batch in read.messages.chunks(3) {
        assert!(batch.len() == 3 && batch.iter().all(|m| number(m) == number(&batch[0])));
    }
    assert!(read.messages.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1));
    assert_eq!(read.messages.last().map_or(0, |m| m.seq), statistics.last_seq);

    let keys = KEYS.map(String::from).to_vec();
    let working = backend.working().unwrap();
    let entries = working.get_many(&scope(), &GetMany { keys, extend: None }).await.unwrap();
    assert!(entries.is_empty() || entries.len() == KEYS.len());
    assert!(entries.windows(2).all(|pair| pair[0].value == pair[1].value));

    let vectors = backend.vectors().unwrap();
    let count = CountRecords { namespace: "n".into(), filter: None };
    let records = vectors.count(&scope(), &count).await.unwrap();
    assert_eq!(records % 2, 0);
    let last_record = (records > 0).then(|| records / 2 * 3 - 1);
    if let Some(last) = last_record {
        let word = format!("step{last}");
        let find = TextSearch::new("n", &word, 5);
        let hits = vectors.search_text(&scope(), &find).await.unwrap().hits;
        // The word's parts find the other steps as well, after those that have it whole.
        let whole = |hit: &memquill_core::Hit| hit.record.content.split(' ').any(|w| w == word);
        assert!(hits.len() >= 2 && hits[..2].iter().all(whole), "the words of step {last}");
    }
    let last_entry = entries.first().map(|entry| entry.value.as_u64().unwrap());
    [read.messages.last().map(number), last_entry, last_record]
}

/// What the state must be after the steps up to `last`.
fn after(last: Option<u64>) -> [Option<u64>; 3] {
    [0, 1, 2].map(|kind| last.and_then(|last| (0..=last).rev().find(|step| step % 3 == kind)))
}

#[tokio::test]
async fn g6_a_killed_process_loses_nothing_acknowledged_and_leaves_nothing_half_done() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.db");
    let mut next = 0;
    let mut moments = moments();
    for round in 0..KILLS {
        let life = Duration::from_micros(10_000 + moments.next().unwrap() % 120_000);
        let acknowledged = killed_after(&file, next, life).or(next.checked_sub(1));
        let backend = open(&file, round).await;
        let found = applied(&backend).await;
        let in_flight = Some(acknowledged.map_or(0, |last| last + 1));
        assert!(
            found == after(acknowledged) || found == after(in_flight),
            "round {round}: acknowledged {acknowledged:?}, found {found:?}"
        );
        next = found.into_iter().flatten().max().map_or(0, |last| last + 1);
    }
    assert!(next > KILLS, "the children hardly wrote: {next} steps");
}

#[tokio::test]
async fn g13_a_process_killed_while_it_makes_the_schema_leaves_a_file_that_opens() {
    let folder = tempfile::tempdir().unwrap();
    let mut moments = moments();
    for round in 0..EARLY_KILLS {
        let file = folder.path().join(format!("{round}.db"));
        let life = Duration::from_micros(moments.next().unwrap() % 30_000);
        let acknowledged = killed_after(&file, 0, life);
        let backend = open(&file, round).await;
        assert!(backend.working().unwrap().get(&scope(), &Get::new("a")).await.is_ok());
        let found = applied(&backend).await;
        assert!(
            found == after(acknowledged)
                || found == after(Some(acknowledged.map_or(0, |last| last + 1)))
        );
    }
}

/// Numbers without a pattern.
fn moments() -> impl Iterator<Item = u64> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    })
}
