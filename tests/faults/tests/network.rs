//! Faults between a client and a server: every phase of a request, slowness, a cut.

use std::time::Duration;

use memquill_faults::{Phase, Proxy, Trouble};

use crate::Test;
use crate::trial::Trial;

/// A store of a test's own behind a proxy.
pub(crate) struct Behind {
    pub(crate) proxy: Proxy,
    /// What keeps the store there.
    pub(crate) _held: Box<dyn std::any::Any + Send + Sync>,
    /// Its URL through the proxy, which gives up a call soon.
    pub(crate) through: String,
    /// Its URL past the proxy.
    pub(crate) past: String,
}

impl Behind {
    fn trial(&self, seed: u64) -> Trial {
        Trial::new(seed, &self.through).checked_at(&self.past)
    }
}

/// What a test of the network does while workers work.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Break(Trouble, Phase),
    Slow,
    Cut,
}

/// The tests of one store, which `open` makes.
pub(crate) fn tests<F>(
    store: &str,
    open: impl Fn(u64) -> F + Clone + Send + Sync + 'static,
) -> Vec<Test>
where
    F: Future<Output = Behind> + 'static,
{
    let mut faults = vec![
        (format!("{store}::slow::throughout"), Fault::Slow),
        (format!("{store}::cut::for_a_while"), Fault::Cut),
    ];
    for phase in Phase::ALL {
        for (name, trouble) in [("reset", Trouble::Reset), ("stall", Trouble::Stall)] {
            let name = format!("{store}::{name}::{}", phase.name());
            faults.push((name, Fault::Break(trouble, phase)));
        }
    }
    let test = |(name, fault): (String, Fault)| {
        let open = open.clone();
        Test::new(name, move |seed| run(open(seed), fault, seed))
    };
    faults.into_iter().map(test).collect()
}

async fn run(open: impl Future<Output = Behind>, fault: Fault, seed: u64) {
    let behind = open.await;
    let proxy = &behind.proxy;
    behind
        .trial(seed)
        .run(async |running| {
            match fault {
                Fault::Break(Trouble::Reset, phase) => {
                    proxy.break_at(phase, Trouble::Reset);
                    proxy.struck(20).await;
                }
                Fault::Break(Trouble::Stall, phase) => {
                    proxy.break_at(phase, Trouble::Stall);
                    proxy.struck(4).await;
                    // Until calls have been given up.
                    running.ended(8).await;
                }
                Fault::Slow => {
                    proxy.slow_down(Duration::from_millis(20));
                    proxy.struck(60).await;
                }
                Fault::Cut => {
                    proxy.cut();
                    running.failed(6).await;
                }
            }
            proxy.repair();
        })
        .await;
}
