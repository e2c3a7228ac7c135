//! `cargo xtask docs`: docs/capabilities.md, from what the conformance suite proves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value};
use xshell::{Shell, cmd};

use crate::binaries::{self, Built};
use crate::stores::STORES;
use crate::test::{EVERYTHING, Outcome, Outcomes, run_built, store_of};

const FILE: &str = "docs/capabilities.md";

/// Runs the suite on every store and writes the file.
pub(crate) fn run(sh: &Shell) -> Result<()> {
    let mut built =
        binaries::build(sh, &[&EVERYTHING[..], &["--test=conformance", "--bins"]].concat())?;
    let (outcomes, succeeded) = run_built(&mut built, None)?;
    if !succeeded {
        bail!("the suite is not green");
    }
    sh.write_file(FILE, render(&claims(sh, &built)?, &outcomes)?)?;
    println!("wrote {FILE}");
    Ok(())
}

/// Fails where the file is not what these outcomes, of a run on every store, prove, and rewrites it.
pub(crate) fn check(sh: &Shell, built: &Built, outcomes: &Outcomes) -> Result<()> {
    let proved = render(&claims(sh, built)?, outcomes)?;
    if sh.read_file(FILE)? != proved {
        sh.write_file(FILE, proved)?;
        bail!("{FILE} was stale; it is rewritten: read the difference and commit it");
    }
    Ok(())
}

/// What the drivers claim that need no server to be asked.
fn claims(sh: &Shell, built: &Built) -> Result<Map<String, Value>> {
    let command = built.command.as_ref().context("the command was not built")?;
    let answer: Value = serde_json::from_str(&cmd!(sh, "{command} capabilities --json").read()?)?;
    let Some(stores) = answer["stores"].as_object() else {
        bail!("`capabilities --json` gave no stores");
    };
    let asked = stores.iter().filter(|(_, store)| store["capabilities"].is_object());
    Ok(asked.map(|(name, store)| (name.clone(), store.clone())).collect())
}

fn render(claims: &Map<String, Value>, outcomes: &Outcomes) -> Result<String> {
    let mut out = String::from(
        "# What each driver can do\n\n\
         Written by `cargo xtask docs` from what the drivers claim and what the conformance suite \
         proved on a real store; CI fails when it is stale. The clauses are those of \
         [semantics.md](semantics.md).\n\n## Claims of the embedded drivers\n\nWhat a server can do, `memquill --store URL capabilities` finds out.\n\n",
    );
    write_claims(&mut out, claims)?;
    out.push_str("\n## Scenarios passed, by clause\n\n");
    write_proofs(&mut out, outcomes)?;
    Ok(out)
}

fn write_claims(out: &mut String, drivers: &Map<String, Value>) -> Result<()> {
    let mut rows: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let names: Vec<&str> = drivers.keys().map(String::as_str).collect();
    for (at, driver) in drivers.values().enumerate() {
        let mut set = |key, value: String| {
            rows.entry(key).or_insert_with(|| vec!["–".into(); names.len()])[at] = value;
        };
        let capabilities = &driver["capabilities"];
        set("clock", format!("the {}'s", capabilities["time"].as_str().unwrap_or("?")));
        set("durability", capabilities["durability"].as_str().unwrap_or("?").into());
        for facet in driver["facets"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            set(facet, "yes".into());
        }
        for feature in capabilities["features"].as_array().into_iter().flatten() {
            set(feature.as_str().unwrap_or("?"), "yes".into());
        }
        let exact = capabilities["vectors"]["exact_up_to"].as_u64();
        set("exact search", exact.map_or("always".into(), |n| format!("up to {n} records")));
    }
    writeln!(out, "| | {} |", names.join(" | "))?;
    writeln!(out, "|---|{}", "---|".repeat(names.len()))?;
    for (key, values) in rows {
        writeln!(out, "| {key} | {} |", values.join(" | "))?;
    }
    Ok(())
}

/// The scenarios that a store's tests have no means to try, so that they prove nothing there.
fn write_not_tried(out: &mut String, outcomes: &Outcomes) -> Result<()> {
    for store in &STORES {
        let mut names: BTreeMap<&str, bool> = BTreeMap::new();
        for (name, outcome) in
            outcomes.iter().filter(|(name, _)| store_of(name) == Some(store.name))
        {
            let scenario = name.split_once("::").map_or(name.as_str(), |(_, scenario)| scenario);
            let tried = names.entry(scenario).or_default();
            *tried |= *outcome != Outcome::NotTried;
        }
        let untried: Vec<&str> =
            names.into_iter().filter(|(_, tried)| !tried).map(|(name, _)| name).collect();
        if !untried.is_empty() {
            writeln!(out, "Not tried on {}: {}.\n", store.name, untried.join(", "))?;
        }
    }
    Ok(())
}

fn write_proofs(out: &mut String, outcomes: &Outcomes) -> Result<()> {
    // A store that is run in several ways proves each scenario once.
    let mut proved: BTreeMap<(String, u32, String), BTreeMap<&str, BTreeSet<&str>>> =
        BTreeMap::new();
    for (name, outcome) in outcomes {
        let (Some(store), Some((_, rest))) = (store_of(name), name.split_once("::")) else {
            continue;
        };
        let parts: Vec<&str> = rest.split("::").collect();
        if let ([facet, clause, what], Outcome::Passed) = (parts.as_slice(), outcome) {
            let letters = clause.trim_end_matches(|c: char| c.is_ascii_digit());
            let number = clause[letters.len()..].parse().unwrap_or(0);
            let key = (letters.to_uppercase(), number, (*facet).to_owned());
            proved.entry(key).or_default().entry(store).or_default().insert(what);
        }
    }
    write_not_tried(out, outcomes)?;
    let names: Vec<&str> = STORES.iter().map(|store| store.name).collect();
    writeln!(out, "| clause | tests | {} |", names.join(" | "))?;
    writeln!(out, "|---|---|{}", "---|".repeat(names.len()))?;
    for ((letters, number, facet), stores) in proved {
        let counts = names.iter().map(|name| stores.get(name).map_or(0, BTreeSet::len).to_string());
        writeln!(
            out,
            "| {letters}{number} | {facet} | {} |",
            counts.collect::<Vec<_>>().join(" | ")
        )?;
    }
    Ok(())
}
