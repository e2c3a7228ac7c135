//! The client's errors as ours (section E).

use memquill_core::{Error, ErrorKind, RetryHint};
use redis::RedisError;

use crate::probe;

const UNREPLICATED: &str = "too few replicas confirmed the write in time";

/// A command that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: RedisError,
    /// Whether the server may have run the command all the same.
    pub(crate) maybe_run: bool,
}

impl Failure {
    /// A command that was never sent.
    pub(crate) fn unsent(error: RedisError) -> Self {
        Self { error, maybe_run: false }
    }

    /// A write that ran, and that too few replicas are known to have; `why` is what the server said
    /// instead. It carries no code of the server's, as those are of what did not run.
    pub(crate) fn unreplicated(why: Option<&RedisError>) -> Self {
        let kind = redis::ErrorKind::Client;
        let error = match why {
            Some(why) => (kind, UNREPLICATED, why.to_string()).into(),
            None => (kind, UNREPLICATED).into(),
        };
        Self { error, maybe_run: true }
    }

    /// A command that was sent and not answered, or answered with an error.
    pub(crate) fn sent(error: RedisError) -> Self {
        Self { maybe_run: server_code(&error).is_none(), error }
    }

    /// The same, of a server that the URL names as the only one: where that points to another one, it
    /// is part of a cluster.
    pub(crate) fn of_only_server(self) -> Self {
        match self.code() {
            Some("MOVED" | "ASK") => {
                Self { error: redis::make_extension_error("CROSSSLOT".into(), None), ..self }
            }
            _ => self,
        }
    }

    /// The code of the server's answer, as in `MOVED`; none where it did not answer.
    pub(crate) fn code(&self) -> Option<&str> {
        server_code(&self.error)
    }
}

/// The code of a server's answer, as in `MOVED`; none where it did not answer.
pub(crate) fn server_code(error: &RedisError) -> Option<&str> {
    use redis::ErrorKind::{Extension, Server};
    match error.kind() {
        Server(_) | Extension => error.code(),
        _ => None,
    }
}

/// Translates the client's error. `writes` says whether the command has an effect.
pub(crate) fn translate(failure: Failure, writes: bool) -> Error {
    let maybe_applied = failure.maybe_run && writes;
    let error = match failure.code() {
        Some(code) => answered(code, &failure.error),
        None => unanswered(&failure),
    };
    error.with_maybe_applied(maybe_applied).with_source(failure.error)
}

/// Translates an error that the server answered: it refused, and nothing happened.
fn answered(code: &str, error: &RedisError) -> Error {
    let said = error.detail().unwrap_or_default();
    let unavailable =
        |message: String, hint: &'static str| Error::unavailable(message).with_hint(hint);
    match code {
        probe::PLAIN_PORT => Error::config("the server's port speaks no TLS")
            .with_hint("write the URL as redis://…, or name the port that the server has for TLS"),
        probe::TLS_PORT => Error::config("the server's port speaks TLS")
            .with_hint("write the URL as rediss://…, or name the port that the server has without"),
        probe::NO_REDIS => Error::config("what listens at this host and port is not a Redis")
            .with_hint("check host and port; Redis listens at port 6379 by default"),
        "NOAUTH" => denied(
            "the server asks for a password",
            "write it into the URL, as in redis://:PASSWORD@host, or its environment variable's name, \
             as in redis://host?password_env=NAME",
        ),
        "WRONGPASS" => denied(
            "the server refuses these credentials: the user or the password is wrong",
            "check both in the URL, as in redis://USER:PASSWORD@host (without USER it is `default`); \
             percent-encode / ? # @ : and %, or write ?password_env=NAME",
        ),
        "DENIED" => denied(
            "the server takes connections of its own machine alone (protected mode)",
            "set a password at the server, or `protected-mode no` where its network is closed",
        ),
        "NOPERM" => unpermitted(said),
        "ERR" if said.contains("no permissions to") => unpermitted(said),
        "ERR" if said.contains("user executing the script can't") => unpermitted(said),
        "LOADING" => unavailable(
            "the server is loading its data".into(),
            "wait until it has read its snapshot or log; try again",
        ),
        "READONLY" => unavailable(
            "the server is a read-only replica".into(),
            "point the URL at the primary; during a failover, try again",
        ),
        "OOM" => unavailable(
            "the server is out of memory".into(),
            "raise the server's maxmemory, or delete what is no longer needed",
        ),
        "MISCONF" => unavailable(
            "the server cannot write to its disk and refuses writes".into(),
            "look at the server's log and its disk; see stop-writes-on-bgsave-error",
        ),
        "NOREPLICAS" => unavailable(
            "too few replicas are connected, so the server refuses writes".into(),
            "look at the replicas; see min-replicas-to-write",
        ),
        "BUSY" => unavailable("the server is busy with a script".into(), "try again"),
        "CLUSTERDOWN" | "MASTERDOWN" | "TRYAGAIN" | "MOVED" | "ASK" => unavailable(
            format!("the cluster does not serve this slot now ({code} {said})"),
            "wait for the failover or resharding to end; see CLUSTER INFO",
        ),
        "ERR" if said.contains("non local key") => unavailable(
            "the scope is moving to another node of the cluster".into(),
            "wait for the resharding to end; try again",
        ),
        "CROSSSLOT" => cluster_node(),
        "WRONGTYPE" => Error::corrupted("a key under the prefix holds what memquill never wrote")
            .with_hint("give memquill a prefix of its own: ?prefix=NAME"),
        "ERR" if said.contains("max number of clients") => {
            unavailable("the server has no connection left".into(), "raise the server's maxclients")
        }
        "ERR" if said.contains("AUTH") => denied(
            "the server has no such user, or asks for no password",
            "leave user and password out of the URL, or check them",
        ),
        "ERR" if said.contains("DB index") || said.contains("invalid DB") => {
            Error::config("the server has no database of this number").with_hint(
                "write a lower one, as in redis://host/0: a server has 16 unless its setting \
                 `databases` says otherwise, and they count from 0",
            )
        }
        "ERR" if said.contains("SELECT is not allowed in cluster mode") => {
            Error::config("the server is part of a cluster, which has no database but 0")
                .with_hint("write the URL as redis+cluster://host,host without a database")
        }
        "ERR" if said.contains("cluster support disabled") => {
            Error::config("the server is not part of a cluster")
                .with_hint("write the URL as redis://host:port, or rediss://host:port")
        }
        "ERR" if said.contains("unknown command") => {
            Error::config(format!("the server lacks a command that the driver needs: {said}"))
                .with_hint(
                    "the driver needs Redis 7 or later, or Valkey, with its commands not renamed",
                )
        }
        _ => Error::internal(format!("the server refused: {code} {said}")),
    }
}

fn unanswered(failure: &Failure) -> Error {
    let error = &failure.error;
    if error.kind() == redis::ErrorKind::AuthenticationFailed {
        return denied(
            "the server refuses these credentials: the user or the password is wrong",
            "check user and password in the URL, as in redis://USER:PASSWORD@host",
        );
    }
    if error.is_timeout() {
        let what = if failure.maybe_run {
            "the server did not answer in time"
        } else {
            "connecting took too long"
        };
        let hint = if failure.maybe_run {
            "check the server's load, or raise ?timeout=10s"
        } else {
            "check host, port and firewall, or raise ?connect_timeout=5s"
        };
        return Error::new(ErrorKind::Timeout, what).with_hint(hint);
    }
    match error.kind() {
        redis::ErrorKind::Parse | redis::ErrorKind::UnexpectedReturnType => {
            Error::internal(format!("the server's answer was not understood: {error}"))
        }
        redis::ErrorKind::InvalidClientConfig | redis::ErrorKind::RESP3NotSupported => {
            Error::config(format!("cannot connect: {error}"))
                .with_hint("the driver needs Redis 7 or later, or Valkey")
        }
        redis::ErrorKind::Client if failure.maybe_run => {
            let said = error.detail().map(|said| format!(" ({said})")).unwrap_or_default();
            Error::unavailable(format!("{UNREPLICATED}{said}"))
                .with_hint("look at the replicas, or lower ?replicas=…")
        }
        _ if failure.maybe_run => Error::unavailable(format!("the connection broke: {error}"))
            .with_hint("try again: the next call connects again"),
        _ => Error::unavailable(format!("cannot connect: {error}"))
            .with_hint(if error.to_string().contains("certificate") {
                "name the authority that signed the server's certificate: ?ca_file=PATH; the host in \
                 the URL must be one that the certificate names"
            } else {
                "check that the server runs, and host, port or socket in the URL"
            }),
    }
}

fn denied(message: &'static str, hint: &'static str) -> Error {
    Error::new(ErrorKind::PermissionDenied, message)
        .with_hint(hint)
        .with_retry(RetryHint::Permanent)
}

/// Makes the error of a cluster's node that the URL names as the only server.
pub(crate) fn cluster_node() -> Error {
    Error::config("the server is one of several of a cluster")
        .with_hint("write the URL as redis+cluster://host:port, which finds the others")
}

fn unpermitted(said: &str) -> Error {
    Error::new(ErrorKind::PermissionDenied, format!("no permission: {said}")).with_hint(
        "grant the user the scripts' commands on the keys under the prefix (ACL SETUSER)",
    )
}

/// Makes the error of a key under the prefix that another application wrote.
pub(crate) fn foreign_key(key: &str) -> Error {
    let shown: String = key.chars().take(64).collect();
    Error::config(format!("another application has keys under the prefix, as {shown:?}"))
        .with_hint("give memquill a prefix of its own: ?prefix=NAME")
}

/// Makes the error of stored bytes that this driver does not write.
pub(crate) fn unreadable(what: &str) -> Error {
    Error::corrupted(format!("{what} is not in the form this driver writes"))
        .with_hint("has another program written under the prefix? give this driver one of its own")
}
