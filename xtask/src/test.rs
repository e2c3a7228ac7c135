//! `cargo xtask test`: set up, run, and tell.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use comfy_table::Table;
use xshell::Shell;

use crate::binaries::{self, Built, Run};
use crate::docs;
use crate::stores::{self, STORES};

/// Everything, with one set of features, so that every dependency is compiled once.
pub(crate) const EVERYTHING: [&str; 2] = ["--workspace", "--all-features"];

/// What needs neither a server nor Docker nor Qdrant's engine.
const QUICK: [&str; 8] = [
    "-p=memquill-core",
    "-p=memquill-models",
    "-p=memquill-layers",
    "-p=memquill-transfer",
    "-p=memquill-inmemory",
    "-p=memquill-sqlite",
    "-p=memquill",
    "-p=memquill-cli",
];

/// How many of the slowest binaries are named.
const SLOWEST_SHOWN: usize = 8;

/// How many tests ended how.
#[derive(Default, Clone, Copy)]
pub(crate) struct Tally {
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl Tally {
    fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Ignored | Outcome::NotTried => self.ignored += 1,
        }
    }
}

/// How one test ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    /// It was left out, or what it needs is not claimed and was refused.
    Ignored,
    /// The harness has no means to try it.
    NotTried,
}

/// The tests that ran, by name.
pub(crate) type Outcomes = Vec<(String, Outcome)>;

/// Runs the tests whose names contain `filter`, or all.
pub(crate) fn run(sh: &Shell, quick: bool, filter: Option<&str>) -> Result<()> {
    let selection = if quick { &QUICK[..] } else { &EVERYTHING };
    if !quick {
        stores::set_up(sh)?;
    }
    let mut built = binaries::build(sh, selection)?;
    built.tests.push(Run::documentation(sh, selection));
    let (outcomes, succeeded) = run_built(&mut built, filter)?;
    summarise(sh, quick, &outcomes);
    if !succeeded || outcomes.iter().any(|(_, outcome)| *outcome == Outcome::Failed) {
        bail!("some tests failed; their names and messages stand above");
    }
    if outcomes.is_empty() {
        bail!("no test ran");
    }
    if quick || filter.is_some() {
        return Ok(());
    }
    let here: Vec<_> = STORES.iter().filter(|store| store.how(sh).is_ok()).collect();
    for store in &here {
        if !outcomes.iter().any(|(name, _)| store_of(name) == Some(store.name)) {
            bail!("no test ran on {}", store.name);
        }
    }
    if here.len() == STORES.len() {
        docs::check(sh, &built, &outcomes)?;
    }
    Ok(())
}

/// Runs what was built and passes on what it prints, while it keeps each test's outcome.
pub(crate) fn run_built(built: &mut Built, filter: Option<&str>) -> Result<(Outcomes, bool)> {
    let (mut outcomes, mut times, mut failed) = (Outcomes::new(), Vec::new(), Vec::new());
    let mut runs = std::mem::take(&mut built.tests);
    for run in &mut runs {
        run.add_arguments(filter);
    }
    binaries::run_all(runs, |ended| {
        let found = ended.output.lines().filter_map(outcome);
        outcomes.extend(found);
        println!("\n-- {} ({} s)\n{}", ended.name, ended.took.as_secs(), ended.output.trim_end());
        if !ended.succeeded {
            failed.push(ended.name.clone());
        }
        times.push((ended.took, ended.name));
    })?;
    times.sort_by(|a, b| b.cmp(a));
    let slowest: Vec<_> = times
        .iter()
        .take(SLOWEST_SHOWN)
        .map(|(took, name)| format!("{name} {} s", took.as_secs()))
        .collect();
    println!("\nSlowest: {}", slowest.join(", "));
    if !failed.is_empty() {
        println!("Failed: {}", failed.join(", "));
    }
    Ok((outcomes, failed.is_empty()))
}

/// Reads a line such as `test NAME ... ok`, with or without libtest-mimic's `[kind]`.
fn outcome(line: &str) -> Option<(String, Outcome)> {
    let (name, end) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let name = name.trim();
    // libtest-mimic writes the kind in front: `test [no vectors] NAME`.
    let name = name.split_once("] ").map_or(name, |(_, name)| name.trim());
    let outcome = match end.split([' ', ',']).next()? {
        "ignored" if end.contains("not tried: ") => Outcome::NotTried,
        "ok" => Outcome::Passed,
        "FAILED" => Outcome::Failed,
        "ignored" => Outcome::Ignored,
        _ => return None,
    };
    Some((name.to_owned(), outcome))
}

/// The store of a conformance test, which is the first part of its name.
pub(crate) fn store_of(name: &str) -> Option<&str> {
    let (store, rest) = name.split_once("::")?;
    let facet = rest.split("::").next()?;
    let known = ["general", "conversations", "vectors", "working"].contains(&facet);
    // A store may be run in several ways, as in `sqlite (in memory)`.
    (known && rest.split("::").count() == 3).then(|| store.split(' ').next().unwrap_or(store))
}

fn summarise(sh: &Shell, quick: bool, outcomes: &Outcomes) {
    let mut by_store: BTreeMap<&str, Tally> = BTreeMap::new();
    let mut all = Tally::default();
    for (name, outcome) in outcomes {
        by_store.entry(store_of(name).unwrap_or("")).or_default().add(*outcome);
        all.add(*outcome);
    }
    let other = by_store.remove("").unwrap_or_default();
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header(["store", "how it was had", "passed", "failed", "ignored"]);
    for store in &STORES {
        let tally = by_store.get(store.name).copied();
        if quick && tally.is_none() {
            continue;
        }
        let tally = tally.unwrap_or_default();
        table.add_row(row(store.name, &store.how(sh).unwrap_or_else(|why| why), tally));
    }
    table.add_row(row("(none)", "unit, integration and documentation tests", other));
    println!("\n{table}");
    println!("{} passed, {} failed, {} skipped", all.passed, all.failed, all.ignored);
}

fn row(name: &str, how: &str, tally: Tally) -> [String; 5] {
    let Tally { passed, failed, ignored } = tally;
    [name.into(), how.into(), passed.to_string(), failed.to_string(), ignored.to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_runners_are_read() {
        let name = |line| outcome(line).map(|(name, _)| name);
        assert_eq!(name("test a::b ... ok").unwrap(), "a::b");
        assert_eq!(
            name("test [no vectors] redis::vectors::v1::x ... ignored").unwrap(),
            "redis::vectors::v1::x"
        );
        assert_eq!(name("test src/lib.rs - (line 3) ... ok").unwrap(), "src/lib.rs - (line 3)");
        assert_eq!(name("test result: ok. 3 passed"), None);
    }

    #[test]
    fn a_conformance_test_tells_its_store() {
        assert_eq!(store_of("sqlite::vectors::v1::x"), Some("sqlite"));
        assert_eq!(store_of("sqlite (in memory)::vectors::v1::x"), Some("sqlite"));
        assert_eq!(store_of("json::tests::x"), None);
    }
}
