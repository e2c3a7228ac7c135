//! `cargo xtask mutants`: drivers that are broken on purpose, and what the suite makes of them.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use comfy_table::Table;
use xshell::Shell;

use crate::binaries::cargo;

/// The largest share of broken drivers that may survive the suite, in percent.
const MOST_SURVIVORS: usize = 5;

/// Runs the suite on every broken driver, on the in-memory store, and prints a table.
pub(crate) fn run(sh: &Shell) -> Result<()> {
    let arguments =
        ["test", "-p", "memquill-inmemory", "--locked", "--test", "broken", "--", "--nocapture"];
    let mut child = cargo()
        .args(arguments)
        .current_dir(sh.current_dir())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("starting cargo")?;
    let stdout = child.stdout.take().context("cargo's output")?;
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header(["broken driver", "what the suite made of it"]);
    let (mut all, mut survivors) = (0, 0);
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        let Some((mutant, outcome)) =
            line.strip_prefix("mutant ").and_then(|line| line.split_once("): "))
        else {
            continue;
        };
        all += 1;
        survivors += usize::from(outcome == "SURVIVES");
        table.add_row([format!("{mutant})"), outcome.to_owned()]);
    }
    let succeeded = child.wait()?.success();
    println!("{table}\n{all} broken drivers, {survivors} survive the suite");
    if all == 0 {
        bail!("no broken driver ran; see `cargo {}`", arguments.join(" "));
    }
    if survivors * 100 > all * MOST_SURVIVORS {
        bail!("more than {MOST_SURVIVORS} % survive");
    }
    if !succeeded {
        bail!("a guard misses its fault; see `cargo {}`", arguments.join(" "));
    }
    Ok(())
}
