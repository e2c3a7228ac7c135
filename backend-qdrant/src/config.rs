//! The URL: a server's address or a folder, and options.

use std::path::PathBuf;
use std::time::Duration;

use memquill_core::{Error, Result, SecretString, StoreUrl, did_you_mean};
use url::{Url, form_urlencoded};

pub(crate) const EDGE_SCHEME: &str = "qdrant-edge";
const DEFAULT_PORT: u16 = 6334;
const OPTIONS: [&str; 9] = [
    "prefix",
    "api_key",
    "ca_file",
    "timeout_ms",
    "connect_timeout_ms",
    "connections",
    "shards",
    "replicas",
    "write_consistency",
];

/// What a URL says.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// What every collection's name starts with.
    pub(crate) prefix: String,
    pub(crate) place: Place,
    pub(crate) cluster: Cluster,
}

/// Where the store is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Server(Server),
    Folder(PathBuf),
}

/// How to reach a server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// Host and port.
    pub(crate) authority: String,
    pub(crate) tls: bool,
    /// In PEM.
    pub(crate) ca: Option<Vec<u8>>,
    pub(crate) api_key: Option<SecretString>,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) connections: usize,
}

/// How a new collection is spread over a cluster.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cluster {
    pub(crate) shards: Option<u32>,
    pub(crate) replicas: Option<u32>,
    pub(crate) write_consistency: Option<u32>,
}

impl Config {
    pub(crate) fn read(url: &StoreUrl) -> Result<Self> {
        let (body, query) = match url.expose().split_once('?') {
            Some((body, query)) => (body, query),
            None => (url.expose(), ""),
        };
        let place = match url.scheme() {
            EDGE_SCHEME => Place::Folder(folder(body)?),
            scheme => Place::Server(server(body, scheme == "qdrants")?),
        };
        let prefix = "memory".to_owned();
        let mut config = Self { prefix, place, cluster: Cluster::default() };
        let mut seen = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if seen.contains(&name) {
                return Err(Error::config(format!("the option {name} stands twice in the URL"))
                    .with_hint("keep the one that is meant"));
            }
            config.set(&name, &value)?;
            seen.push(name);
        }
        config.check()
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        if name == "prefix" {
            self.prefix = prefix(value)?;
            return Ok(());
        }
        if !OPTIONS.contains(&name) {
            let hint = did_you_mean(name, OPTIONS)
                .unwrap_or_else(|| format!("the options are {}", OPTIONS.join(", ")));
            return Err(
                Error::config(format!("the Qdrant store has no option {name:?}")).with_hint(hint)
            );
        }
        let Place::Server(server) = &mut self.place else {
            return Err(Error::config(format!("{name} is an option of a server's URL"))
                .with_hint("leave it out; a folder knows no option but prefix"));
        };
        match name {
            "api_key" if value.is_empty() => {
                return Err(Error::config("api_key is empty").with_hint("leave it out, or give it"));
            }
            "api_key" => server.api_key = Some(SecretString::from(value.to_owned())),
            "ca_file" => server.ca = Some(pem(value)?),
            "timeout_ms" => server.timeout = millis(name, value)?,
            "connect_timeout_ms" => server.connect_timeout = millis(name, value)?,
            "connections" => server.connections = number(name, value, 64)? as usize,
            "shards" => self.cluster.shards = Some(number(name, value, 1_024)?),
            "replicas" => self.cluster.replicas = Some(number(name, value, 64)?),
            _ => self.cluster.write_consistency = Some(number(name, value, 64)?),
        }
        Ok(())
    }

    fn check(mut self) -> Result<Self> {
        if let Place::Server(server) = &self.place
            && server.ca.is_some()
            && !server.tls
        {
            return Err(Error::config("ca_file is an option of an encrypted connection")
                .with_hint("write the URL as qdrants://…"));
        }
        let replicas = self.cluster.replicas.unwrap_or(1);
        // All of them, so that whoever reads from whichever node sees what was acknowledged (G6).
        if *self.cluster.write_consistency.get_or_insert(replicas) > replicas {
            return Err(Error::config("write_consistency is more than there are replicas")
                .with_hint("give at most as many as replicas"));
        }
        Ok(self)
    }
}

fn server(body: &str, tls: bool) -> Result<Server> {
    let no_server =
        || Error::config("the URL names no server").with_hint("write it as qdrant://host:6334");
    // The text is not repeated: it may hold a key at a wrong place.
    let url = Url::parse(body).map_err(|_| no_server())?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(no_server)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::config("the URL holds a user or password, which Qdrant does not know")
            .with_hint("give the key as ?api_key=…"));
    }
    if !matches!(url.path(), "" | "/") {
        return Err(Error::config("the URL has a path behind the host")
            .with_hint("keep stores apart on one server by ?prefix=…"));
    }
    Ok(Server {
        authority: format!("{host}:{}", url.port().unwrap_or(DEFAULT_PORT)),
        tls,
        ca: None,
        api_key: None,
        timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(5),
        connections: 2,
    })
}

fn folder(body: &str) -> Result<PathBuf> {
    let path = body.split_once(':').map_or("", |(_, path)| path);
    if path.is_empty() {
        return Err(Error::config("the URL names no folder")
            .with_hint("write it as qdrant-edge:path/to/folder"));
    }
    Ok(PathBuf::from(path))
}

/// It stands in the names of collections, which are names of folders too.
fn prefix(value: &str) -> Result<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if (1..=100).contains(&value.len()) && value.chars().all(legal) {
        return Ok(value.to_owned());
    }
    Err(Error::config(format!("the prefix {value:?} is not a plain name"))
        .with_hint("use up to 100 ASCII letters, digits, _ and -"))
}

fn pem(path: &str) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        Error::config(format!("ca_file: cannot read {path:?}"))
            .with_hint("name a readable PEM file")
            .with_source(error)
    })
}

fn millis(name: &str, value: &str) -> Result<Duration> {
    Ok(Duration::from_millis(number(name, value, 600_000)?.into()))
}

fn number(name: &str, value: &str, most: u32) -> Result<u32> {
    value.parse().ok().filter(|number| (1..=most).contains(number)).ok_or_else(|| {
        Error::config(format!("{name} is a whole number from 1 to {most}, not {value:?}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Config> {
        Config::read(&url.parse()?)
    }

    fn server_of(url: &str) -> Server {
        match read(url).unwrap().place {
            Place::Server(server) => server,
            Place::Folder(path) => panic!("{path:?}"),
        }
    }

    #[test]
    fn a_url_names_a_server_or_a_folder() {
        assert_eq!(server_of("qdrant://db").authority, "db:6334");
        assert_eq!(server_of("qdrants://[::1]:7000").authority, "[::1]:7000");
        assert!(server_of("qdrants://db").tls && !server_of("qdrant://db").tls);
        let folder = read("qdrant-edge:some/path?prefix=a").unwrap();
        assert!(matches!(folder.place, Place::Folder(path) if path.as_os_str() == "some/path"));
        assert_eq!(folder.prefix, "a");
        for wrong in ["qdrant:", "qdrant://", "qdrant://db/x", "qdrant://u@db", "qdrant-edge:"] {
            assert_eq!(read(wrong).unwrap_err().code(), "config", "{wrong}");
        }
    }

    #[test]
    fn options_are_read() {
        let url = "qdrant://db?timeout_ms=5&connections=3&shards=4&replicas=3&write_consistency=2";
        let config = read(url).unwrap();
        let cluster = config.cluster;
        assert_eq!((cluster.shards, cluster.replicas), (Some(4), Some(3)));
        assert_eq!(cluster.write_consistency, Some(2));
        assert_eq!(server_of(url).timeout, Duration::from_millis(5));
        assert_eq!(read("qdrant://db?replicas=3").unwrap().cluster.write_consistency, Some(3));
    }

    #[test]
    fn g10_no_option_is_ignored() {
        let hint = |url| read(url).unwrap_err().hint().map(str::to_owned).unwrap_or_default();
        assert_eq!(hint("qdrant://h?prefx=a"), r#"did you mean "prefix"?"#);
        assert!(hint("qdrant://h?ca_file=/dev/null").contains("qdrants"));
        assert!(hint("qdrant-edge:x?replicas=2").contains("folder"));
        for wrong in [
            "prefix=",
            "prefix=a/b",
            "prefix=a.b",
            "timeout_ms=0",
            "timeout_ms=soon",
            "prefix=a&prefix=b",
            "api_key=",
            "write_consistency=2",
        ] {
            assert!(read(&format!("qdrant://h?{wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn e3_the_key_never_prints() {
        let config = read("qdrant://db?api_key=CANARY").unwrap();
        assert!(!format!("{config:?}").contains("CANARY"));
        for wrong in ["qdrant://CANARY@db", "qdrant://:CANARY@db", "qdrant://CAN ARY@d b"] {
            let error = read(wrong).unwrap_err();
            assert!(!format!("{error:?} {error}").contains("CAN"), "{error:?}");
        }
    }
}
