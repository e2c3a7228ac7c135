//! A bound on how long an attempt takes.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use memory_core::layer::{Call, Policy};
use memory_core::{Error, ErrorKind, Result};

/// Gives up an attempt that takes too long, with `Timeout`.
///
/// The attempt is dropped, which leaves it done or not done (G7); of a write the error therefore
/// says that it may have been applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout(Duration);

impl Timeout {
    /// Gives an attempt so much time.
    pub fn new(patience: Duration) -> Self {
        Self(patience)
    }
}

impl Policy for Timeout {
    async fn around<T, F, N>(&self, call: Call<'_>, next: N) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
        N: Fn() -> F + Send + Sync,
    {
        let late = |_| {
            Error::new(ErrorKind::Timeout, format!("no answer within {:?}", self.0))
                .with_backend(call.backend)
                .with_operation(call.operation)
                .with_maybe_applied(call.writes)
                .with_hint("is the store overloaded? the layer's timeout may be raised")
        };
        let mut call = pin!(next());
        // What is there at once needs no timer, which costs more than it does.
        if let Poll::Ready(result) =
            poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await
        {
            return result;
        }
        tokio::time::timeout(self.0, call).await.map_err(late)?
    }
}
