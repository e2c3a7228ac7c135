//! From gRPC's statuses to the contract's errors (section E).

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use memquill_core::{Error, ErrorKind};
use tonic::{Code, Status};

/// The system's message of a full disk (ENOSPC).
pub(crate) const NO_ROOM: &str = "No space left on device";

/// Whether a request changes the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It reads.
    Read,
    /// It writes, and may have been applied where no answer came.
    Write,
}

/// Translates a status of a server. Its internal errors are trouble of its own, which may pass, such
/// as that of a cluster whose node is away; Qdrant itself repeats what failed so.
pub(crate) fn of_server(status: Status, effect: Effect) -> Error {
    if status.code() != Code::Internal || has_no_room(&status) {
        return translate(status, effect);
    }
    Error::unavailable(format!("Qdrant: {}", status.message()))
        .with_maybe_applied(effect == Effect::Write)
        .with_hint("is a node of the cluster away? see the server's log, and repeat the call")
        .with_source(Cause::of(&status))
}

/// Translates a status.
pub(crate) fn translate(status: Status, effect: Effect) -> Error {
    let unknown = effect == Effect::Write && !never_sent(&status);
    let said = || format!("Qdrant: {}", status.message());
    let error = match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => {
            let denied = Error::new(ErrorKind::PermissionDenied, "Qdrant denies access");
            denied.with_hint("check api_key in the URL, and that the key may write if it must")
        }
        Code::ResourceExhausted => {
            let limited = Error::new(ErrorKind::RateLimited, said());
            match retry_after(&status) {
                Some(delay) => limited.with_retry_after(delay),
                None => limited,
            }
        }
        Code::DeadlineExceeded => timeout(effect),
        Code::Cancelled if timed_out(&status) => timeout(effect),
        Code::Unavailable | Code::Cancelled | Code::Aborted | Code::Unknown => {
            Error::unavailable(out_of_reach(&status))
                .with_maybe_applied(unknown)
                .with_hint("check that the server runs and that host, port and TLS are right")
        }
        Code::Internal if has_no_room(&status) => Error::unavailable(said())
            .with_maybe_applied(unknown)
            .with_hint("make room on Qdrant's disk, and repeat the call"),
        Code::NotFound => Error::not_found(said()),
        Code::AlreadyExists => Error::conflict(said()),
        Code::DataLoss => Error::corrupted(said()),
        Code::Unimplemented => Error::config(said()).with_hint("the server is too old, or is none"),
        Code::FailedPrecondition => {
            Error::unavailable(said()).with_hint("the collection is locked")
        }
        Code::InvalidArgument | Code::OutOfRange if refuses_filter(&status) => Error::unsupported(
            said(),
        )
        .with_hint("the server's strict mode forbids this request; relax it or ask for less"),
        _ => Error::internal(said()).with_maybe_applied(unknown),
    };
    error.with_source(Cause::of(&status))
}

/// Reports a request that had no answer within its time.
pub(crate) fn timeout(effect: Effect) -> Error {
    Error::new(ErrorKind::Timeout, "Qdrant did not answer in time")
        .with_maybe_applied(effect == Effect::Write)
        .with_hint("raise timeout in the URL, or ask for less at once")
}

/// Marks a call of several requests as applied, in part or in full: one that fails after one that
/// wrote leaves it so, whatever is known of the last.
pub(crate) fn applied(error: Error) -> Error {
    error.with_maybe_applied(true)
}

/// As [`applied`], where something was written.
pub(crate) fn applied_if(written: bool) -> impl FnOnce(Error) -> Error {
    move |error| if written { applied(error) } else { error }
}

/// Whether strict mode refuses a filter, which only the message says.
fn refuses_filter(status: &Status) -> bool {
    let text = status.message();
    text.contains("Index required") || text.contains("trict mode") || text.contains("exceeds max")
}

/// Whether a disk is full, which only the message says, in the system's words.
pub(crate) fn has_no_room(status: &Status) -> bool {
    status.message().contains(NO_ROOM)
}

fn retry_after(status: &Status) -> Option<Duration> {
    let seconds = status.metadata().get("retry-after")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn causes(status: &Status) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(status.source(), |error| (*error).source())
}

/// Whether the connection was never made, so that nothing can have been applied.
fn never_sent(status: &Status) -> bool {
    causes(status).any(|cause| {
        let refused = cause.downcast_ref::<io::Error>().is_some_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
                    | io::ErrorKind::AddrNotAvailable
            )
        });
        refused || cause.to_string().contains("tcp connect error")
    })
}

fn timed_out(status: &Status) -> bool {
    status.message().contains("imeout expired")
}

fn out_of_reach(status: &Status) -> &'static str {
    if never_sent(status) {
        "Qdrant refuses connections"
    } else if causes(status).any(|cause| cause.to_string().contains("certificate")) {
        "no trusted TLS connection to Qdrant"
    } else {
        "the connection to Qdrant is lost"
    }
}

/// A status without its metadata, which holds what servers and proxies put there.
#[derive(Debug)]
struct Cause {
    code: Code,
    message: String,
}

impl Cause {
    fn of(status: &Status) -> Self {
        let chain: Vec<String> = std::iter::once(status.message().to_owned())
            .chain(causes(status).map(ToString::to_string))
            .filter(|text| !text.is_empty())
            .collect();
        Self { code: status.code(), message: chain.join(": ") }
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl StdError for Cause {}

#[cfg(test)]
mod tests {
    use memquill_core::RetryHint;
    use tonic::metadata::MetadataMap;

    use super::*;

    fn of(code: Code, effect: Effect) -> Error {
        translate(Status::new(code, "it says"), effect)
    }

    #[test]
    fn e2_a_bad_key_is_permanent() {
        for code in [Code::Unauthenticated, Code::PermissionDenied] {
            let error = of(code, Effect::Write);
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            assert_eq!((error.retry(), error.maybe_applied()), (RetryHint::Permanent, false));
        }
    }

    #[test]
    fn e2_an_exhausted_resource_says_its_delay() {
        let mut metadata = MetadataMap::new();
        metadata.insert("retry-after", "7".parse().unwrap());
        let status = Status::with_metadata(Code::ResourceExhausted, "slow down", metadata);
        let error = translate(status, Effect::Write);
        assert_eq!(error.kind(), ErrorKind::RateLimited);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        assert!(error.is_transient() && !error.maybe_applied());
    }

    #[test]
    fn e1_a_write_without_an_answer_may_have_been_applied() {
        for code in [Code::Unavailable, Code::Unknown, Code::DeadlineExceeded, Code::Internal] {
            assert!(of(code, Effect::Write).maybe_applied(), "{code}");
            assert!(!of(code, Effect::Read).maybe_applied(), "{code}");
        }
        for code in [Code::InvalidArgument, Code::NotFound, Code::FailedPrecondition] {
            assert!(!of(code, Effect::Read).maybe_applied(), "{code}");
        }
    }
}
