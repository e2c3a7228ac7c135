//! Workers that use a store all the while.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use memquill::{Facet, Memory};
use tokio::task::JoinSet;

use crate::history::{History, Outcome, Progress};
use crate::perform::perform;
use crate::plan::Plan;
use crate::witness::witnessed;

/// Longer than anything here takes on a machine under load.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the workers do.
#[derive(Debug, Clone)]
pub struct Workload {
    /// What all their dice come from.
    pub seed: u64,
    /// How many there are.
    pub workers: u64,
    /// The number of the first: no two workers on one store have the same.
    pub first: u64,
    /// What they use.
    pub facets: Vec<Facet>,
    /// How many of a hundred calls are dropped under way.
    pub dropped: u8,
}

impl Workload {
    /// Workers on all facets that the memory has, who drop nothing.
    pub fn new(seed: u64, workers: u64, memory: &Memory) -> Self {
        let facets = Facet::ALL.into_iter().filter(|f| memory.backend(*f).is_ok()).collect();
        Self { seed, workers, first: 0, facets, dropped: 0 }
    }

    /// Starts the workers.
    pub fn start(&self, memory: &Memory, history: &Arc<History>) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = JoinSet::new();
        for worker in self.first..self.first + self.workers {
            let plan = Plan::new(self.seed, worker, self.facets.clone());
            let (memory, history) = (memory.clone(), Arc::clone(history));
            workers.spawn(work(memory, history, plan, self.dropped, Arc::clone(&stop)));
        }
        Running { history: Arc::clone(history), stop, workers }
    }
}

async fn work(
    memory: Memory,
    history: Arc<History>,
    mut plan: Plan,
    dropped: u8,
    stop: Arc<AtomicBool>,
) {
    while !stop.load(Ordering::Relaxed) {
        let (scope, operation) = plan.next();
        let number = history.begin(scope, operation.clone());
        let call = witnessed(perform(&memory, scope, &operation));
        let answer = if plan.dice.u8(..100) < dropped {
            let (polls, pause) = (plan.dice.u32(..6), plan.dice.u64(..3_000));
            for_a_while(call, polls, Duration::from_micros(pause)).await
        } else {
            Some(call.await)
        };
        let Some((result, uncertain)) = answer else {
            history.end(number, false, Outcome::Unknown);
            continue;
        };
        if let Ok(answer) = &result {
            plan.learn(scope, &operation, answer);
        }
        history.end(number, uncertain, Outcome::of(result));
        // In memory nothing waits, and one worker would be all.
        tokio::task::yield_now().await;
    }
}

/// Drops a call that has not ended after a number of polls and a time, whichever is later.
async fn for_a_while<T>(call: impl Future<Output = T>, polls: u32, pause: Duration) -> Option<T> {
    let mut call = pin!(call);
    for _ in 0..polls {
        let poll = std::future::poll_fn(|context| Poll::Ready(call.as_mut().poll(context)));
        if let Poll::Ready(answer) = poll.await {
            return Some(answer);
        }
    }
    tokio::time::timeout(pause, call).await.ok()
}

/// Workers at work.
#[derive(Debug)]
pub struct Running {
    history: Arc<History>,
    stop: Arc<AtomicBool>,
    workers: JoinSet<()>,
}

impl Running {
    /// Waits until `more` more calls have ended, well or not.
    pub async fn ended(&self, more: usize) {
        self.until(|now, then| now.ended >= then.ended + more, "calls end").await;
    }

    /// Waits until `more` more calls have succeeded.
    pub async fn done(&self, more: usize) {
        self.until(|now, then| now.done >= then.done + more, "calls succeed").await;
    }

    /// Waits until `more` more calls have failed, other than by a conflict: what was broken is felt.
    pub async fn failed(&self, more: usize) {
        self.until(|now, then| now.failed >= then.failed + more, "calls fail").await;
    }

    async fn until(&self, enough: impl Fn(&Progress, &Progress) -> bool, what: &str) {
        let mut progress = self.history.progress();
        let then = *progress.borrow();
        let waiting = progress.wait_for(|now| enough(now, &then));
        let reached = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        assert!(reached, "no more {what}; the last: {:?}", self.history.events().last());
    }

    /// Lets every worker finish the call that it is at.
    pub async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let finished = async {
            while let Some(worker) = self.workers.join_next().await {
                worker.unwrap();
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, finished).await.is_ok();
        assert!(in_time, "a call neither succeeds nor fails");
    }
}
