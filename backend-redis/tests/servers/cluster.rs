//! A cluster whose nodes die and whose slots move, under load (C1, G6).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use memquill_core::{Append, Backend, Message, Put, PutMany, ReadMessages, Scope, StoredMessage};

use crate::support::cluster::{Cluster, text};
use crate::support::connect;
use crate::{facts, put, scope, until_ok};
use testkit::until;

crate::cases! {
    c1_no_number_repeats_and_none_is_lost_when_a_primary_dies,
    c1_no_number_repeats_while_slots_move,
    c1_no_number_repeats_while_slots_move_and_writes_wait,
    g6_a_write_is_confirmed_while_its_slot_moves,
    g5_a_scope_whose_slot_moves_is_cleared_whole_or_not_at_all,
    e2_no_call_waits_past_its_time_for_a_cluster_that_does_not_answer,
    g6_a_failover_without_waiting_loses_only_the_end_of_what_the_dead_primary_had,
}

/// Scopes enough that every primary has some.
fn scopes() -> Vec<Scope> {
    (0..12).map(|at| Scope::new("alice", format!("node {at}")).unwrap()).collect()
}

/// The answers that a writer got.
#[derive(Debug, Default)]
struct Answers {
    acknowledged: Vec<u64>,
    /// How many appends failed, and may have been applied.
    unknown: u64,
}

/// Appends to each scope, one message after the other, until it is over.
fn load(backend: &Backend, over: &Arc<AtomicBool>) -> Vec<tokio::task::JoinHandle<Answers>> {
    let writers = scopes().into_iter().map(|scope| {
        let (backend, over) = (backend.clone(), Arc::clone(over));
        tokio::spawn(async move {
            let mut answers = Answers::default();
            while !over.load(Ordering::Relaxed) {
                let append = Append::new("c", vec![Message::user("x")]);
                match backend.conversations().unwrap().append(&scope, &append).await {
                    Ok(appended) => answers.acknowledged.push(appended.messages[0].seq),
                    Err(error) => {
                        assert!(error.is_transient(), "{error:?}");
                        answers.unknown += u64::from(error.maybe_applied());
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            }
            answers
        })
    });
    writers.collect()
}

/// What a conversation holds, in as many reads as it takes: a fast machine appends more than one
/// answer holds.
async fn all_messages(backend: &Backend, scope: &Scope) -> Vec<StoredMessage> {
    let conversations = backend.conversations().unwrap();
    let (mut parts, mut request) = (Vec::new(), ReadMessages::all("c"));
    loop {
        let part = until_ok(|| conversations.read(scope, &request)).await.messages;
        let Some(first) = part.first() else { break };
        request.before_seq = Some(first.seq);
        parts.push(part);
    }
    parts.into_iter().rev().flatten().collect()
}

/// Every acknowledged number is there once; what is there beside them was of unknown outcome.
async fn check(backend: &Backend, writers: Vec<tokio::task::JoinHandle<Answers>>) -> u64 {
    let mut acknowledged = 0;
    for (scope, writer) in scopes().iter().zip(writers) {
        let answers = writer.await.unwrap();
        let messages = all_messages(backend, scope).await;
        let stored: BTreeSet<u64> = messages.iter().map(|message| message.seq).collect();
        assert_eq!(stored.len(), messages.len(), "a number repeats");
        assert!(answers.acknowledged.is_sorted_by(|a, b| a < b), "a number was given twice");
        assert!(
            answers.acknowledged.iter().all(|seq| stored.contains(seq)),
            "acknowledged and lost"
        );
        let count = answers.acknowledged.len() as u64;
        assert!(stored.len() as u64 <= count + answers.unknown, "stored twice");
        acknowledged += count;
    }
    acknowledged
}

async fn c1_no_number_repeats_and_none_is_lost_when_a_primary_dies() {
    let mut cluster = Cluster::start("redis-server", 1, &[]);
    // An acknowledged write is on the replica too, and so outlives its primary.
    let backend = connect(&format!("{}?replicas=1&timeout=8s", cluster.url())).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let writers = load(&backend, &over);
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.servers[0].kill();
    let heir = &cluster.servers[3];
    until(|| text(heir.command(&["INFO", "replication"])).contains("role:master"));
    // The dead one comes back as a replica, so that there is one to wait for again.
    cluster.servers[0].run();
    let heir = &cluster.servers[3];
    until(|| text(heir.command(&["INFO", "replication"])).contains("state=online"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    over.store(true, Ordering::Relaxed);
    let acknowledged = check(&backend, writers).await;
    assert!(acknowledged > 500, "{acknowledged}");
}

async fn c1_no_number_repeats_while_slots_move() {
    move_slots_under_load(0, "").await;
}

async fn c1_no_number_repeats_while_slots_move_and_writes_wait() {
    move_slots_under_load(1, "?replicas=1").await;
}

async fn move_slots_under_load(replicas: usize, options: &str) {
    let cluster = Cluster::start("redis-server", replicas, &[]);
    let backend = connect(&format!("{}{options}", cluster.url())).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let writers = load(&backend, &over);
    tokio::time::sleep(Duration::from_millis(200)).await;
    for scope in scopes() {
        move_slot(&cluster, &format!("{{alice/{}}}", scope.node()));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    over.store(true, Ordering::Relaxed);
    let acknowledged = check(&backend, writers).await;
    // What waits for replicas is slower.
    let least = if replicas > 0 { 50 } else { 500 };
    assert!(acknowledged > least, "{acknowledged}");
}

/// All keys of the write are still where its slot moves from, and the marker after it is refused.
async fn g6_a_write_is_confirmed_while_its_slot_moves() {
    let cluster = Cluster::start("redis-server", 1, &[]);
    let backend = connect(&format!("{}?replicas=1", cluster.url())).await.unwrap();
    let scope = Scope::new("alice", "moving").unwrap();
    let put = Put::new("k", 1).with_ttl(Duration::from_hours(1));
    let working = backend.working().unwrap();
    working.put(&scope, &put).await.unwrap();
    let moving = Moving::begin(&cluster, "{alice/moving}").unwrap();
    working.put(&scope, &put).await.unwrap();
    moving.end();
    working.put(&scope, &put).await.unwrap();
}

/// Moves the slot of a key to the next primary, key by key, as a resharding does.
fn move_slot(cluster: &Cluster, key: &str) {
    if let Some(moving) = Moving::begin(cluster, key) {
        moving.end();
    }
}

/// A slot on its way from one primary to the next.
struct Moving<'a> {
    cluster: &'a Cluster,
    slot: String,
    ids: Vec<String>,
    from: usize,
    to: usize,
}

impl<'a> Moving<'a> {
    /// Opens the slot of a key at both ends, if it holds anything.
    fn begin(cluster: &'a Cluster, key: &str) -> Option<Self> {
        let slot = cluster.servers[0].command(&["CLUSTER", "KEYSLOT", key]);
        let slot: u16 = redis::from_redis_value(slot).unwrap();
        let slot = slot.to_string();
        let ids: Vec<String> = cluster
            .servers
            .iter()
            .map(|server| text(server.command(&["CLUSTER", "MYID"])))
            .collect();
        let from = (0..3).find(|&at| {
            let keys = cluster.servers[at].try_command(&["CLUSTER", "GETKEYSINSLOT", &slot, "1"]);
            keys.is_ok_and(|keys| {
                redis::from_redis_value::<Vec<String>>(keys).is_ok_and(|k| !k.is_empty())
            })
        })?;
        let to = (from + 1) % 3;
        cluster.servers[to].command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids[from]]);
        cluster.servers[from].command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids[to]]);
        Some(Self { cluster, slot, ids, from, to })
    }

    fn move_key(&self, key: &str) {
        let port = self.cluster.servers[self.to].port.to_string();
        let from = &self.cluster.servers[self.from];
        from.command(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
    }

    /// How many keys of the slot have not moved.
    fn unmoved(&self) -> u64 {
        let from = &self.cluster.servers[self.from];
        let count = from.command(&["CLUSTER", "COUNTKEYSINSLOT", &self.slot]);
        redis::from_redis_value(count).unwrap()
    }

    /// Moves what is left.
    fn end(self) {
        loop {
            let from = &self.cluster.servers[self.from];
            let keys = from.command(&["CLUSTER", "GETKEYSINSLOT", &self.slot, "1"]);
            let keys: Vec<String> = redis::from_redis_value(keys).unwrap();
            let Some(key) = keys.first() else { break };
            self.move_key(key);
        }
        for at in [self.to, self.from] {
            let server = &self.cluster.servers[at];
            server.command(&["CLUSTER", "SETSLOT", &self.slot, "NODE", &self.ids[self.to]]);
        }
    }
}

async fn g5_a_scope_whose_slot_moves_is_cleared_whole_or_not_at_all() {
    let cluster = Cluster::start("redis-server", 0, &[]);
    let backend = connect(&cluster.url()).await.unwrap();
    let (scope, working) = (scope(), backend.working().unwrap());
    for chunk in 0..5 {
        let entry = |at| Put::new(format!("k{at:04}"), 1).with_ttl(Duration::from_hours(1));
        let entries = (chunk * 500..(chunk + 1) * 500).map(entry).collect();
        working.put_many(&scope, &PutMany { entries }).await.unwrap();
    }
    let moving = Moving::begin(&cluster, "{alice/bot}").unwrap();
    // The script does not name it among its keys, and meets it after 2,000 others.
    moving.move_key("memory:{alice/bot}:entry:k2000");
    let before = moving.unmoved();
    let error = working.clear(&scope).await.unwrap_err();
    assert_eq!(facts(&error), ("unavailable", true, false), "{error:?}");
    assert_eq!(moving.unmoved(), before);
    moving.end();
    assert_eq!(until_ok(|| working.clear(&scope)).await, 2_500);
}

async fn e2_no_call_waits_past_its_time_for_a_cluster_that_does_not_answer() {
    let cluster = Cluster::start("redis-server", 0, &[]);
    let url = format!("{}?timeout=1s&connect_timeout=500ms", cluster.url());
    let backend = connect(&url).await.unwrap();
    put(&backend, "k", "v").await.unwrap();
    for server in &cluster.servers {
        server.signal("STOP");
    }
    // The first on connections that are there, the second on none.
    for _ in 0..2 {
        let begun = Instant::now();
        let calls = (0..20).map(|_| {
            let backend = backend.clone();
            tokio::spawn(async move { put(&backend, "k", "v").await })
        });
        for call in calls.collect::<Vec<_>>() {
            let error = call.await.unwrap().unwrap_err();
            assert!(error.is_transient(), "{error:?}");
        }
        let waited = begun.elapsed();
        assert!(waited < Duration::from_secs(3), "{waited:?}");
    }
    for server in &cluster.servers {
        server.signal("CONT");
    }
    until_ok(|| put(&backend, "k", "v")).await;
}

/// Appends messages that name themselves; gives what was acknowledged, number and name, in order.
fn named_load(
    backend: &Backend,
    over: &Arc<AtomicBool>,
) -> Vec<tokio::task::JoinHandle<Vec<(u64, String)>>> {
    let writers = scopes().into_iter().map(|scope| {
        let (backend, over) = (backend.clone(), Arc::clone(over));
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for name in 0.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let name = name.to_string();
                let append = Append::new("c", vec![Message::user(&*name)]);
                match backend.conversations().unwrap().append(&scope, &append).await {
                    Ok(appended) => acknowledged.push((appended.messages[0].seq, name)),
                    Err(error) => {
                        assert!(error.is_transient(), "{error:?}");
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            }
            acknowledged
        })
    });
    writers.collect()
}

/// Without `replicas` a primary acknowledges before its replica has the write. What a failover then
/// loses is the end of what the dead one acknowledged, and nothing that the heir did; what is
/// stored is numbered without gap and repeat.
async fn g6_a_failover_without_waiting_loses_only_the_end_of_what_the_dead_primary_had() {
    let mut cluster = Cluster::start("redis-server", 1, &["--appendonly", "yes"]);
    let heir = &cluster.servers[3];
    until(|| text(heir.command(&["INFO", "replication"])).contains("master_link_status:up"));
    let backend = connect(&format!("{}?timeout=8s", cluster.url())).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let writers = named_load(&backend, &over);
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.servers[0].kill();
    let heir = &cluster.servers[3];
    until(|| text(heir.command(&["INFO", "replication"])).contains("role:master"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    over.store(true, Ordering::Relaxed);
    let mut total = 0;
    for (scope, writer) in scopes().iter().zip(writers) {
        let acknowledged = writer.await.unwrap();
        total += acknowledged.len();
        let stored = all_messages(&backend, scope).await;
        assert!(stored.iter().map(|message| message.seq).eq(1..=stored.len() as u64));
        let kept = |(seq, name): &&(u64, String)| {
            let at = usize::try_from(*seq).unwrap() - 1;
            stored.get(at).is_some_and(|message| message.message.text() == name)
        };
        let lost: Vec<usize> =
            (0..acknowledged.len()).filter(|&at| !kept(&&acknowledged[at])).collect();
        // One run, and after it the numbers start over where it began.
        if let (Some(first), Some(last)) = (lost.first(), lost.last()) {
            assert_eq!(last - first + 1, lost.len(), "{scope:?} lost here and there: {lost:?}");
            if let Some((seq, _)) = acknowledged.get(last + 1) {
                assert!(*seq <= acknowledged[*last].0, "the heir never had what was lost");
            }
        } else {
            assert!(acknowledged.is_sorted_by(|(a, _), (b, _)| a < b), "a number repeats");
        }
    }
    assert!(total > 500, "{total}");
}
