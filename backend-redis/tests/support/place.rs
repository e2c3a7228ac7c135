//! Where a store comes from: an environment URL, a container, or this machine's own binary.

use testcontainers::core::{IntoContainerPort as _, WaitFor};
use testcontainers::runners::SyncRunner as _;
use testcontainers::{Container, GenericImage, ImageExt as _};
use testkit::redis::Server;
use testkit::{OWN_IMAGE, has};

/// A store that is there as long as this value.
#[derive(Debug)]
pub(crate) enum Place {
    Url(String),
    Container { _running: Box<Container<GenericImage>>, port: u16 },
    Local(Server),
}

impl Place {
    /// A Redis, or why there is none.
    pub(crate) fn redis() -> Result<Self, String> {
        if let Ok(url) = std::env::var("MEMQUILL_TEST_REDIS_URL") {
            return Ok(Self::Url(url));
        }
        Self::container(("redis", "8.2"), "redis-server")
            .or_else(|_| Self::container(OWN_IMAGE, "redis-server"))
            .or_else(|why| {
                Self::local("redis-server", &[])
                    .map_err(|no| format!("{no}, and no container: {why}"))
            })
    }

    /// A Valkey, or why there is none.
    pub(crate) fn valkey() -> Result<Self, String> {
        Self::container(("valkey/valkey", "8.1"), "valkey-server")
            .or_else(|_| Self::container(OWN_IMAGE, "valkey-server"))
            .or_else(|why| {
                Self::local("valkey-server", &[])
                    .map_err(|no| format!("{no}, and no container: {why}"))
            })
    }

    /// A server that writes its log before it answers, or why there is none. The disk is not waited
    /// for, which a crash of the server alone does not need.
    pub(crate) fn durable() -> Result<Self, String> {
        Self::local("redis-server", &["--appendonly", "yes", "--appendfsync", "no"])
    }

    fn container((image, tag): (&str, &str), binary: &str) -> Result<Self, String> {
        let image = GenericImage::new(image, tag)
            .with_exposed_port(6379.tcp())
            .with_wait_for(WaitFor::message_on_stdout("Ready to accept connections"))
            .with_cmd([binary, "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""]);
        let running = image.start().map_err(|error| error.to_string())?;
        let port = running.get_host_port_ipv4(6379).map_err(|error| error.to_string())?;
        Ok(Self::Container { _running: Box::new(running), port })
    }

    fn local(binary: &'static str, arguments: &[&str]) -> Result<Self, String> {
        if has(binary) {
            return Ok(Self::Local(Server::start(binary, arguments)));
        }
        Err(format!("no {binary} on this machine"))
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Url(url) => url.clone(),
            Self::Container { port, .. } => format!("redis://127.0.0.1:{port}"),
            Self::Local(server) => server.url(),
        }
    }
}
