//! Servers of this machine's own binaries, on free loopback ports. They end with the test.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use redis::Value;
use tempfile::TempDir;

use crate::{free_port, until};

/// Runs a server until its own input ends, as it does when the test dies however it dies.
const UNTIL_INPUT_ENDS: &str =
    r#""$@" >/dev/null 2>&1 & pid=$!; echo $pid; read -r _; kill -9 $pid; wait $pid 2>/dev/null"#;

/// A server process with a folder and a port of its own.
#[derive(Debug)]
pub struct Server {
    binary: &'static str,
    arguments: Vec<String>,
    folder: TempDir,
    /// Where it listens.
    pub port: u16,
    process: Option<(Child, u32)>,
}

impl Server {
    /// Starts `binary` with these arguments behind the usual ones, and waits until it listens.
    pub fn start(binary: &'static str, arguments: &[&str]) -> Self {
        let mut server = Self {
            binary,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            folder: tempfile::tempdir().unwrap(),
            port: free_port(),
            process: None,
        };
        server.run();
        server
    }

    /// Starts another server on a copy of its folder: what a crash at this moment leaves.
    #[must_use]
    pub fn crashed(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let from = self.folder.path().join(".");
        let copied =
            Command::new("cp").arg("-r").args([from.as_path(), folder.path()]).status().unwrap();
        assert!(copied.success(), "copying the server's folder");
        let (binary, arguments) = (self.binary, self.arguments.clone());
        let mut copy = Self { binary, arguments, folder, port: free_port(), process: None };
        copy.run();
        until(|| copy.try_command(&["PING"]).is_ok()); // it loads its data first
        copy
    }

    /// Adds arguments for the next start.
    pub fn arguments(&mut self, arguments: &[&str]) {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
    }

    /// Starts it, again after [`Server::kill`].
    pub fn run(&mut self) {
        self.spawn();
        until(|| std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    fn spawn(&mut self) {
        let mut child = Command::new("sh")
            .args(["-c", UNTIL_INPUT_ENDS, "sh", self.binary])
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .arg("--dir")
            .arg(self.folder.path())
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut pid = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut pid).unwrap();
        self.process = Some((child, pid.trim().parse().unwrap()));
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        if let Some((mut child, _)) = self.process.take() {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }

    /// Sends it a signal, as in `STOP`.
    pub fn signal(&self, signal: &str) {
        let pid = self.process.as_ref().unwrap().1.to_string();
        assert!(
            Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success()
        );
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Runs a raw command.
    pub fn command(&self, words: &[&str]) -> Value {
        self.try_command(words).unwrap()
    }

    /// Runs a raw command, which may fail.
    pub fn try_command(&self, words: &[&str]) -> redis::RedisResult<Value> {
        let mut connection = redis::Client::open(self.url())?.get_connection()?;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).query(&mut connection)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
