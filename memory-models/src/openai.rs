//! Services that speak OpenAI's API.

mod chat;
mod client;
mod embedder;
mod failure;

use std::future::Future;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use memquill_core::layer::TARGET;
use memquill_core::{Error, Result};
use tokio::sync::Semaphore;

pub use self::chat::OpenAiChat;
pub use self::embedder::OpenAiEmbedder;

/// The pause before the first repetition, in part left to chance; it doubles with each.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest pause. A service that asks to wait longer is not waited for.
const MAX_PAUSE: Duration = Duration::from_mins(1);

/// Sends a request, and repeats it up to `retries` times after transient failures.
async fn repeated<T, F: Future<Output = Result<T>>>(
    requests: &Semaphore,
    retries: u32,
    send: impl FnMut() -> F,
) -> Result<T> {
    // Kept while it pauses: a service that is busy is not asked by others meanwhile.
    let permit = requests.acquire().await;
    let _permit = permit.map_err(|error| Error::internal(error.to_string()))?;
    let pauses = ExponentialBuilder::default()
        .with_min_delay(PAUSE)
        .with_max_delay(MAX_PAUSE)
        .with_max_times(retries.try_into().unwrap_or(usize::MAX))
        .with_jitter();
    send.retry(pauses)
        .when(Error::is_transient)
        .adjust(|error, pause| match error.retry_after() {
            Some(asked) => pause.and((asked <= MAX_PAUSE).then_some(asked)),
            None => pause,
        })
        .notify(|error, pause| {
            tracing::info!(target: TARGET, code = error.code(), ?pause, "the service is asked again");
        })
        .await
}
