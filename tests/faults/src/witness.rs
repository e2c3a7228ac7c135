//! Whether an attempt that a retry followed may have been applied.

use std::sync::atomic::{AtomicBool, Ordering};

use memquill::Result;
use memquill::layers::{Call, Policy};

tokio::task_local! {
    /// Of the call that this task makes.
    static UNCERTAIN: AtomicBool;
}

/// Notes for a call whether one of its attempts failed and may have been applied all the same.
///
/// Such an attempt may still be on its way when a later one has been acknowledged, and take effect
/// after it. It stands next to the driver, below the retries.
#[derive(Debug, Clone, Copy)]
pub struct Witness;

impl Policy for Witness {
    async fn around<T, F, N>(&self, _call: Call<'_>, next: N) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
        N: Fn() -> F + Send + Sync,
    {
        let result = next().await;
        if result.as_ref().is_err_and(memquill::Error::maybe_applied) {
            let _ = UNCERTAIN.try_with(|uncertain| uncertain.store(true, Ordering::Relaxed));
        }
        result
    }
}

/// Runs a call, and says whether an attempt of it may have been applied unseen.
pub(crate) async fn witnessed<T>(call: impl Future<Output = T>) -> (T, bool) {
    let watched = async {
        let answer = call.await;
        (answer, UNCERTAIN.with(|uncertain| uncertain.load(Ordering::Relaxed)))
    };
    UNCERTAIN.scope(AtomicBool::new(false), watched).await
}
