//! Layers: small policies around every operation of a backend.
//!
//! A [`Policy`] says what happens around one call; [`Around`] applies it to every facet, written
//! once. [`Backend::layered`] puts one around a whole backend, outside core's checks.

mod trace;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use self::trace::Trace;
use crate::backend::{Backend, Control};
use crate::capability::Facet;
use crate::conversation::ConversationStore;
use crate::error::{Error, Result};
use crate::request::Request;
use crate::scope::Scope;
use crate::vector::VectorStore;
use crate::working::WorkingStore;

/// The target of all spans and log events of memquill's crates: a filter such as `memquill=info` or
/// `info,memquill=debug` selects them.
pub const TARGET: &str = "memquill";

/// A call, as a policy sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call<'a> {
    /// The backend's name.
    pub backend: &'static str,
    /// The facet; none for control.
    pub facet: Option<Facet>,
    /// The operation, a name of [`operation`](crate::operation).
    pub operation: &'static str,
    /// Whether a second call after one whose outcome is unknown leaves what one would have left,
    /// and answers truly: reads, deletes, and appends whose messages carry ids (C3). A put under a
    /// condition is safe too: the second fails with `Conflict` rather than writing twice. So are
    /// records, whose ids are given or derive from their content (V1, G5), though the second says of
    /// what the first wrote that it is `Unchanged`.
    pub repeatable: bool,
    /// Whether the call may change what is stored, an expiry included.
    pub writes: bool,
    /// The number of items that the request carries, where it is a batch.
    pub items: Option<usize>,
    /// The conversation or namespace that the request names.
    pub collection: Option<&'a str>,
    /// The scope of the call; none for control.
    pub scope: Option<&'a Scope>,
    /// The user whose call it is: the scope's, or the one that is erased or whose scopes are listed.
    pub user: Option<&'a str>,
}

impl<'a> Call<'a> {
    /// Describes the call of `request`.
    pub(crate) fn of<R: Request>(
        backend: &'static str,
        scope: Option<&'a Scope>,
        request: &'a R,
    ) -> Self {
        Self {
            backend,
            facet: R::FACET,
            operation: R::OPERATION,
            repeatable: request.is_repeatable(),
            writes: request.writes(),
            items: request.items(),
            collection: request.collection(),
            scope,
            user: scope.map(Scope::user).or_else(|| request.user()),
        }
    }
}

/// A policy around each call. It must return the call's result or make an
/// [`Error`] of its own.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
///
/// use memquill_core::layer::{Call, Policy};
/// use memquill_core::{Error, ErrorKind, Result};
///
/// /// Limits the number of calls of each user.
/// #[derive(Debug)]
/// struct Quota {
///     most: u64,
///     made: Mutex<HashMap<String, u64>>,
/// }
///
/// impl Policy for Quota {
///     async fn around<T, F, N>(&self, call: Call<'_>, next: N) -> Result<T>
///     where
///         T: Send,
///         F: Future<Output = Result<T>> + Send,
///         N: Fn() -> F + Send + Sync,
///     {
///         if let Some(user) = call.user {
///             let mut made = self.made.lock().expect("no user of the lock panics");
///             let made = made.entry(user.to_owned()).or_default();
///             if *made == self.most {
///                 return Err(Error::new(ErrorKind::RateLimited, "the user's quota is used up"));
///             }
///             *made += 1;
///         }
///         next().await
///     }
/// }
///
/// # fn limit(backend: memquill_core::Backend) -> memquill_core::Backend {
/// backend.layered(Quota { most: 1_000, made: Mutex::default() })
/// # }
/// ```
pub trait Policy: fmt::Debug + Send + Sync + 'static {
    /// Calls `next`, once, several times or not at all.
    fn around<T, F, N>(&self, call: Call<'_>, next: N) -> impl Future<Output = Result<T>> + Send
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
        N: Fn() -> F + Send + Sync;
}

/// A facet with a policy around every operation.
#[derive(Debug)]
pub struct Around<P, S: ?Sized> {
    backend: &'static str,
    /// Whether the backend was closed.
    closed: Arc<AtomicBool>,
    policy: Arc<P>,
    inner: Arc<S>,
}

impl<P, S: ?Sized> Around<P, S> {
    pub(crate) fn inner(&self) -> &S {
        &self.inner
    }
}

impl<P: Policy, S: ?Sized> Around<P, S> {
    fn new(backend: &Backend, policy: &Arc<P>, inner: Arc<S>) -> Arc<Self> {
        let (policy, closed) = (Arc::clone(policy), Arc::clone(&backend.closed));
        Arc::new(Self { backend: backend.name(), closed, policy, inner })
    }

    /// Puts the policy around a call of `request`. Once the backend is closed there is nothing to
    /// wait for, to spare or to repeat: the call is refused before the policy sees it (G15).
    pub(crate) async fn call<R, T, F>(
        &self,
        scope: Option<&Scope>,
        request: &R,
        next: impl Fn() -> F + Send + Sync,
    ) -> Result<T>
    where
        R: Request,
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        if self.closed.load(Ordering::Acquire) {
            let closed = Error::closed();
            return Err(closed.with_backend(self.backend).with_operation(R::OPERATION));
        }
        self.policy.around(Call::of(self.backend, scope, request), next).await
    }
}

impl Backend {
    /// Puts a policy around every operation. The policy that is put last is the outermost.
    #[must_use]
    pub fn layered<P: Policy>(self, policy: P) -> Self {
        let policy = Arc::new(policy);
        let backend = self.clone();
        self.map(|mut parts| {
            parts.conversations = parts
                .conversations
                .map(|s| Around::<P, dyn ConversationStore>::new(&backend, &policy, s) as _);
            parts.vectors =
                parts.vectors.map(|s| Around::<P, dyn VectorStore>::new(&backend, &policy, s) as _);
            parts.working = parts
                .working
                .map(|s| Around::<P, dyn WorkingStore>::new(&backend, &policy, s) as _);
            parts.control = Around::<P, dyn Control>::new(&backend, &policy, parts.control);
            parts
        })
    }
}
