//! The stores that a command has opened, and the signals that end a command early.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use memquill::driver::{Administrator, Backend};
use memquill::{Memory, Result};

/// How long a command may go on with what it is doing in this process, as reading a terminal, after
/// a signal.
const GRACE: Duration = Duration::from_secs(1);

/// How long closing the stores may take after that.
const CLOSING: Duration = Duration::from_secs(5);

/// Every store that a command has opened. They are closed before the process ends, whatever became
/// of the command, so that the file of an embedded store is whole by itself.
#[derive(Debug, Default)]
pub(crate) struct Opened(Mutex<Vec<Handle>>);

#[derive(Debug, Clone)]
enum Handle {
    Memory(Memory),
    Backend(Box<Backend>),
    Admin(Administrator),
}

impl Opened {
    pub(crate) fn memory(&self, memory: Memory) -> Memory {
        self.push(Handle::Memory(memory.clone()));
        memory
    }

    pub(crate) fn backend(&self, backend: Backend) -> Backend {
        self.push(Handle::Backend(Box::new(backend.clone())));
        backend
    }

    pub(crate) fn admin(&self, admin: Administrator) -> Administrator {
        self.push(Handle::Admin(admin.clone()));
        admin
    }

    fn push(&self, handle: Handle) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
    }

    /// Closes all of them at once; the error is the first store's that could not be closed.
    pub(crate) async fn close(&self) -> Result<()> {
        let handles = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let closing = handles.iter().map(|handle| async move {
            match handle {
                Handle::Memory(memory) => memory.close().await,
                Handle::Backend(backend) => backend.close().await,
                Handle::Admin(admin) => admin.close().await,
            }
        });
        join_all(closing).await.into_iter().collect()
    }
}

/// Waits for the signal that asks the command to end, and gives the exit code that tells of it.
#[cfg(unix)]
pub(crate) async fn interrupted() -> u8 {
    use tokio::signal::unix::{SignalKind, signal};

    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // The system then ends the process by itself.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
    }
}

/// Waits for the signal that asks the command to end, and gives the exit code that tells of it.
#[cfg(not(unix))]
pub(crate) async fn interrupted() -> u8 {
    match tokio::signal::ctrl_c().await {
        Ok(()) => 130,
        Err(_) => std::future::pending().await,
    }
}

/// Ends the process after a signal where the command itself cannot: it waits for a terminal, or
/// computes.
pub(crate) async fn end_what_blocks(opened: Arc<Opened>) {
    let code = interrupted().await;
    tokio::time::sleep(GRACE).await;
    let _ = tokio::time::timeout(CLOSING, opened.close()).await;
    std::process::exit(i32::from(code));
}
