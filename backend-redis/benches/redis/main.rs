//! The driver against the raw client, in one run on one server: `cargo bench -p memquill-redis`, with
//! the names of some of the parts behind `--` if not all of them are wanted.
//!
//! Each comparison takes turns, call by call, so that whatever else the machine does falls on both
//! sides alike, and compares the medians, and the best. The server is that of `BENCH_REDIS_URL`, or this
//! machine's `redis-server` on a port of its own, at the end of a link that takes `BENCH_REDIS_LINK_US`
//! microseconds each way if that is set.
//!
//! *By hand* is what a program would send that wants the same of the server: the commands of one
//! transaction in one write.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark reports and fails loudly"
)]

mod link;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use memquill_core::{Append, Backend, Get, Message, Put, PutMany, ReadMessages, Retention, Scope};
use memquill_redis::driver;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd};
use testkit::redis::Server;

const VALUE: &str =
    "The quick brown fox jumps over the lazy dog, again and again and again. 1234567";
const BATCH: usize = 1_000;

/// Takes turns between two calls and prints both medians and their ratio. What both need anew for
/// each turn is made beforehand.
macro_rules! compare {
    ($name:expr, $rounds:expr, $base:expr, $ours:expr) => {
        compare!($name, $rounds, let () = (), $base, $ours)
    };
    ($name:expr, $rounds:expr, let $needed:pat = $make:expr, $base:expr, $ours:expr) => {{
        let (mut base, mut ours) = (Vec::new(), Vec::new());
        for round in 0..$rounds {
            let $needed = $make;
            for turn in [round % 2 == 0, round % 2 == 1] {
                let start = Instant::now();
                if turn {
                    $base;
                    base.push(start.elapsed());
                } else {
                    $ours;
                    ours.push(start.elapsed());
                }
            }
        }
        let ratio = |base: Duration, ours: Duration| ours.as_secs_f64() / base.as_secs_f64();
        let best = ratio(*base.iter().min().unwrap(), *ours.iter().min().unwrap());
        let (base, ours) = (median(base), median(ours));
        let ratio = ratio(base, ours);
        println!("{:<48} {base:>10.1?} {ours:>10.1?} {ratio:>7.2} {best:>7.2}", $name);
    }};
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

struct Bench {
    backend: Backend,
    raw: MultiplexedConnection,
    scope: Scope,
}

impl Bench {
    async fn new(url: &str) -> Self {
        let store = format!("{url}?prefix=bench").parse().unwrap();
        driver().admin(&store).await.unwrap().migrate().await.unwrap();
        let client = redis::Client::open(url).unwrap();
        // As patient as the driver, for a machine that is busy.
        let patient =
            AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
        Self {
            backend: driver().connect(&store).await.unwrap(),
            raw: client.get_multiplexed_async_connection_with_config(&patient).await.unwrap(),
            scope: Scope::new("alice", "bot").unwrap(),
        }
    }

    async fn raw(&self, command: &Cmd) -> redis::Value {
        self.raw.clone().send_packed_command(command).await.unwrap()
    }

    async fn append(&self, append: &Append) {
        self.backend.conversations().unwrap().append(&self.scope, append).await.unwrap();
    }

    async fn fill(&self, conversation: &str, count: usize) {
        for _ in 0..count / 100 {
            self.append(&Append::new(conversation, vec![Message::user(VALUE); 100])).await;
        }
    }

    async fn entries(&self) {
        let working = self.backend.working().unwrap();
        let mut set = redis::cmd("SET");
        set.arg("raw:k").arg(VALUE);
        let put = Put::new("k", VALUE);
        compare!(
            "put : SET",
            4_000,
            self.raw(&set).await,
            working.put(&self.scope, &put).await.unwrap()
        );
        let put = Put::new("expiring", VALUE).with_ttl(Duration::from_hours(1));
        compare!(
            "put with a ttl : SET",
            4_000,
            self.raw(&set).await,
            working.put(&self.scope, &put).await.unwrap()
        );
        let mut raw_get = redis::cmd("GET");
        raw_get.arg("raw:k");
        let get = Get::new("k");
        compare!(
            "get : GET",
            4_000,
            self.raw(&raw_get).await,
            working.get(&self.scope, &get).await.unwrap()
        );
        compare!(
            "64 gets at once : 64 GETs at once",
            1_000,
            join_all((0..64).map(|_| self.raw(&raw_get))).await,
            join_all((0..64).map(|_| working.get(&self.scope, &get))).await
        );
    }

    /// What a script costs that does nothing: less, no atomic step of several commands can cost.
    async fn floor(&self) {
        let mut set = redis::cmd("SET");
        set.arg("raw:k").arg(VALUE);
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg("return 1");
        let sha: String = redis::from_redis_value(self.raw(&load).await).unwrap();
        let mut empty = redis::cmd("EVALSHA");
        empty.arg(sha).arg(4).arg(&["raw:a", "raw:b", "raw:c", "raw:d"]);
        empty.arg(&["k", "", "", VALUE]);
        compare!("an empty script : SET", 4_000, self.raw(&set).await, self.raw(&empty).await);
    }

    async fn appends(&self) {
        let mut rpush = redis::cmd("RPUSH");
        rpush.arg("raw:list").arg(VALUE);
        let retention = Retention { max_tokens: Some(4_000), ..Retention::messages(100) };
        let append = Append::new("kept", vec![Message::user(VALUE)]).with_retention(retention);
        compare!(
            "append with retention : RPUSH",
            4_000,
            self.raw(&rpush).await,
            self.append(&append).await
        );
        // What is counted stays right only while nothing else is stored in that conversation.
        let mut by_hand = redis::pipe();
        by_hand.atomic().cmd("TIME").cmd("INCR").arg("raw:number");
        by_hand.cmd("XADD").arg("raw:stream").arg("*").arg("m").arg(VALUE);
        by_hand.cmd("XRANGE").arg("raw:stream").arg("-").arg("+").arg("COUNT").arg(1);
        by_hand.cmd("XTRIM").arg("raw:stream").arg("MAXLEN").arg("=").arg(100);
        by_hand.cmd("INCRBY").arg("raw:tokens").arg(20);
        let mut raw = self.raw.clone();
        compare!(
            "append with retention : by hand",
            4_000,
            by_hand.exec_async(&mut raw).await.unwrap(),
            self.append(&append).await
        );
    }

    async fn batches(&self) {
        let working = self.backend.working().unwrap();
        let puts = |start: &str| PutMany {
            entries: (0..BATCH).map(|at| Put::new(format!("{start} {at}"), VALUE)).collect(),
        };
        let keys = |start: &str| -> Vec<String> {
            (0..BATCH).map(|at| format!("raw:{start} {at}")).collect()
        };
        let sets = |start: &str| {
            let mut pipeline = redis::pipe();
            for key in keys(start) {
                pipeline.cmd("SET").arg(key).arg(VALUE).ignore();
            }
            pipeline
        };
        // With a version, and an index in byte order.
        let by_hand = |start: &str| {
            let mut pipeline = redis::pipe();
            pipeline.atomic().cmd("TIME").cmd("INCR").arg("raw:version");
            let keys = keys(start);
            pipeline.cmd("MGET").arg(&keys);
            for key in keys {
                pipeline.cmd("SET").arg(&key).arg(VALUE).ignore();
                pipeline.cmd("ZADD").arg("raw:keys").arg(0).arg(key).ignore();
            }
            pipeline
        };
        let mut raw = self.raw.clone();
        let mut starts = (0..).map(|batch| format!("k{batch}"));
        for (name, pipeline) in [
            ("a pipeline of SETs", &sets as &dyn Fn(&str) -> redis::Pipeline),
            ("by hand", &by_hand),
        ] {
            let mut fresh = || {
                let start = starts.next().unwrap();
                (pipeline(&start), puts(&start))
            };
            compare!(
                format!("put_many of 1,000 new : {name}"),
                100,
                let (theirs, ours) = fresh(),
                theirs.exec_async(&mut raw).await.unwrap(),
                working.put_many(&self.scope, &ours).await.unwrap()
            );
            let (theirs, ours) = (pipeline("again"), puts("again"));
            compare!(
                format!("put_many of 1,000 again : {name}"),
                100,
                theirs.exec_async(&mut raw).await.unwrap(),
                working.put_many(&self.scope, &ours).await.unwrap()
            );
        }
    }

    async fn windows(&self) {
        let conversations = self.backend.conversations().unwrap();
        self.fill("of 100", 100).await;
        self.fill("of 100000", 100_000).await;
        let (few, many) =
            (ReadMessages::newest("of 100", 20), ReadMessages::newest("of 100000", 20));
        compare!(
            "newest 20 of 100,000 : of 100",
            2_000,
            conversations.read(&self.scope, &few).await.unwrap(),
            conversations.read(&self.scope, &many).await.unwrap()
        );
        let message = vec![Message::user(VALUE)];
        let (few, many) =
            (Append::new("of 100", message.clone()), Append::new("of 100000", message));
        compare!(
            "append to 100,000 : to 100",
            2_000,
            self.append(&few).await,
            self.append(&many).await
        );
    }

    async fn memory(&self) {
        for (what, pattern, count) in [
            ("a message", "bench:*:messages:of 100000", Some(100_000)),
            ("an entry", "bench:*:entry:*", None),
            ("an entry in the index", "bench:*:working", Some(100_000)),
            ("a raw key", "raw:k*", None),
        ] {
            let mut command = redis::cmd("KEYS");
            command.arg(pattern);
            let keys: Vec<String> = redis::from_redis_value(self.raw(&command).await).unwrap();
            let mut bytes = 0;
            for key in &keys {
                let mut command = redis::cmd("MEMORY");
                command.arg("USAGE").arg(key).arg("SAMPLES").arg(0);
                bytes += redis::from_redis_value::<usize>(self.raw(&command).await).unwrap();
            }
            let count = count.unwrap_or(keys.len()).max(1);
            println!("{:<48} {:>10} bytes", what, bytes / count);
        }
        println!("{:<48} {:>10} bytes", "each holding text of", VALUE.len());
    }
}

fn main() {
    let local = std::env::var("BENCH_REDIS_URL");
    let server = local.is_err().then(|| Server::start("redis-server", &[]));
    let mut url = server.as_ref().map_or_else(|| local.unwrap_or_default(), Server::url);
    if let Ok(late) = std::env::var("BENCH_REDIS_LINK_US") {
        let mut near = url::Url::parse(&url).unwrap();
        let late = Duration::from_micros(late.parse().unwrap());
        near.set_port(Some(link::to(near.port().unwrap(), late))).unwrap();
        url = near.into();
    }
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let bench = Bench::new(&url).await;
        println!(
            "{:<48} {:>10} {:>10} {:>7} {:>7}",
            "p50 of ours : base", "base", "ours", "ratio", "best"
        );
        let wanted: Vec<String> =
            std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
        let wants = |part: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == part);
        if wants("entries") {
            bench.entries().await;
        }
        if wants("task") {
            println!("from a task of the runtime's pool:");
            tokio::spawn(async move { Bench::new(&url).await.entries().await }).await.unwrap();
        }
        if wants("floor") {
            bench.floor().await;
        }
        if wants("appends") {
            bench.appends().await;
        }
        if wants("batches") {
            bench.batches().await;
        }
        if wants("windows") {
            bench.windows().await;
        }
        if wants("memory") {
            bench.memory().await;
        }
    });
}
