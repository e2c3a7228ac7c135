//! The URL: a server's address or a folder, and options.

use std::path::PathBuf;
use std::time::Duration;

use memquill_core::{Error, Result, SecretString, StoreUrl};

/// The scheme of a folder of this process.
pub(crate) const EDGE_SCHEME: &str = "qdrant-edge";

/// Qdrant's usual ports.
const GRPC_PORT: u16 = 6334;
const REST_PORT: u16 = 6333;

/// How a URL is written.
const EXAMPLE: &str = "qdrant://host:6334, or qdrants://host:6334?api_key=KEY for TLS";

const FOLDER_OPTIONS: &[&str] = &["prefix", "lease"];
const SERVER_OPTIONS: &[&str] = &[
    "prefix",
    "lease",
    "api_key",
    "api_key_env",
    "ca_file",
    "timeout",
    "connect_timeout",
    "connections",
    "shards",
    "replicas",
    "write_consistency",
];

/// The settings of a URL.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The beginning of every collection's name.
    pub(crate) prefix: String,
    pub(crate) location: Location,
    pub(crate) cluster: Cluster,
    /// How long a lease lasts that nobody renews.
    pub(crate) lease: Duration,
}

/// Where the store is.
#[derive(Debug, Clone)]
pub(crate) enum Location {
    Server(Server),
    Folder(PathBuf),
}

/// How to reach a server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// A name or an address; an IPv6 address is in brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
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
    /// Reads a URL.
    pub(crate) fn from_url(url: &StoreUrl) -> Result<Self> {
        let folder = url.scheme() == EDGE_SCHEME;
        let known = if folder { FOLDER_OPTIONS } else { SERVER_OPTIONS };
        let options = url.options("qdrant", known).map_err(|error| {
            // An option of servers is known, but not here.
            let of_server = folder && url.options("qdrant", SERVER_OPTIONS).is_ok();
            let hint = "leave it out; a folder has no option but prefix and lease";
            if of_server { error.with_hint(hint) } else { error }
        })?;
        let location = if folder {
            Location::Folder(folder_of(url.body())?)
        } else {
            let mut server = server(url)?;
            server.api_key = options.secret("api_key")?;
            server.ca = options.file("ca_file", "PEM")?;
            if server.ca.is_some() && !server.tls {
                return Err(Error::config("ca_file is an option of an encrypted connection")
                    .with_hint("write the URL as qdrants://…"));
            }
            server.timeout = options.duration("timeout")?.unwrap_or(server.timeout);
            server.connect_timeout =
                options.duration("connect_timeout")?.unwrap_or(server.connect_timeout);
            server.connections = options.number("connections", 1..=64)?.unwrap_or(2);
            Location::Server(server)
        };
        let replicas = options.number("replicas", 1..=64)?;
        let write_consistency = options.number("write_consistency", 1..=64)?;
        if write_consistency > Some(replicas.unwrap_or(1)) {
            return Err(Error::config("write_consistency is more than there are replicas")
                .with_hint("give at most as many as replicas"));
        }
        let cluster = Cluster {
            shards: options.number("shards", 1..=1_024)?,
            replicas,
            // All of them, so that whoever reads from any node sees what was acknowledged (G6).
            write_consistency: write_consistency.or(replicas).or(Some(1)),
        };
        Ok(Self {
            prefix: prefix(options.text("prefix").unwrap_or("memory"))?,
            location,
            cluster,
            lease: options.duration("lease")?.unwrap_or(Duration::from_secs(20)),
        })
    }
}

impl Server {
    /// Names the usual mistakes of a URL where a server does not answer as Qdrant does.
    pub(crate) fn explain(&self, error: Error) -> Error {
        if !error.is_transient() || self.port != REST_PORT {
            return error;
        }
        let scheme = if self.tls { "qdrants" } else { "qdrant" };
        error.with_hint(format!(
            "{REST_PORT} is Qdrant's port for REST, and this driver speaks gRPC: write \
             {scheme}://{}:{GRPC_PORT}",
            self.host
        ))
    }
}

fn server(url: &StoreUrl) -> Result<Server> {
    let tls = url.scheme() == "qdrants";
    let read = url.server(EXAMPLE)?;
    let [host] = read.hosts.as_slice() else {
        return Err(Error::config(format!("the URL names {} servers, not one", read.hosts.len()))
            .with_hint(format!("write it as {EXAMPLE}")));
    };
    if read.user.is_some() || read.password.is_some() {
        return Err(Error::config("the URL holds a user or password, which Qdrant does not know")
            .with_hint("give the key as ?api_key=KEY, or as ?api_key_env=NAME of a variable"));
    }
    if !read.path.is_empty() {
        return Err(Error::config("the URL has a path after the host")
            .with_hint("remove it; keep stores apart on one server by ?prefix=NAME"));
    }
    let port = host.port.unwrap_or(GRPC_PORT);
    let name = if host.name.contains(':') { format!("[{}]", host.name) } else { host.name.clone() };
    if !tls && name.ends_with(".cloud.qdrant.io") {
        return Err(Error::config("Qdrant Cloud takes encrypted connections only")
            .with_hint(format!("write qdrants://{name}:{GRPC_PORT}?api_key=KEY")));
    }
    Ok(Server {
        host: name,
        port,
        tls,
        ca: None,
        api_key: None,
        timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(5),
        connections: 2,
    })
}

/// Reads `path`, `//path`, `///path` and `~/path`.
fn folder_of(body: &str) -> Result<PathBuf> {
    let path = body.strip_prefix("//").unwrap_or(body);
    let no_folder = || {
        Error::config("the URL names no folder").with_hint("write it as qdrant-edge:path/to/folder")
    };
    if path.is_empty() {
        return Err(no_folder());
    }
    match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let home = std::env::home_dir().ok_or_else(|| {
                Error::config("the URL names the home folder, and this user has none")
                    .with_hint("write the whole path")
            })?;
            Ok(home.join(rest.trim_start_matches('/')))
        }
        _ => Ok(PathBuf::from(path)),
    }
}

/// Checks what becomes a part of the names of collections, which are names of folders too.
fn prefix(value: &str) -> Result<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if (1..=100).contains(&value.len()) && value.chars().all(legal) {
        return Ok(value.to_owned());
    }
    Err(Error::config(format!("the prefix {value:?} is not a plain name"))
        .with_hint("use up to 100 ASCII letters, digits, _ and -"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Config> {
        Config::from_url(&url.parse()?)
    }

    fn server_of(url: &str) -> Server {
        match read(url).unwrap().location {
            Location::Server(server) => server,
            Location::Folder(path) => panic!("{path:?}"),
        }
    }

    fn folder_of(url: &str) -> PathBuf {
        match read(url).unwrap().location {
            Location::Folder(path) => path,
            Location::Server(server) => panic!("{server:?}"),
        }
    }

    fn hint(url: &str) -> String {
        let error = read(url).unwrap_err();
        assert_eq!(error.code(), "config", "{url}: {error:?}");
        error.hint().map(str::to_owned).unwrap_or_default()
    }

    #[test]
    fn g10_a_url_names_a_server_or_a_folder() {
        let authority = |url| {
            let Server { host, port, .. } = server_of(url);
            format!("{host}:{port}")
        };
        assert_eq!(authority("qdrant://db"), "db:6334");
        assert_eq!(authority("qdrant://localhost:6334/"), "localhost:6334");
        assert_eq!(authority("qdrants://[::1]:7000"), "[::1]:7000");
        assert_eq!(authority("qdrant://[::1]"), "[::1]:6334");
        assert!(server_of("qdrants://db").tls && !server_of("qdrant://db").tls);
        assert_eq!(folder_of("qdrant-edge:some/path?prefix=a"), PathBuf::from("some/path"));
        assert_eq!(folder_of("qdrant-edge:///abs/path"), PathBuf::from("/abs/path"));
        assert_eq!(folder_of("qdrant-edge://some/path"), PathBuf::from("some/path"));
        assert_eq!(folder_of("qdrant-edge:~/x"), std::env::home_dir().unwrap().join("x"));
        assert_eq!(folder_of("qdrant-edge:~x"), PathBuf::from("~x"));
        for wrong in ["qdrant:", "qdrant://", "qdrant://db/x", "qdrant://u@db", "qdrant-edge:"] {
            assert!(!hint(wrong).is_empty(), "{wrong}");
        }
    }

    #[test]
    fn g10_hints_say_what_to_type() {
        let cloud = hint("qdrant://xyz.eu-west.cloud.qdrant.io:6333?api_key=k");
        assert_eq!(cloud, "write qdrants://xyz.eu-west.cloud.qdrant.io:6334?api_key=KEY");
        assert!(hint("qdrant://a:6334,b:6334").contains("qdrant://host:6334"));
        let lost = || Error::unavailable("the connection to Qdrant is lost");
        let explained = server_of("qdrant://localhost:6333").explain(lost());
        assert!(explained.hint().unwrap().ends_with("write qdrant://localhost:6334"));
        let explained = server_of("qdrants://[::1]:6333").explain(lost());
        assert!(explained.hint().unwrap().ends_with("write qdrants://[::1]:6334"));
        assert_eq!(server_of("qdrant://localhost").explain(lost()).hint(), lost().hint());
    }

    #[test]
    fn g10_options_are_read() {
        let url = "qdrant://db?timeout=5ms&connections=3&shards=4&replicas=3&write_consistency=2";
        let config = read(url).unwrap();
        let cluster = config.cluster;
        assert_eq!((cluster.shards, cluster.replicas), (Some(4), Some(3)));
        assert_eq!(cluster.write_consistency, Some(2));
        assert_eq!(server_of(url).timeout, Duration::from_millis(5));
        assert_eq!(read("qdrant://db?replicas=3").unwrap().cluster.write_consistency, Some(3));
        assert_eq!(read("qdrant-edge:x?lease=2s").unwrap().lease, Duration::from_secs(2));
        assert_eq!(read("qdrant-edge:x?prefix=a").unwrap().prefix, "a");
    }

    #[test]
    fn g10_no_option_is_ignored() {
        assert_eq!(hint("qdrant://h?prefx=a"), r#"did you mean "prefix"?"#);
        assert!(hint("qdrant://h?ca_file=/dev/null").contains("qdrants"));
        assert!(hint("qdrant-edge:x?replicas=2").contains("folder"));
        for wrong in [
            "prefix=",
            "prefix=a/b",
            "prefix=a.b",
            "timeout=0s",
            "timeout=soon",
            "timeout=10",
            "prefix=a&prefix=b",
            "api_key=",
            "api_key=a&api_key_env=B",
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
