//! From the client's errors to the contract's (section E).

use std::io;

use memquill_core::{Error, ErrorKind, RetryHint, conflict};
use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::config::CLIENT_CHECK_SETTING;

/// The code that the schema's functions raise for a wrong embedding space (V3).
const SPACE: &str = "MQ001";
/// The code that they raise for a concurrent modification, after which the call is to be repeated.
const CONCURRENT: &str = "MQ002";

/// The codes that they raise for a namespace that is not there, and for records without a
/// counterpart (V13).
const NO_NAMESPACE: &str = "MQ003";
const NO_COUNTERPART: &str = "MQ004";

/// The phase in which an error happened: while connecting, nothing can have been applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum During {
    Connect,
    Call,
}

/// The code of a deadlock that the server ended by undoing the call: a put under conditions holds
/// what exists before it adds what does not, and so may wait for one that takes the keys in order.
const DEADLOCK: &str = "40P01";

/// Says whether the server rolled the call back because of a concurrent modification, so that it is
/// to be repeated.
pub(crate) fn is_undone(error: &sqlx::Error) -> bool {
    postgres(error).is_some_and(|e| matches!(e.code(), CONCURRENT | DEADLOCK))
}

/// Says whether the server refused to check for the client of a running statement: on Windows it
/// cannot, and a fork of Postgres may not know the setting.
pub(crate) fn refuses_client_check(error: &sqlx::Error) -> bool {
    postgres(error).is_some_and(|e| e.message().contains(CLIENT_CHECK_SETTING))
}

/// Says whether the connection can serve another call after this error.
pub(crate) fn leaves_connection(error: &sqlx::Error) -> bool {
    let Some(error) = postgres(error) else { return false };
    let code = error.code();
    let broken = matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic);
    // A statement that is not there any more (a pooler's doing), or whose function has changed.
    !(broken || matches!(code, "26000" | "42P05" | "0A000") || code.starts_with("08"))
}

/// Translates an error of the client.
pub(crate) fn translate(error: sqlx::Error, during: During) -> Error {
    let sent = during == During::Call;
    match &error {
        sqlx::Error::Database(_) => match postgres(&error) {
            Some(cause) => {
                let refused = if sent { None } else { refused(cause) };
                refused.unwrap_or_else(|| from_server(cause))
            }
            None => Error::internal("an error of another database"),
        },
        // What rustls refuses comes as an error of reading.
        sqlx::Error::Io(cause) if cause.kind() == io::ErrorKind::InvalidData && !sent => {
            untrusted()
        }
        sqlx::Error::Io(cause) => unreachable_server(cause.kind()).with_maybe_applied(sent),
        sqlx::Error::Tls(_) => untrusted(),
        sqlx::Error::Configuration(_) | sqlx::Error::InvalidArgument(_) => {
            Error::config("Postgres cannot be connected to as configured")
        }
        sqlx::Error::Protocol(_) => {
            Error::unavailable("the connection to Postgres broke off").with_maybe_applied(sent)
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            Error::corrupted("Postgres answered with a value that cannot be read")
        }
        _ => Error::internal("a fault between the driver and Postgres"),
    }
    .with_source(error)
}

/// Translates an error of a call.
pub(crate) fn failed(error: sqlx::Error) -> Error {
    translate(error, During::Call)
}

fn postgres(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}

/// Explains why a server or a pooler refuses a connection, where its code alone would mislead:
/// poolers use one code for many things.
fn refused(error: &PgDatabaseError) -> Option<Error> {
    let text = format!("Postgres: {} ({})", error.message(), error.code());
    let has = |part: &str| error.message().contains(part);
    let config = |hint: &'static str| Error::config(text.clone()).with_hint(hint);
    let denied =
        |hint: &'static str| Error::new(ErrorKind::PermissionDenied, text.clone()).with_hint(hint);
    Some(match error.code() {
        // PgBouncer and Neon's; RDS Proxy.
        _ if has("startup parameter") || has("command-line options") => config(
            "add startup_options=false to the URL, and limit statements on the server instead: \
             ALTER ROLE name SET statement_timeout = '30s', and SET \
             client_connection_check_interval = '500ms'",
        ),
        "08P01" if has("no such database") => {
            config("correct the database's name in the URL, or add it to the pooler's [databases]")
        }
        "08P01" if has("no such user") || has("authentication failed") => {
            denied("check user and password of the URL, and the pooler's auth_file")
        }
        "XX000" if has("ax clients") || has("MaxClients") => Error::unavailable(text)
            .with_hint("the pooler has no connection left; lower max_connections"),
        // Supabase's pooler.
        "XX000" if has("Tenant or user") => {
            denied("write the user of Supabase's pooler as postgres.PROJECT, with the project's id")
        }
        "XX000" => config("correct the URL as the server's message says"),
        "28000" if has("no encryption") || has("SSL off") => {
            config("the server demands TLS: write sslmode=require, or verify-full")
        }
        "42704" | "22023" | "42601" => config("correct the option options of the URL"),
        _ => return None,
    })
}

fn untrusted() -> Error {
    Error::config("no trusted TLS connection to Postgres").with_hint(
        "check the server's certificate and sslrootcert; sslmode says what is demanded, and \
         sslmode=disable on a trusted network does without",
    )
}

fn unreachable_server(kind: io::ErrorKind) -> Error {
    let message = match kind {
        io::ErrorKind::ConnectionRefused => "Postgres refuses connections",
        io::ErrorKind::TimedOut => "Postgres cannot be reached in time",
        _ => "the connection to Postgres is lost",
    };
    Error::unavailable(message)
        .with_hint("check that the server runs and that host and port are right")
}

/// Translates an error that the server reports: its statement had no effect.
fn from_server(error: &PgDatabaseError) -> Error {
    let text = || format!("Postgres: {} ({})", error.message(), error.code());
    let unavailable = |hint: &'static str| Error::unavailable(text()).with_hint(hint);
    let config = |hint: &'static str| Error::config(text()).with_hint(hint);
    match error.code() {
        SPACE => Error::conflict(error.message().to_owned()).with_hint(conflict::OTHER_SPACE_HINT),
        NO_NAMESPACE => {
            Error::not_found(error.message().to_owned()).with_hint(conflict::NO_NAMESPACE_HINT)
        }
        NO_COUNTERPART => {
            Error::conflict(error.message().to_owned()).with_hint(conflict::COUNTERPARTS_HINT)
        }
        CONCURRENT => Error::conflict(error.message().to_owned()).with_retry(RetryHint::Transient),
        "28P01" | "28000" => Error::new(ErrorKind::PermissionDenied, text())
            .with_hint("check user and password of the URL, and the server's pg_hba.conf"),
        "3D000" => config("create the database, or correct its name in the URL"),
        "42501" => Error::new(ErrorKind::PermissionDenied, text()).with_hint(
            "grant the role its rights: run `memquill migrate` with an administrator's URL \
             and ?role=NAME",
        ),
        "22023" if error.message().contains("role") => {
            config("create the role, or correct ?role= in the URL")
        }
        "3F000" | "42P01" | "42883" | "42704" => {
            config("run `memquill migrate` with an administrator's URL")
        }
        "25006" => Error::new(ErrorKind::PermissionDenied, text())
            .with_hint("the server is read only; connect to the primary"),
        "57014" => Error::new(ErrorKind::Timeout, text())
            .with_maybe_applied(false)
            .with_hint("ask for less at once, or raise statement_timeout"),
        "0A000" | "58P01" if error.message().contains("extension") => config(
            "install pgvector on the server, and let a superuser run CREATE EXTENSION vector",
        ),
        "53300" => unavailable("the server has no connection left; lower max_connections"),
        "53100" if error.message().contains("shared memory") => unavailable(
            "the server's /dev/shm is too small for maintenance_work_mem; raise the one (in a \
             container, --shm-size) or lower the other",
        ),
        "53100" => unavailable("the server's disk is full; free some space"),
        // There is no statement of the name, or another one, or one of another client's.
        "26000" | "42P05" => config(
            "the pooler does not keep prepared statements: add pgbouncer=true to the URL, or set \
             max_prepared_statements in PgBouncer 1.21 or newer",
        ),
        "08P01" if error.message().contains("bind message supplies") => config(
            "the pooler mixes prepared statements up: add pgbouncer=true to the URL, or set \
             max_prepared_statements in PgBouncer 1.21 or newer",
        ),
        "40001" | DEADLOCK | "55P03" => unavailable("another call was in the way; repeat it"),
        code if code.starts_with("53") => unavailable("the server is short of resources"),
        code if code.starts_with("57P") => {
            unavailable("the server is stopping or starting; repeat the call in a moment")
        }
        code if code.starts_with("08") => {
            unavailable("the server or its pooler gave the connection up; see its log")
        }
        code if code.starts_with("58") => unavailable("the server has trouble with its disk"),
        "0A000" => unavailable("the schema changed under the connection; repeat the call"),
        code if code.starts_with("XX") => {
            Error::corrupted(text()).with_hint("the server reports damage; see its log")
        }
        _ => Error::internal(text()),
    }
}
