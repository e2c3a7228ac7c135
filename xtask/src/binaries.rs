//! Builds the test binaries of the workspace and runs them, several at once.
//!
//! Cargo runs one binary after another, and most of them wait for servers. Here each binary's output
//! is printed whole when it ends.

use std::collections::VecDeque;
use std::io::{Read as _, pipe};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use xshell::Shell;

/// How many run at once. Each has as many threads as there are processors.
const MAX_CONCURRENT_RUNS: usize = 2;

/// Parts of the names of binaries that take longest. They start first, so that none of them is
/// left to run alone at the end.
const SLOW_RUNS: [&str; 5] = ["faults", "broken", "documentation", "conformance", "servers"];

/// What cargo built.
pub(crate) struct Built {
    pub(crate) tests: Vec<Run>,
    /// The `memquill` command.
    pub(crate) command: Option<PathBuf>,
}

/// A command that runs tests.
pub(crate) struct Run {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    folder: PathBuf,
}

/// A run that has ended.
pub(crate) struct Ended {
    pub(crate) name: String,
    pub(crate) output: String,
    pub(crate) succeeded: bool,
    pub(crate) took: Duration,
}

impl Run {
    /// The documentation tests of the packages that `selection` names.
    pub(crate) fn documentation(sh: &Shell, selection: &[&str]) -> Self {
        let arguments = [&["test", "--doc", "--locked"], selection].concat();
        Self {
            name: "documentation tests".into(),
            program: "cargo".into(),
            arguments: arguments.into_iter().map(String::from).collect(),
            folder: sh.current_dir(),
        }
    }

    pub(crate) fn add_arguments<'a>(&mut self, arguments: impl IntoIterator<Item = &'a str>) {
        self.arguments.extend(arguments.into_iter().map(String::from));
    }

    fn rank(&self) -> usize {
        let slow = SLOW_RUNS.iter().position(|name| self.name.contains(name));
        slow.unwrap_or(SLOW_RUNS.len())
    }

    fn run(self) -> Result<Ended> {
        let start = Instant::now();
        // One pipe for both streams keeps their lines in order.
        let (mut reader, writer) = pipe()?;
        let mut command = if self.program == Path::new("cargo") {
            cargo()
        } else {
            let mut test = Command::new(&self.program);
            test.env("CARGO_MANIFEST_DIR", &self.folder);
            test
        };
        command
            .args(&self.arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        let mut child =
            command.spawn().with_context(|| format!("starting {}", self.program.display()))?;
        // It holds the other end of the pipe, which would never close.
        drop(command);
        let mut output = Vec::new();
        reader.read_to_end(&mut output)?;
        Ok(Ended {
            name: self.name,
            output: String::from_utf8_lossy(&output).into_owned(),
            succeeded: child.wait()?.success(),
            took: start.elapsed(),
        })
    }
}

/// Returns `cargo` without what `cargo run` has told this process about the package xtask.
///
/// The build script of ring runs again where these variables differ, and everything that speaks TLS
/// is then compiled again.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// Builds the test binaries that `selection` names.
pub(crate) fn build(sh: &Shell, selection: &[&str]) -> Result<Built> {
    let output = cargo()
        .args(["test", "--no-run", "--locked", "--message-format", "json-render-diagnostics"])
        .args(selection)
        .current_dir(sh.current_dir())
        .stderr(Stdio::inherit())
        .output()
        .context("starting cargo")?;
    if !output.status.success() {
        bail!("the tests do not build");
    }
    let root = sh.current_dir().canonicalize()?;
    let mut built = Built { tests: Vec::new(), command: None };
    for line in String::from_utf8(output.stdout)?.lines() {
        let message: Value = serde_json::from_str(line)?;
        let Some(executable) = message["executable"].as_str().map(PathBuf::from) else { continue };
        let target = &message["target"];
        let name = target["name"].as_str().context("a target without a name")?;
        if message["profile"]["test"] == true {
            let manifest = message["manifest_path"].as_str().context("a target without a place")?;
            let folder = Path::new(manifest).parent().context("a manifest has a folder")?;
            let package = folder.strip_prefix(&root).unwrap_or(folder);
            built.tests.push(Run {
                name: format!("{} {name}", package.display()).trim().to_owned(),
                program: executable,
                arguments: Vec::new(),
                folder: folder.to_owned(),
            });
        } else if name == "memquill" && target["kind"][0] == "bin" {
            built.command = Some(executable);
        }
    }
    Ok(built)
}

/// Runs all of `runs`, and gives each to `ended` as it ends.
pub(crate) fn run_all(mut runs: Vec<Run>, mut ended: impl FnMut(Ended)) -> Result<()> {
    runs.sort_by_key(Run::rank);
    let queue = Mutex::new(VecDeque::from(runs));
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..MAX_CONCURRENT_RUNS {
            let (queue, sender) = (&queue, sender.clone());
            scope.spawn(move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(run) = next else { break };
                    if sender.send(run.run()).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        receiver.into_iter().try_for_each(|run| run.map(&mut ended))
    })
}
