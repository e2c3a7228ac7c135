//! Where a server comes from: an environment URL, a container of the official image, or the fixture.

use testcontainers::core::{IntoContainerPort as _, WaitFor};
use testcontainers::runners::SyncRunner as _;
use testcontainers::{Container, GenericImage, ImageExt as _};

use super::fixture::{Fixture, obliging};

/// The key that containers and the fixture ask for.
const KEY: &str = "key-of-the-tests";

/// A server that is there as long as this value.
pub(crate) enum Place {
    Url(String),
    Container { _running: Box<Container<GenericImage>>, port: u16 },
    Fixture { fixture: Box<Fixture>, _folder: tempfile::TempDir },
}

impl Place {
    pub(crate) fn find() -> Self {
        if let Ok(url) = std::env::var("MEMQUILL_TEST_QDRANT_URL") {
            return Self::Url(url);
        }
        Self::container().unwrap_or_else(Self::fixture)
    }

    fn container() -> Option<Self> {
        let image = GenericImage::new("qdrant/qdrant", "v1.18.3")
            .with_exposed_port(6334.tcp())
            .with_wait_for(WaitFor::message_on_stdout("gRPC listening"))
            .with_env_var("QDRANT__SERVICE__API_KEY", KEY);
        let running = image.start().ok()?;
        let port = running.get_host_port_ipv4(6334).ok()?;
        Some(Self::Container { _running: Box::new(running), port })
    }

    pub(crate) fn fixture() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fixture = Box::new(Fixture::start(folder.path(), Some(KEY), None, obliging()));
        Self::Fixture { fixture, _folder: folder }
    }

    /// Host and port.
    pub(crate) fn server(&self) -> String {
        match self {
            Self::Url(url) => {
                let rest = url.split_once("://").unwrap().1;
                rest.split(['?', '/']).next().unwrap().to_owned()
            }
            Self::Container { port, .. } => format!("127.0.0.1:{port}"),
            Self::Fixture { fixture, .. } => fixture.address.to_string(),
        }
    }

    /// The key, if the server asks for one.
    pub(crate) fn key(&self) -> Option<String> {
        match self {
            Self::Url(url) => {
                let key = url.split_once("api_key=")?.1;
                Some(key.split('&').next().unwrap().to_owned())
            }
            _ => Some(KEY.to_owned()),
        }
    }

    /// Which of the three it is, for the report.
    pub(crate) fn what(&self) -> &'static str {
        match self {
            Self::Url(_) => "the server of MEMQUILL_TEST_QDRANT_URL",
            Self::Container { .. } => "a container of the official image",
            Self::Fixture { .. } => "a fixture on loopback, answered by Edge",
        }
    }

    /// What tests are named after.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Fixture { .. } => "qdrant (fixture)",
            _ => "qdrant",
        }
    }
}
