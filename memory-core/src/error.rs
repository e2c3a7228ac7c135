//! The one error type (contract, section E).

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// The result of every operation in this project.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The class of an error, for a program to act on (E2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself is wrong and was refused before any I/O.
    InvalidInput,
    /// Something that the request names does not exist.
    NotFound,
    /// The request contradicts stored data.
    Conflict,
    /// The driver or store does not offer the operation or option (G10).
    Unsupported,
    /// Credentials or rights are missing or wrong.
    PermissionDenied,
    /// The store cannot be reached.
    Unavailable,
    /// The store did not answer in time.
    Timeout,
    /// The store asks for fewer requests.
    RateLimited,
    /// Stored data cannot be read back.
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

    /// Returns whether a call that failed so is usually worth repeating.
    const fn retry(self) -> RetryHint {
        match self {
            Self::Unavailable | Self::Timeout | Self::RateLimited => RetryHint::Transient,
            _ => RetryHint::Permanent,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// The prospects of repeating a call (E1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryHint {
    /// The same call fails again until something is changed.
    Permanent,
    /// The cause may pass by itself.
    Transient,
}

/// An error of any operation on any backend (E1).
///
/// It is one pointer wide. Build it with [`Error::new`] or a constructor named for the kind, and
/// add what is known with the `with_*` methods.
#[derive(Clone)]
pub struct Error(Box<Details>);

#[derive(Clone)]
struct Details {
    kind: ErrorKind,
    message: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    backend: Option<Cow<'static, str>>,
    operation: Option<&'static str>,
    retry: RetryHint,
    maybe_applied: bool,
    retry_after: Option<Duration>,
    current_version: Option<u64>,
    context: Vec<(&'static str, String)>,
    source: Option<Cause>,
}

/// A cause: that of `depth` steps below `outermost`.
#[derive(Clone)]
struct Cause {
    outermost: Arc<dyn StdError + Send + Sync>,
    depth: usize,
}

impl Cause {
    /// The first cause that says something which neither `message` nor a cause below it says, so
    /// that a printed chain says everything once.
    fn of(source: Box<dyn StdError + Send + Sync>, message: &str) -> Option<Self> {
        let mut cause = Self { outermost: source.into(), depth: 0 };
        loop {
            let here = cause.get()?;
            let said = here.to_string();
            let below = here.source().map(ToString::to_string);
            let repeats = below.as_ref().is_some_and(|below| said.contains(below.as_str()));
            if !repeats && !message.contains(&said) {
                return Some(cause);
            }
            below?;
            cause.depth += 1;
        }
    }

    fn get(&self) -> Option<&(dyn StdError + 'static)> {
        let mut cause: &(dyn StdError + 'static) = &*self.outermost;
        for _ in 0..self.depth {
            cause = cause.source()?;
        }
        Some(cause)
    }
}

impl Error {
    /// Makes an error of `kind` with `message`.
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
            context: Vec::new(),
            source: None,
        }))
    }

    /// Makes an error for a request that is wrong in itself.
    pub fn invalid_input(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// Makes an error for something named that does not exist.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// Makes an error for a request that contradicts stored data.
    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// Makes an error for something that the backend does not offer.
    pub fn unsupported(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// Makes an error for a store that cannot be reached.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// Makes an error for a call on a backend or administration handle that was closed (G15).
    pub fn closed() -> Self {
        Self::new(ErrorKind::Unavailable, "the store was closed")
            .with_retry(RetryHint::Permanent)
            .with_maybe_applied(false)
            .with_hint("connect again, or close the store after its last call")
    }

    /// Makes an error for a wrong configuration or schema.
    pub fn config(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// Makes an error for stored data that cannot be read back.
    pub fn corrupted(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Corrupted, message)
    }

    /// Makes an error for a fault of this software.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Sets the hint: what the reader can do about it, in the imperative.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Puts the place in the input, such as a line or an item, before the message.
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

    /// Sets whether repeating may succeed, where it differs from the kind's usual answer.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryHint) -> Self {
        self.0.retry = retry;
        self
    }

    /// Sets whether the effect may have been applied although the call failed.
    #[must_use]
    pub fn with_maybe_applied(mut self, maybe_applied: bool) -> Self {
        self.0.maybe_applied = maybe_applied;
        self
    }

    /// Sets how long the store asks to wait.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// Sets the version that the entry has now; 0 means that it does not exist (W3).
    #[must_use]
    pub fn with_current_version(mut self, version: u64) -> Self {
        self.0.current_version = Some(version);
        self
    }

    /// Adds a fact that a program can read, such as the name of the store in a configuration or
    /// what was done before the failure. It must not be a secret (E3).
    #[must_use]
    pub fn with_context(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Keeps the cause. It must not print secrets (E3).
    ///
    /// A cause that only repeats the message, or decorates its own cause, is left out of the chain.
    /// Of a cause that is an `Error` too, its cause is kept, and its hint where there is none yet.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        match source.into().downcast::<Self>() {
            Ok(error) => {
                let inner = *error.0;
                self.0.hint = self.0.hint.or(inner.hint);
                self.0.source = inner.source;
            }
            Err(source) => self.0.source = Cause::of(source, &self.0.message),
        }
        self
    }

    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the kind's stable code, as in `"invalid_input"`.
    pub fn code(&self) -> &'static str {
        self.0.kind.code()
    }

    /// Returns the message alone, without backend, operation and hint.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the hint: what the reader can do about it.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Returns the backend it happened in.
    pub fn backend(&self) -> Option<&str> {
        self.0.backend.as_deref()
    }

    /// Returns the operation it happened in.
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// Returns whether repeating the call may succeed.
    pub fn retry(&self) -> RetryHint {
        self.0.retry
    }

    /// Returns whether the cause may pass by itself.
    pub fn is_transient(&self) -> bool {
        self.0.retry == RetryHint::Transient
    }

    /// Returns whether the effect may have been applied although the call failed.
    pub fn maybe_applied(&self) -> bool {
        self.0.maybe_applied
    }

    /// Returns how long the store asks to wait before the next call.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns the facts added by [`with_context`](Self::with_context), in their order.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// Returns the version that made a condition fail; 0 means that the entry does not exist (W3).
    pub fn current_version(&self) -> Option<u64> {
        self.0.current_version
    }
}

impl fmt::Display for Error {
    /// Prints one line: kind, message, where it happened, and the hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let d = &*self.0;
        write!(f, "{}: {}", d.kind, d.message)?;
        let mut opened = false;
        let mut place = |f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>| {
            let before = if std::mem::replace(&mut opened, true) { ", " } else { " [" };
            write!(f, "{before}{text}")
        };
        if let Some(backend) = &d.backend {
            place(f, format_args!("{backend}"))?;
        }
        if let Some(operation) = d.operation {
            place(f, format_args!("{operation}"))?;
        }
        for (key, value) in &d.context {
            place(f, format_args!("{key}: {value}"))?;
        }
        if opened {
            f.write_str("]")?;
        }
        if let Some(hint) = &d.hint {
            write!(f, " (hint: {hint})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    /// Prints a line for each thing that is known, the causes among them: what a program prints
    /// whose `main` returns an error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let d = &*self.0;
        write!(f, "{}: {}", d.kind, d.message)?;
        let mut line = |key: &str, value: &dyn fmt::Display| write!(f, "\n    {key}: {value}");
        if let Some(backend) = &d.backend {
            line("backend", backend)?;
        }
        if let Some(operation) = d.operation {
            line("operation", &operation)?;
        }
        for (key, value) in &d.context {
            line(key, value)?;
        }
        if let Some(version) = d.current_version {
            line("current version", &version)?;
        }
        if d.retry == RetryHint::Transient {
            line("retry", &"may succeed")?;
        }
        if d.maybe_applied {
            line("effect", &"may have been applied")?;
        }
        if let Some(hint) = &d.hint {
            line("hint", hint)?;
        }
        let mut cause = self.source();
        while let Some(error) = cause {
            line("caused by", &error)?;
            cause = error.source();
        }
        Ok(())
    }
}

/// As a memory kind answers it (M1): `code`, `message`, `hint`, `backend`, `operation` (each `null`
/// where unknown) and `retryable`; and, where they apply, `maybe_applied`, `current_version`,
/// `retry_after_ms` and `context`.
impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        crate::kinds::fields(self).serialize(serializer)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().and_then(Cause::get)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "error communicating with database: {}", self.0)
        }
    }

    impl StdError for Outer {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&self.0)
        }
    }

    fn outer() -> Outer {
        Outer(std::io::Error::other("no such file"))
    }

    fn chain(error: &Error) -> Vec<String> {
        let (mut said, mut next) = (Vec::new(), Some(error as &(dyn StdError + 'static)));
        while let Some(error) = next {
            said.push(error.to_string());
            next = error.source();
        }
        said
    }

    #[test]
    fn e1_a_chain_of_causes_says_everything_once() {
        let error = Error::config("cannot open the database").with_source(outer());
        assert_eq!(chain(&error), ["config: cannot open the database", "no such file"]);
        let error = Error::config("cannot open it: no such file").with_source(outer());
        assert_eq!(chain(&error), ["config: cannot open it: no such file"]);
        let inner = Error::unavailable("cannot open it").with_hint("create it");
        let inner = inner.with_source(outer());
        let error = Error::config("the store cannot be used").with_source(inner);
        assert_eq!(
            chain(&error),
            ["config: the store cannot be used (hint: create it)", "no such file"]
        );
    }

    #[test]
    fn e1_context_is_readable_by_a_program_and_printed_before_the_hint() {
        let error = Error::unavailable("the server is down")
            .with_hint("start it")
            .with_backend("redis")
            .with_operation("erase")
            .with_context("store", "cache");
        assert_eq!(error.context(), [("store", "cache".to_owned())]);
        assert_eq!(
            error.to_string(),
            "unavailable: the server is down [redis, erase, store: cache] (hint: start it)"
        );
        assert_eq!(
            format!("{:?}", error.clone().with_source(outer())),
            "unavailable: the server is down\n    backend: redis\n    operation: erase\n    \
             store: cache\n    retry: may succeed\n    hint: start it\n    \
             caused by: no such file"
        );
        assert_eq!(Error::config("x").to_string(), "config: x");
        assert_eq!(Error::config("x").with_context("a", 1).to_string(), "config: x [a: 1]");
    }
}
