//! `cargo xtask bench`: what drivers cost, as ratios to the stores' own clients.
//!
//! Each benchmark has a driver and a client take turns, so that a busy machine slows both. The
//! ratios are compared with those of a table, in which a smaller one is better.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use comfy_table::Table;
use xshell::Shell;

use crate::binaries::cargo;

const FILE: &str = "benches/ratios.toml";

/// How much a ratio may grow before it counts as slower: machines differ by less.
const NOISE: f64 = 1.15;

/// The benchmarks that print ratios, by name, and how each is run.
const BENCHMARKS: [(&str, &[&str]); 5] = [
    ("inmemory", &["-p=memquill-inmemory", "--bench=inmemory"]),
    ("sqlite", &["-p=memquill-sqlite", "--bench=ratios"]),
    ("redis", &["-p=memquill-redis", "--bench=redis"]),
    ("postgres", &["-p=memquill-postgres", "--bench=ratios"]),
    ("qdrant", &["-p=memquill-qdrant", "--features=edge", "--bench=qdrant"]),
];

/// What may stand after a number that is not a ratio.
const UNITS: [&str; 5] = ["ns", "µs", "ms", "s", "bytes"];

/// Ratios by what was measured.
type Ratios = BTreeMap<String, f64>;

/// Runs the benchmarks of `names`, or all, and compares them with the table, or writes it.
pub(crate) fn run(sh: &Shell, names: &[String], save: bool) -> Result<()> {
    for name in names {
        if !BENCHMARKS.iter().any(|(known, _)| known == name) {
            bail!(
                "there is no benchmark {name:?}; there are {}",
                BENCHMARKS.map(|b| b.0).join(", ")
            );
        }
    }
    let mut saved: BTreeMap<String, Ratios> = toml::from_str(&sh.read_file(FILE)?)?;
    let wanted =
        BENCHMARKS.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|n| n == name));
    let mut slower = Vec::new();
    for (name, arguments) in wanted {
        let ratios = measure(sh, arguments)?;
        if ratios.is_empty() {
            bail!("the benchmark {name} printed no ratio");
        }
        let before = saved.get(*name).cloned().unwrap_or_default();
        slower.extend(report(name, &before, &ratios));
        saved.insert((*name).to_owned(), ratios);
    }
    if save {
        let header = "# Ratios of a driver's time to that of the store's own client: smaller is better.\n\
                      # Written by `cargo xtask bench --save`.\n\n";
        sh.write_file(FILE, format!("{header}{}", toml::to_string(&saved)?))?;
        println!("wrote {FILE}");
    } else if slower.is_empty() {
        println!("nothing is slower than {FILE} says, beyond noise");
    } else {
        bail!("slower by more than noise: {}", slower.join("; "));
    }
    Ok(())
}

/// Runs one benchmark, and passes on what it prints.
fn measure(sh: &Shell, arguments: &[&str]) -> Result<Ratios> {
    let mut child = cargo()
        .args(["bench", "--locked"])
        .args(arguments)
        .current_dir(sh.current_dir())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting cargo")?;
    let stdout = child.stdout.take().context("cargo's output")?;
    let mut ratios = Ratios::new();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        println!("{line}");
        ratios.extend(ratio(&line));
    }
    if !child.wait()?.success() {
        bail!("`cargo bench {}` failed", arguments.join(" "));
    }
    Ok(ratios)
}

/// Reads a line that gives a ratio: a name, two spaces or more, times, and the first number
/// without a unit.
fn ratio(line: &str) -> Option<(String, f64)> {
    let (name, figures) = line.split_once("  ")?;
    let name = name.trim().trim_end_matches(':');
    let mut words = figures.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let Ok(value) = word.parse::<f64>() else { continue };
        let unit = words.peek().is_some_and(|next| UNITS.contains(next));
        if name.is_empty() || unit {
            return None;
        }
        // A speed is better the greater it is.
        let value = if name.starts_with("speed") { 1.0 / value } else { value };
        return Some((name.to_owned(), (value * 100.0).round() / 100.0));
    }
    None
}

/// Prints both sides, and gives what got slower.
fn report(name: &str, before: &Ratios, now: &Ratios) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header([name, "table", "now", ""]);
    let mut slower = Vec::new();
    for (what, now) in now {
        let known = before.get(what);
        let verdict = match known {
            None => "not in the table yet",
            Some(before) if *now > before * NOISE => "slower",
            Some(before) if now * NOISE < *before => "faster",
            Some(_) => "",
        };
        if verdict == "slower" {
            slower.push(format!("{name}: {what}"));
        }
        let known = known.map_or("–".to_owned(), |ratio| format!("{ratio:.2}"));
        table.add_row([what.as_str(), &known, &format!("{now:.2}"), verdict]);
    }
    println!("{table}");
    slower
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_every_benchmark_are_read() {
        let of = |line| ratio(line).map(|(name, value)| format!("{name} = {value}"));
        assert_eq!(of("append 100   2.3ms /  2.1ms = 1.02").unwrap(), "append 100 = 1.02");
        assert_eq!(
            of("get to by hand    35µs /   40µs  p50 0.88  p99 0.91").unwrap(),
            "get to by hand = 0.88"
        );
        assert_eq!(
            of("get : GET        40.1µs     36.0µs    0.90    1.02").unwrap(),
            "get : GET = 0.9"
        );
        assert_eq!(
            of("speed of the search in reads:    0.80 (target: 0.85)").unwrap(),
            "speed of the search in reads = 1.25"
        );
        assert_eq!(of("plain read of the same bytes:    12.30 ms"), None);
        assert_eq!(of("retry                   adds     70 ns to 190 ns"), None);
        assert_eq!(of("  3 (3.00%) high mild"), None);
    }
}
