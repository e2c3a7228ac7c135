//! Where a server comes from: an environment URL, or a container.

use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use testcontainers::core::{IntoContainerPort as _, Mount};
use testcontainers::runners::SyncRunner as _;
use testcontainers::{Container, ContainerRequest, GenericImage, ImageExt as _};

/// The official image, and the one that `cargo xtask images` builds.
const OFFICIAL: (&str, &str) = ("pgvector/pgvector", "0.8.1-pg17");
const OWN: (&str, &str) = ("memquill/stores", "trixie-2");

/// The size of the file system at `/tiny`, in bytes: there to be filled.
const TINY: i64 = 32 << 20;

/// What starts a server in our own image, as the official one's entry point does.
const START: &str = "cd /tmp
if [ ! -e db ]; then
    initdb -D db -E UTF8 --locale=C.UTF-8 -U postgres -A trust >/dev/null
    echo \"ALTER USER postgres PASSWORD 'secret'\" | postgres --single -D db postgres >/dev/null
    # Published ports come from the bridge's address, never from the container's own.
    echo 'host all all all scram-sha-256' >> db/pg_hba.conf
fi
exec postgres -D db -c listen_addresses='*' -c fsync=off \"$@\"";

/// Copies the server's files and its log, and starts another server on the copy, which recovers from
/// the log as after a crash.
const COPY: &str = "cd /tmp
if [ -e copy ]; then
    pg_ctl -D copy -m immediate -w stop >/dev/null || true
    rm -r copy
fi
pg_basebackup -U postgres -D copy -X stream -c fast
pg_ctl -D copy -o \"-p 5433 -c listen_addresses='*' -c fsync=off\" -l copy.log -w start >/dev/null";

/// A server that is there as long as this value.
#[derive(Debug)]
pub(crate) struct Server {
    /// A superuser's URL, without a database.
    base: String,
    container: Option<Container<GenericImage>>,
}

/// Says why the tests cannot run: ignored, or failed where `MEMQUILL_REQUIRE` names Postgres.
pub(crate) fn missing(test: &str, why: String) -> ExitCode {
    let required = std::env::var("MEMQUILL_REQUIRE").unwrap_or_default();
    let wanted = required.split(',').any(|name| name.trim() == "postgres");
    let message = why.clone();
    let trial = Trial::test(test, move || Err(Failed::from(message)));
    let trials = vec![trial.with_kind(why).with_ignored_flag(!wanted)];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

impl Server {
    /// A server that other tests may use too, or why there is none.
    pub(crate) fn any() -> Result<Self, String> {
        match std::env::var("MEMQUILL_TEST_POSTGRES_URL") {
            Ok(url) => {
                let at = url.find("://").and_then(|at| url[at + 3..].find('/').map(|n| at + 3 + n));
                Ok(Self {
                    base: at.map_or(url.clone(), |at| url[..at].to_owned()),
                    container: None,
                })
            }
            Err(_) => Self::own(&[]),
        }
    }

    /// A server of one's own, to break, started with these arguments.
    pub(crate) fn own(arguments: &[&str]) -> Result<Self, String> {
        let official = || {
            let arguments = ["-c", "fsync=off"].iter().chain(arguments).copied();
            image(OFFICIAL).with_env_var("POSTGRES_PASSWORD", "secret").with_cmd(arguments)
        };
        Self::start(official()).or_else(|_| Self::of_own_image(arguments))
    }

    /// As [`Server::own`], and with a `PgBouncer` beside it, which the official image has not.
    pub(crate) fn of_own_image(arguments: &[&str]) -> Result<Self, String> {
        let command = ["sh", "-ec", START, "sh"].iter().chain(arguments).copied();
        Self::start(image(OWN).with_user("postgres").with_cmd(command))
    }

    /// A server for one test, which `start` starts. None where the tests were given a server and
    /// there are no containers.
    #[allow(clippy::print_stderr, reason = "a test that does not run says so")]
    pub(crate) async fn for_one(
        start: impl FnOnce() -> Result<Self, String> + Send + 'static,
    ) -> Option<Arc<Self>> {
        match tokio::task::spawn_blocking(start).await.unwrap() {
            Ok(server) => Some(Arc::new(server)),
            Err(why) => {
                assert!(std::env::var("MEMQUILL_TEST_POSTGRES_URL").is_ok(), "{why}");
                eprintln!("not tested, since no server can be started: {why}");
                None
            }
        }
    }

    fn start(image: ContainerRequest<GenericImage>) -> Result<Self, String> {
        let tiny = Mount::tmpfs_mount("/tiny").with_size_bytes(TINY).with_mode(0o1777);
        let image = image.with_shm_size(256 << 20).with_mount(tiny);
        let container = image.start().map_err(|e| e.to_string())?;
        let port = container.get_host_port_ipv4(5432).map_err(|e| e.to_string())?;
        let base = format!("postgres://postgres:secret@127.0.0.1:{port}");
        await_connections(&format!("{base}/postgres"))?;
        Ok(Self { base, container: Some(container) })
    }

    /// A superuser's URL of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("{}/{database}", self.base)
    }

    /// The URL of a database for other credentials.
    pub(crate) fn url_as(&self, credentials: &str, database: &str) -> String {
        format!("postgres://{credentials}@{}/{database}", self.address())
    }

    /// The superuser's name and password.
    pub(crate) fn credentials(&self) -> &str {
        let rest = self.base.split_once("://").map_or("", |(_, rest)| rest);
        rest.rsplit_once('@').map_or("postgres", |(credentials, _)| credentials)
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        let rest = self.base.split_once("://").map_or("", |(_, rest)| rest);
        rest.rsplit_once('@').map_or(rest, |(_, address)| address)
    }

    /// The address at which the container is no part of this machine.
    pub(crate) fn bridge(&self) -> String {
        let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let id = self.container().unwrap().id();
        let output = Command::new("docker").args(["inspect", "-f", address, id]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Runs a script in the container, and gives what it printed.
    pub(crate) fn shell(&self, user: &str, script: &str, input: &str) -> String {
        let mut docker = Command::new("docker")
            .args(["exec", "-i", "-u", user, self.container().unwrap().id(), "sh", "-ec", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        docker.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = docker.wait_with_output().unwrap();
        assert!(output.status.success(), "{script}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts a copy of the server as a crash would leave it, and returns its host and port. None
    /// where the server has no container.
    pub(crate) fn copy_after_crash(&self) -> Option<String> {
        let container = self.container()?;
        self.shell("postgres", COPY, "");
        Some(format!("127.0.0.1:{}", container.get_host_port_ipv4(5433).unwrap()))
    }

    /// The container; none where the server is somebody else's.
    pub(crate) fn container(&self) -> Option<&Container<GenericImage>> {
        self.container.as_ref()
    }
}

impl Drop for Server {
    /// Removes the container on a thread of its own: on one of a test's runtime it would panic.
    fn drop(&mut self) {
        if let Some(container) = self.container.take() {
            let _ = std::thread::spawn(|| drop(container)).join();
        }
    }
}

fn image((name, tag): (&str, &str)) -> GenericImage {
    GenericImage::new(name, tag).with_exposed_port(5432.tcp()).with_exposed_port(5433.tcp())
}

/// Waits until the server takes connections. It may say so in a log of its own; and the official
/// image starts twice, and publishes its port for the second time alone.
fn await_connections(url: &str) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(async {
        let begun = Instant::now();
        loop {
            let Err(error) = PgConnection::connect(url).await else { return Ok(()) };
            if begun.elapsed() > Duration::from_mins(1) {
                return Err(format!("the server does not start: {error}"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
}
