//! The one error type (contract, section E).

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// The result of every operation in this project.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as a class a program can act on (E2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself is wrong; it was refused before any I/O.
    InvalidInput,
    /// What the request names does not exist.
    NotFound,
    /// The request contradicts what is stored.
    Conflict,
    /// The driver or store cannot do what was asked (G10).
    Unsupported,
    /// Credentials or rights are missing or wrong.
    PermissionDenied,
    /// The store cannot be reached.
    Unavailable,
    /// The store did not answer in time.
    Timeout,
    /// The store asks for fewer requests.
    RateLimited,
    /// What is stored cannot be read back as what was written.
    Corrupted,
    /// Configuration or schema is wrong.
    Config,
    /// A fault of this software.
    Internal,
}

impl ErrorKind {
    /// The stable `snake_case` code of the kind.
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid_input",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Unsupported => "unsupported",
            Self::PermissionDenied => "permission_denied",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::Corrupted => "corrupted",
            Self::Config => "config",
            Self::Internal => "internal",
        }
    }

    /// Whether an error of this kind is usually worth repeating.
    const fn retry(self) -> Retry {
        match self {
            Self::Unavailable | Self::Timeout | Self::RateLimited => Retry::Transient,
            _ => Retry::Permanent,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Whether repeating the call may succeed (E1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// The same call fails again until something is changed.
    Permanent,
    /// The cause may pass by itself.
    Transient,
}

/// An error of any operation on any backend (E1).
///
/// It is one pointer wide. Build it with [`Error::new`] or a constructor named for the kind, and
/// add what is known with the `with_*` methods.
pub struct Error(Box<Details>);

struct Details {
    kind: ErrorKind,
    message: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    backend: Option<Cow<'static, str>>,
    operation: Option<&'static str>,
    retry: Retry,
    maybe_applied: bool,
    retry_after: Option<Duration>,
    current_version: Option<u64>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` that says `message`.
    ///
    /// `Unavailable`, `Timeout` and `RateLimited` start out transient, every other kind permanent;
    /// a `Timeout` starts out as maybe applied.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Details {
            kind,
            message: message.into(),
            hint: None,
            backend: None,
            operation: None,
            retry: kind.retry(),
            maybe_applied: kind == ErrorKind::Timeout,
            retry_after: None,
            current_version: None,
            source: None,
        }))
    }

    /// A request that is wrong in itself.
    pub fn invalid_input(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// Something named that does not exist.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// A request that contradicts what is stored.
    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// Something the backend cannot do.
    pub fn unsupported(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// A store that cannot be reached.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// A wrong configuration or schema.
    pub fn config(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// Stored data that cannot be read back.
    pub fn corrupted(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Corrupted, message)
    }

    /// A fault of this software.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Says what the reader can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Puts the place where it happened before the message.
    #[must_use]
    pub fn at(mut self, place: impl std::fmt::Display) -> Self {
        self.0.message = format!("{place}: {}", self.0.message).into();
        self
    }

    /// Names the backend, unless one is named already.
    #[must_use]
    pub fn with_backend(mut self, backend: impl Into<Cow<'static, str>>) -> Self {
        self.0.backend.get_or_insert_with(|| backend.into());
        self
    }

    /// Names the operation, unless one is named already.
    #[must_use]
    pub fn with_operation(mut self, operation: &'static str) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    /// Says whether repeating may succeed, where it differs from the kind's usual answer.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Says whether the effect may have been applied although the call failed.
    #[must_use]
    pub fn with_maybe_applied(mut self, maybe_applied: bool) -> Self {
        self.0.maybe_applied = maybe_applied;
        self
    }

    /// Says how long the store asks to wait.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// Says which version the entry has now; 0 means that it does not exist (W3).
    #[must_use]
    pub fn with_current_version(mut self, version: u64) -> Self {
        self.0.current_version = Some(version);
        self
    }

    /// Keeps the cause. It must not print secrets (E3).
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The kind's stable code, as in `"invalid_input"`.
    pub fn code(&self) -> &'static str {
        self.0.kind.code()
    }

    /// What happened, without backend, operation and hint.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What the reader can do about it.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The backend it happened in.
    pub fn backend(&self) -> Option<&str> {
        self.0.backend.as_deref()
    }

    /// The operation it happened in.
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// Whether repeating the call may succeed.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// Whether the cause may pass by itself.
    pub fn is_transient(&self) -> bool {
        self.0.retry == Retry::Transient
    }

    /// Whether the effect may have been applied although the call failed.
    pub fn maybe_applied(&self) -> bool {
        self.0.maybe_applied
    }

    /// How long the store asks to wait before the next call.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The version that made a condition fail; 0 means that the entry does not exist (W3).
    pub fn current_version(&self) -> Option<u64> {
        self.0.current_version
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let d = &*self.0;
        write!(f, "{}: {}", d.kind, d.message)?;
        match (&d.backend, d.operation) {
            (Some(backend), Some(operation)) => write!(f, " [{backend}, {operation}]")?,
            (Some(place), None) => write!(f, " [{place}]")?,
            (None, Some(place)) => write!(f, " [{place}]")?,
            (None, None) => {}
        }
        if let Some(hint) = &d.hint {
            write!(f, " (hint: {hint})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let d = &*self.0;
        let mut out = f.debug_struct("Error");
        out.field("kind", &d.kind).field("message", &d.message);
        if let Some(backend) = &d.backend {
            out.field("backend", backend);
        }
        if let Some(operation) = d.operation {
            out.field("operation", &operation);
        }
        if let Some(hint) = &d.hint {
            out.field("hint", hint);
        }
        out.field("retry", &d.retry).field("maybe_applied", &d.maybe_applied);
        if let Some(version) = d.current_version {
            out.field("current_version", &version);
        }
        if let Some(source) = &d.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
