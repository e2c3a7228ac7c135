//! Runs the command as a person or a program would.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    dead_code,
    reason = "shared by tests"
)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A place to run the command in, with a data directory of its own.
pub struct Place(TempDir);

/// What a run gave.
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        self.run_with_input(args, "")
    }

    /// Runs in a folder of the place.
    pub fn run_at<S: AsRef<std::ffi::OsStr>>(
        &self,
        folder: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Run {
        let mut child = self.command(args).current_dir(self.path().join(folder)).spawn().unwrap();
        drop(child.stdin.take());
        Run::of(child)
    }

    /// Starts a run with environment variables, to be waited for or killed.
    pub fn start<S: AsRef<std::ffi::OsStr>>(
        &self,
        environment: &[(&str, &str)],
        args: impl IntoIterator<Item = S>,
    ) -> Child {
        self.command(args).envs(environment.iter().copied()).spawn().unwrap()
    }

    fn command<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_memquill"));
        command
            .args(args)
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path())
            .env("XDG_DATA_HOME", self.path().join("data"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn run_with_input<S: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        input: &str,
    ) -> Run {
        self.run_in(&[], args, input)
    }

    /// Runs with environment variables.
    pub fn run_in<S: AsRef<std::ffi::OsStr>>(
        &self,
        environment: &[(&str, &str)],
        args: impl IntoIterator<Item = S>,
        input: &str,
    ) -> Run {
        let mut child = self.start(environment, args);
        // A command that reads no input closes the pipe.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Run::of(child)
    }
}

impl Run {
    fn of(child: Child) -> Self {
        let output = child.wait_with_output().unwrap();
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The JSON of a run that ended with `code`.
    #[track_caller]
    pub fn json(&self, code: i32) -> Value {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }
}
