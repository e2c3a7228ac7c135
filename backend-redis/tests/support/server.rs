//! Servers of this machine's own binaries, on free loopback ports. They end with the test.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use redis::Value;
use tempfile::TempDir;

/// Runs a server until its own input ends, as it does when the test dies however it dies.
const UNTIL_INPUT_ENDS: &str =
    r#""$@" >/dev/null 2>&1 & pid=$!; echo $pid; read -r _; kill -9 $pid; wait $pid 2>/dev/null"#;

/// A server process with a folder and a port of its own.
#[derive(Debug)]
pub(crate) struct Server {
    binary: &'static str,
    arguments: Vec<String>,
    folder: TempDir,
    pub(crate) port: u16,
    process: Option<(Child, u32)>,
}

/// A port that nobody listens on, and that this process gives to nobody else: a server that is dead
/// for a while finds its own free again. The system gives out none of these by itself.
pub(crate) fn free_port() -> u16 {
    const PORTS: std::ops::Range<u32> = 10_000..32_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        // Each process begins somewhere else.
        let begin = std::process::id().wrapping_mul(7_919);
        let at = begin.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + at % (PORTS.end - PORTS.start);
        let port = u16::try_from(port).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Whether the machine has the binary.
pub(crate) fn has(binary: &str) -> bool {
    let version = Command::new(binary).arg("--version").stdout(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

impl Server {
    /// Starts `binary` with these arguments behind the usual ones, and waits until it listens.
    pub(crate) fn start(binary: &'static str, arguments: &[&str]) -> Self {
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

    /// Adds arguments for the next start.
    pub(crate) fn arguments(&mut self, arguments: &[&str]) {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
    }

    /// Starts it, again after [`Server::kill`].
    pub(crate) fn run(&mut self) {
        self.spawn();
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "{} does not start", self.binary);
            std::thread::sleep(Duration::from_millis(5));
        }
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
    pub(crate) fn kill(&mut self) {
        if let Some((mut child, _)) = self.process.take() {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }

    /// Sends it a signal, as in `STOP`.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.process.as_ref().unwrap().1.to_string();
        assert!(
            Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success()
        );
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Runs a raw command.
    pub(crate) fn command(&self, words: &[&str]) -> Value {
        self.try_command(words).unwrap()
    }

    pub(crate) fn try_command(&self, words: &[&str]) -> redis::RedisResult<Value> {
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
