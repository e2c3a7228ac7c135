//! Reports on the servers: version, durability, and what is wrong.

use memquill_core::{Durability, Error, Result};
use redis::Value;

use crate::codec;
use crate::connection::Connection;
use crate::error::cluster_node;

/// A report on one or all servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// Name and version.
    pub(crate) version: String,
    pub(crate) durability: Durability,
    /// Whether a server is known to keep nothing on disk, so that a restart empties it.
    pub(crate) volatile: bool,
    /// The writes that a crash loses, in words.
    pub(crate) window: &'static str,
    /// What is missing, and what to do about it.
    pub(crate) missing: Vec<String>,
}

/// Asks every server; where they differ, the weakest counts. Fails where the URL leads to something
/// that is no store: a Sentinel, or one node of a larger cluster.
pub(crate) async fn report(connection: &Connection) -> Result<Report> {
    let infos = connection.everywhere(&redis::cmd("INFO")).await?;
    let settings = settings(connection).await;
    let infos: Vec<Info> =
        infos.into_iter().map(|info| Ok(Info(info_text(info)?))).collect::<Result<_>>()?;
    if infos.iter().any(|info| info.get("redis_mode") == Some("sentinel")) {
        return Err(sentinel());
    }
    if !connection.is_cluster()
        && infos.iter().any(|info| info.get("cluster_enabled") == Some("1"))
        && has_several_primaries(connection).await
    {
        return Err(cluster_node());
    }
    let known = settings.iter().flatten();
    let volatile = known.clone().any(|settings| !settings.snapshots && !settings.log);
    let weakest = infos
        .iter()
        .enumerate()
        .map(|(at, info)| Persistence::of(info, known.clone().nth(at)))
        .min_by_key(|persistence| persistence.durability)
        .unwrap_or(Persistence { durability: Durability::Process, words: "unknown" });
    let version = infos.first().map(Info::version).unwrap_or_default();
    let replicas = connection.replicas();
    let mut missing: Vec<String> = infos.iter().flat_map(|info| info.missing(replicas)).collect();
    missing.sort();
    missing.dedup();
    if connection.is_cluster() {
        missing.extend(cluster_state(connection).await);
    }
    Ok(Report { version, durability: weakest.durability, volatile, window: weakest.words, missing })
}

/// Explains why there are no vectors: what the server has for them, and what it lacks of the contract.
pub(crate) async fn about_vectors(connection: &Connection) -> &'static str {
    let mut command = redis::cmd("COMMAND");
    command.arg("INFO").arg("VADD").arg("FT.SEARCH");
    let answers = connection.everywhere(&command).await.unwrap_or_default();
    let has = |at: usize| {
        answers.iter().any(|answer| match answer {
            Value::Array(commands) => !matches!(commands.get(at), None | Some(Value::Nil)),
            _ => false,
        })
    };
    match (has(0), has(1)) {
        (_, true) => {
            "no vectors: the server's query engine reads words and filters by rules of its own (V8, \
             V9); bind vectors to another store"
        }
        (true, false) => {
            "no vectors: the server's vector sets have no words (V9), and filters whose missing \
             fields and types mean something else (V8); bind vectors to another store"
        }
        (false, false) => "no vectors: the server has none; bind vectors to another store",
    }
}

/// The failures that an acknowledged write survives.
struct Persistence {
    durability: Durability,
    words: &'static str,
}

/// The settings `save`, `appendonly`, `appendfsync` and `no-appendfsync-on-rewrite`.
#[derive(Debug, Default)]
struct Settings {
    snapshots: bool,
    log: bool,
    fsync: Fsync,
}

/// When the log is brought to the disk.
#[derive(Debug, Default)]
struct Fsync {
    always: bool,
    /// Also while a snapshot is taken or the log rewritten.
    on_rewrite: bool,
}

/// Each server's settings; none where CONFIG is not allowed, as on managed servers.
async fn settings(connection: &Connection) -> Option<Vec<Settings>> {
    let mut command = redis::cmd("CONFIG");
    command.arg("GET").arg("save").arg("appendonly").arg("appendfsync");
    command.arg("no-appendfsync-on-rewrite");
    let answers = connection.everywhere(&command).await.ok()?;
    Some(answers.into_iter().map(read_settings).collect())
}

fn read_settings(answer: Value) -> Settings {
    let mut settings = Settings::default();
    let Value::Map(pairs) = answer else { return settings };
    for (name, value) in pairs {
        let (Ok(name), Ok(value)) = (codec::text(name), codec::text(value)) else { continue };
        match name.as_str() {
            "save" => settings.snapshots = !value.is_empty(),
            "appendonly" => settings.log = value == "yes",
            "appendfsync" => settings.fsync.always = value == "always",
            "no-appendfsync-on-rewrite" => settings.fsync.on_rewrite = value == "no",
            _ => {}
        }
    }
    settings
}

impl Persistence {
    fn of(info: &Info, settings: Option<&Settings>) -> Self {
        let kept = |durability, words| Self { durability, words };
        match settings {
            Some(Settings { log: true, fsync: Fsync { on_rewrite: false, .. }, .. }) => kept(
                Durability::Restart,
                "a crash of the machine during a snapshot or a rewrite of the log loses what was written \
                 since that began (no-appendfsync-on-rewrite)",
            ),
            Some(Settings { log: true, fsync: Fsync { always: true, .. }, .. }) => {
                kept(Durability::Crash, "every write is on disk before it is acknowledged")
            }
            Some(Settings { log: true, .. }) => kept(
                Durability::Restart,
                "a crash of the machine loses up to some 2 s of writes (appendfsync)",
            ),
            Some(Settings { snapshots: true, .. }) => kept(
                Durability::Restart,
                "a crash loses what was written since the last snapshot (save)",
            ),
            Some(_) => kept(Durability::Process, "nothing is kept on disk"),
            None if info.get("aof_enabled") == Some("1") => {
                kept(Durability::Restart, "a crash loses the last writes (append-only file)")
            }
            None => kept(Durability::Process, "the server does not tell what it keeps on disk"),
        }
    }
}

/// Reads CLUSTER INFO of every node that answers it.
async fn cluster_infos(connection: &Connection) -> Vec<Info> {
    let mut command = redis::cmd("CLUSTER");
    command.arg("INFO");
    let answers = connection.everywhere(&command).await.unwrap_or_default();
    answers.into_iter().filter_map(|answer| info_text(answer).ok().map(Info)).collect()
}

/// Says whether a cluster has more than one primary. One alone serves every key by a plain URL.
async fn has_several_primaries(connection: &Connection) -> bool {
    cluster_infos(connection).await.iter().any(|info| {
        let size = info.get("cluster_size").and_then(|size| size.parse::<u32>().ok());
        size.is_some_and(|size| size > 1)
    })
}

fn sentinel() -> Error {
    Error::config("a Sentinel answers at this host and port, which holds no data").with_hint(
        "name the primary, as in redis://host:6379; `redis-cli -p 26379 SENTINEL \
         get-master-addr-by-name NAME` says where it is",
    )
}

async fn cluster_state(connection: &Connection) -> Option<String> {
    let infos = cluster_infos(connection).await;
    infos
        .iter()
        .any(|info| info.get("cluster_state") != Some("ok"))
        .then(|| "the cluster does not serve all slots; see CLUSTER INFO and CLUSTER NODES".into())
}

/// The answer of INFO: lines of `name:value`.
struct Info(String);

impl Info {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    fn version(&self) -> String {
        match (self.get("valkey_version"), self.get("redis_version")) {
            (Some(version), _) => format!("Valkey {version}"),
            (None, Some(version)) => format!("Redis {version}"),
            (None, None) => "unknown".into(),
        }
    }

    /// Lists what is wrong, where `replicas` replicas must have every write.
    fn missing(&self, replicas: usize) -> Vec<String> {
        let mut missing = Vec::new();
        let limited = self.get("maxmemory").is_some_and(|limit| limit != "0");
        let policy = self.get("maxmemory_policy").unwrap_or("noeviction");
        if limited && policy != "noeviction" {
            missing.push(format!(
                "the server drops live data when memory is short (maxmemory-policy {policy}); set it \
                 to noeviction"
            ));
        }
        if self.get("role") == Some("slave") {
            missing.push("the server is a replica and takes no writes; name the primary".into());
        }
        let online = self.0.lines().filter(|line| line.contains(",state=online,")).count();
        if self.get("role") == Some("master") && online < replicas {
            missing.push(format!(
                "{online} of {replicas} replicas are connected, and writes wait for them in vain; \
                 look at the replicas, or lower ?replicas=…"
            ));
        }
        if self.get("loading") == Some("1") {
            missing.push("the server is still loading its data".into());
        }
        for (field, what) in
            [("rdb_last_bgsave_status", "snapshot"), ("aof_last_write_status", "log write")]
        {
            if self.get(field) == Some("err") {
                missing.push(format!("the server's last {what} failed; look at its disk and log"));
            }
        }
        missing
    }
}

fn info_text(answer: Value) -> Result<String> {
    match answer {
        Value::VerbatimString { text, .. } => Ok(text),
        other => codec::text(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn durability(settings: Option<&Settings>, info: &str) -> Durability {
        Persistence::of(&Info(info.into()), settings).durability
    }

    #[test]
    fn g6_durability_is_what_the_server_is_configured_for() {
        let of = |snapshots, log, always| {
            let fsync = Fsync { always, on_rewrite: true };
            durability(Some(&Settings { snapshots, log, fsync }), "")
        };
        assert_eq!(of(false, false, true), Durability::Process);
        assert_eq!(of(true, false, false), Durability::Restart);
        assert_eq!(of(false, true, false), Durability::Restart);
        assert_eq!(of(true, true, true), Durability::Crash);
        let settings = |on_rewrite: &str| {
            let pairs = [("appendonly", "yes"), ("appendfsync", "always")];
            let pairs = [&pairs[..], &[("no-appendfsync-on-rewrite", on_rewrite)]].concat();
            let text = |text: &str| Value::BulkString(text.into());
            let pairs = pairs.into_iter().map(|(name, value)| (text(name), text(value)));
            read_settings(Value::Map(pairs.collect()))
        };
        assert_eq!(durability(Some(&settings("no")), ""), Durability::Crash);
        assert_eq!(durability(Some(&settings("yes")), ""), Durability::Restart);
        assert_eq!(durability(None, "aof_enabled:1\r\n"), Durability::Restart);
        assert_eq!(durability(None, ""), Durability::Process);
    }

    #[test]
    fn g14_health_names_what_is_missing() {
        let info =
            Info("redis_version:7.2.4\r\nmaxmemory:100\r\nmaxmemory_policy:allkeys-lru".into());
        assert_eq!(info.version(), "Redis 7.2.4");
        assert!(info.missing(0)[0].contains("noeviction"));
        assert!(Info("maxmemory:0\r\nmaxmemory_policy:allkeys-lru".into()).missing(0).is_empty());
        let replicas = "role:master\r\nconnected_slaves:2\r\n\
                        slave0:ip=a,port=1,state=online,offset=1,lag=0\r\n\
                        slave1:ip=b,port=1,state=wait_bgsave,offset=0,lag=0\r\n";
        let info = Info(replicas.into());
        assert!(info.missing(1).is_empty());
        assert!(info.missing(2)[0].contains("1 of 2 replicas"));
    }
}
