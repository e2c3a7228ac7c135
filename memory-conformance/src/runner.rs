//! Running scenarios: which ones, and what came of them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use memquill_core::{Backend, Facet};

use crate::harness::Harness;
use crate::scenario::{NotTried, SEED_VARIABLE, Scenario, Test};
use crate::scenarios;

/// A scenario that takes longer than this is stuck.
const DEADLINE: Duration = Duration::from_mins(2);

/// What came of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Passed,
    /// What it needs is not claimed, and was refused as it should be (G10).
    Refused(String),
    /// The backend does not offer its facet.
    Absent(Facet),
    /// The harness has no means to try it, and why: it proves nothing.
    NotTried(String),
    /// It does not hold, or the claim about it is wrong.
    Failed(String),
}

/// What came of all scenarios.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The scenarios' names and verdicts, in the suite's order.
    pub verdicts: Vec<(String, Verdict)>,
}

impl Report {
    /// The scenarios that the harness has no means to try, with the reasons.
    pub fn not_tried(&self) -> Vec<(&str, &str)> {
        self.verdicts
            .iter()
            .filter_map(|(name, verdict)| match verdict {
                Verdict::NotTried(why) => Some((name.as_str(), why.as_str())),
                _ => None,
            })
            .collect()
    }

    /// The scenarios that failed, with the reasons.
    pub fn failures(&self) -> Vec<(&str, &str)> {
        self.verdicts
            .iter()
            .filter_map(|(name, verdict)| match verdict {
                Verdict::Failed(why) => Some((name.as_str(), why.as_str())),
                _ => None,
            })
            .collect()
    }
}

/// Runs one scenario on a store of the harness.
///
/// Gating is two-sided: where a needed feature is not claimed, the scenario runs all the same and
/// must be refused as `Unsupported`; one that passes shows a capability understated.
pub async fn run_one(scenario: &Scenario, harness: &dyn Harness) -> Verdict {
    let test = match prepare(harness).await {
        Ok(test) => test,
        Err(error) => return Verdict::Failed(format!("no store: {error}")),
    };
    if let Some(facet) = absent(scenario, test.backend()) {
        return Verdict::Absent(facet);
    }
    let denied: Vec<&str> = scenario
        .needs
        .iter()
        .filter(|feature| !test.has(**feature))
        .map(|feature| feature.as_str())
        .collect();
    let (refusals, seed) = (test.refusals(), test.seed());
    // A task of its own, so that a panic is caught with its message.
    let running = tokio::spawn((scenario.run)(test));
    let result = match tokio::time::timeout(DEADLINE, running).await {
        Err(_) => Err(format!("still running after {} s", DEADLINE.as_secs())),
        Ok(Ok(())) => Ok(()),
        Ok(Err(join)) => match outcome_of(join) {
            Outcome::NotTried(why) => return Verdict::NotTried(why),
            Outcome::Failed(why) => Err(why),
        },
    };
    match (result, denied.is_empty()) {
        (Ok(()), true) => Verdict::Passed,
        (Err(why), true) => Verdict::Failed(explained(scenario, seed.get(), &why)),
        (Ok(()), false) => {
            Verdict::Failed(format!("passes although {} is not claimed", denied.join(", ")))
        }
        (Err(_), false) if refusals.any() => Verdict::Refused(denied.join(", ")),
        (Err(why), false) => Verdict::Failed(format!(
            "{} is not claimed, and not refused as Unsupported: {why}",
            denied.join(", ")
        )),
    }
}

/// A failure as a driver's author reads it: the sentence that does not hold, what was seen, and how
/// to run it again with the same random choices.
fn explained(scenario: &Scenario, seed: Option<&u64>, why: &str) -> String {
    let (clause, sentence) = (scenario.clause.to_uppercase(), scenario.what.replace('_', " "));
    let mut text = format!(
        "clause {clause} of docs/semantics.md does not hold: \"{sentence}\"\n\
         {why}\n\
         (in `left` and `right`, left is what the driver answered, right what the clause demands)"
    );
    if let Some(seed) = seed {
        let _ = write!(text, "\nrun it again with {SEED_VARIABLE}={seed}");
    }
    text
}

async fn prepare(harness: &dyn Harness) -> memquill_core::Result<Test> {
    let store = harness.store().await?;
    let backend = store.connect().await?;
    Ok(Test::new(store, backend))
}

fn absent(scenario: &Scenario, backend: &Backend) -> Option<Facet> {
    scenario.facet.filter(|facet| !backend.facets().contains(facet))
}

/// How a scenario ended that did not return.
enum Outcome {
    NotTried(String),
    Failed(String),
}

fn outcome_of(join: tokio::task::JoinError) -> Outcome {
    let panic = match join.try_into_panic() {
        Ok(panic) => panic,
        Err(join) => return Outcome::Failed(join.to_string()),
    };
    match panic.downcast::<NotTried>() {
        Ok(not_tried) => Outcome::NotTried(not_tried.0),
        Err(panic) => Outcome::Failed(
            panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_else(|| "a panic without a message".into()),
        ),
    }
}

/// Runs every scenario that `which` picks, one after the other.
pub async fn run(harness: &dyn Harness, which: impl Fn(&Scenario) -> bool) -> Report {
    let mut report = Report::default();
    for scenario in scenarios::all().iter().filter(|scenario| which(scenario)) {
        report.verdicts.push((scenario.name(), run_one(scenario, harness).await));
    }
    report
}

/// The `main` of a driver's conformance test: one test per scenario, with the arguments of
/// `cargo test`. What cannot run is ignored, with the reason.
pub fn main_with(harness: impl Harness) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Scenarios bring concurrency of their own; more at once only slows the store down.
    arguments.test_threads.get_or_insert(4);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => Arc::new(runtime),
        Err(error) => panic!("no runtime: {error}"),
    };
    let harness: Arc<dyn Harness> = Arc::new(harness);
    let offered = runtime.block_on(offered(&*harness));
    let trials = scenarios::all()
        .into_iter()
        .map(|scenario| trial(scenario, &harness, &runtime, &offered))
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The facets that the backend offers. Where none can be had, all: each scenario then fails with
/// the reason.
async fn offered(harness: &dyn Harness) -> BTreeSet<Facet> {
    let facets = prepare(harness).await.map(|test| test.backend().facets());
    facets.unwrap_or_else(|_| Facet::ALL.to_vec()).into_iter().collect()
}

fn trial(
    scenario: Scenario,
    harness: &Arc<dyn Harness>,
    runtime: &Arc<tokio::runtime::Runtime>,
    offered: &BTreeSet<Facet>,
) -> Trial {
    let missing = scenario.facet.filter(|facet| !offered.contains(facet));
    let name = format!("{}::{}", harness.name(), scenario.name());
    let (harness, runtime) = (Arc::clone(harness), Arc::clone(runtime));
    let run = move || match runtime.block_on(run_one(&scenario, &*harness)) {
        Verdict::Passed => Ok(Completion::Completed),
        Verdict::Refused(denied) => {
            Ok(Completion::ignored_with(format!("refused: {denied} is not claimed")))
        }
        Verdict::NotTried(why) => Ok(Completion::ignored_with(format!("not tried: {why}"))),
        Verdict::Absent(facet) => Err(Failed::from(format!("{facet} is gone"))),
        Verdict::Failed(why) => Err(Failed::from(why)),
    };
    let trial = Trial::ignorable_test(name, run);
    match missing {
        Some(facet) => trial.with_kind(format!("no {facet}")).with_ignored_flag(true),
        None => trial,
    }
}
