//! The client's errors as ours (section E).

use memquill_core::{Error, ErrorKind, Retry};
use redis::RedisError;

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

fn server_code(error: &RedisError) -> Option<&str> {
    use redis::ErrorKind::{Extension, Server};
    match error.kind() {
        Server(_) | Extension => error.code(),
        _ => None,
    }
}

/// The client's error as ours. `writes` says whether the command has an effect.
pub(crate) fn error(failure: Failure, writes: bool) -> Error {
    let maybe_applied = failure.maybe_run && writes;
    let error = match failure.code() {
        Some(code) => answered(code, &failure.error),
        None => unanswered(&failure),
    };
    error.with_maybe_applied(maybe_applied).with_source(failure.error)
}

/// The server answered with an error: it refused, and nothing happened.
fn answered(code: &str, error: &RedisError) -> Error {
    let said = error.detail().unwrap_or_default();
    let unavailable =
        |message: String, hint: &'static str| Error::unavailable(message).with_hint(hint);
    match code {
        "WRONGPASS" | "NOAUTH" => denied("the server refuses these credentials"),
        "NOPERM" => unpermitted(said),
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
        "CROSSSLOT" => Error::config("the server is a cluster")
            .with_hint("write the URL as redis+cluster://host,host"),
        "WRONGTYPE" => Error::corrupted("a key under the prefix holds what memquill never wrote")
            .with_hint("give memquill a prefix of its own: ?prefix=NAME"),
        "ERR" if said.contains("max number of clients") => {
            unavailable("the server has no connection left".into(), "raise the server's maxclients")
        }
        "ERR" if said.contains("AUTH") => {
            denied("the server asks for no password, or for another user")
        }
        "ERR" if said.contains("DB index") => {
            Error::config("the server has no such database").with_hint("see its setting databases")
        }
        _ => Error::internal(format!("the server refused: {code} {said}")),
    }
}

fn unanswered(failure: &Failure) -> Error {
    let error = &failure.error;
    if error.kind() == redis::ErrorKind::AuthenticationFailed {
        return denied("the server refuses these credentials");
    }
    if error.is_timeout() {
        let what = if failure.maybe_run {
            "the server did not answer in time"
        } else {
            "connecting took too long"
        };
        return Error::new(ErrorKind::Timeout, what)
            .with_hint("look at the server's load, or raise timeout_ms and connect_timeout_ms");
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
            .with_hint("it is made anew by the next call"),
        _ => Error::unavailable(format!("cannot connect: {error}"))
            .with_hint("is the server running, and is the URL right?"),
    }
}

fn denied(message: &'static str) -> Error {
    Error::new(ErrorKind::PermissionDenied, message)
        .with_hint("check user and password in the URL, as in redis://user:password@host")
        .with_retry(Retry::Permanent)
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

/// What is stored is not what this driver writes.
pub(crate) fn unreadable(what: &str) -> Error {
    Error::corrupted(format!("{what} is not in the form this driver writes"))
        .with_hint("has another program written under the prefix? give this driver one of its own")
}
