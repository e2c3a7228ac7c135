//! What moves requests and answers over a connection.
//!
//! The client library leaves that to a task, to which a call hands its request: often another
//! thread has to wake to write it. Here a caller who is the only one to wait writes the request
//! itself, and only the answer comes by the task. Where many call at once, the task gathers their
//! requests into one write.

use std::cell::Cell;
use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use tokio::task::AbortHandle;

thread_local! {
    /// Whether this thread hands a request over and is about to write it too.
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

/// Moves requests and answers until it is dropped.
pub(crate) struct Pump {
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    /// Writes the requests that were handed over and reads answers; none once the connection ended.
    io: Mutex<Option<Io>>,
    /// How many calls wait.
    waiting: AtomicUsize,
    task: Arc<Task>,
    /// Wakes the task, whoever polls.
    waker: Waker,
}

type Io = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The task that polls when there is something to read, or to write.
#[derive(Default)]
struct Task(AtomicWaker);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !WRITING.get() {
            self.0.wake();
        }
    }
}

impl Pump {
    /// Starts to move what `io` moves, the library's own future.
    pub(crate) fn start(io: impl Future<Output = ()> + Send + 'static) -> Self {
        let task = Arc::<Task>::default();
        let shared = Arc::new(Shared {
            io: Mutex::new(Some(Box::pin(io))),
            waiting: AtomicUsize::new(0),
            waker: Waker::from(Arc::clone(&task)),
            task,
        });
        let moved = Moved(Arc::clone(&shared));
        let task = tokio::spawn(std::future::poll_fn(move |cx| {
            moved.0.task.0.register(cx.waker());
            moved.0.poll(moved.0.io.lock())
        }));
        Self { shared, task: task.abort_handle() }
    }

    /// Runs a call, whose first step hands its request over.
    pub(crate) async fn call<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        let waiting = Waiting::new(&self.shared.waiting);
        if waiting.alone {
            let answer = std::future::poll_fn(|cx| Poll::Ready(hand_over(call.as_mut(), cx))).await;
            self.shared.write();
            if let Poll::Ready(answer) = answer {
                return answer;
            }
        }
        call.await
    }
}

/// Polls a call without waking the task for it.
fn hand_over<T>(call: Pin<&mut impl Future<Output = T>>, cx: &mut Context<'_>) -> Poll<T> {
    struct Done;
    impl Drop for Done {
        fn drop(&mut self) {
            WRITING.set(false);
        }
    }
    WRITING.set(true);
    let _done = Done;
    call.poll(cx)
}

impl Shared {
    /// Writes what was handed over, or has the task do so while somebody else is at it.
    fn write(&self) {
        match self.io.try_lock() {
            Some(io) => {
                if self.poll(io).is_ready() {
                    self.task.0.wake();
                }
            }
            None => self.task.0.wake(),
        }
    }

    fn poll(&self, mut io: MutexGuard<'_, Option<Io>>) -> Poll<()> {
        let Some(moving) = io.as_mut() else { return Poll::Ready(()) };
        let polled = moving.as_mut().poll(&mut Context::from_waker(&self.waker));
        if polled.is_ready() {
            *io = None;
        }
        polled
    }
}

/// What the task holds. The connection ends with it, also where that is because its runtime ended:
/// who calls then is told, and connects anew.
struct Moved(Arc<Shared>);

impl Drop for Moved {
    fn drop(&mut self) {
        *self.0.io.lock() = None;
    }
}

/// A call that waits.
struct Waiting<'a> {
    count: &'a AtomicUsize,
    /// Whether no other did when it came.
    alone: bool,
}

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        Self { alone: count.fetch_add(1, Ordering::Relaxed) == 0, count }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Pump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pump")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::{mpsc, oneshot};

    use super::*;

    type Asked = (u32, oneshot::Sender<u32>);

    /// A pump that answers numbers with their doubles, each in a poll of its own.
    fn doubling() -> (Pump, mpsc::Sender<Asked>) {
        let (sender, mut asked) = mpsc::channel::<Asked>(4);
        let pump = Pump::start(async move {
            while let Some((number, answer)) = asked.recv().await {
                tokio::task::yield_now().await;
                let _ = answer.send(2 * number);
            }
        });
        (pump, sender)
    }

    async fn double(pump: &Pump, sender: &mpsc::Sender<Asked>, number: u32) -> Option<u32> {
        let call = async {
            let (answer, answered) = oneshot::channel();
            sender.send((number, answer)).await.ok()?;
            answered.await.ok()
        };
        pump.call(call).await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn every_call_is_answered() {
        let (pump, sender) = doubling();
        let pump = Arc::new(pump);
        let callers = (0..16).map(|caller| {
            let (pump, sender) = (Arc::clone(&pump), sender.clone());
            tokio::spawn(async move {
                for at in 0..500 {
                    let number = caller * 1_000 + at;
                    assert_eq!(double(&pump, &sender, number).await, Some(2 * number));
                    if at % 50 == 0 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
    }

    #[tokio::test]
    async fn g7_a_dropped_call_leaves_the_others() {
        let (pump, sender) = doubling();
        for number in 0..100 {
            tokio::select! {
                biased;
                answer = double(&pump, &sender, number) => panic!("{answer:?} at once"),
                () = std::future::ready(()) => {}
            }
            assert_eq!(double(&pump, &sender, number).await, Some(2 * number));
        }
    }

    #[tokio::test]
    async fn calls_on_an_ended_connection_end() {
        let (sender, mut asked) = mpsc::channel::<Asked>(4);
        let pump = Pump::start(async move {
            asked.recv().await;
        });
        assert_eq!(double(&pump, &sender, 1).await, None);
        assert_eq!(double(&pump, &sender, 2).await, None);
    }

    #[test]
    fn calls_end_with_the_runtime_that_moves_them() {
        let runtime = || tokio::runtime::Runtime::new().unwrap();
        let first = runtime();
        let (pump, sender) = first.block_on(async { doubling() });
        assert_eq!(first.block_on(double(&pump, &sender, 1)), Some(2));
        drop(first);
        assert_eq!(runtime().block_on(double(&pump, &sender, 2)), None);
    }
}
