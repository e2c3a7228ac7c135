//! The URL: which servers, whose credentials, and options.

use std::time::Duration;

use memquill_core::{Error, ExposeSecret as _, Result, SecretString, StoreUrl, UrlOptions};
use redis::{ClientTlsConfig, TlsCertificates};

const EXAMPLE: &str = "redis://user:password@host:6379/0, redis+cluster://host,host, or \
                       redis+unix:///run/redis.sock?db=0";

const OPTIONS: &[&str] = &[
    "prefix",
    "timeout",
    "connect_timeout",
    "replicas",
    "db",
    "username",
    "password",
    "password_env",
    "ca_file",
    "cert_file",
    "key_file",
    "ssl_cert_reqs",
    "protocol",
];

/// Options of other clients, and what to write instead.
const FOREIGN_OPTIONS: [(&str, &str); 18] = [
    ("timeout_ms", "write it with a unit: timeout=500ms"),
    ("connect_timeout_ms", "write it with a unit: connect_timeout=500ms"),
    ("socket_timeout", "write it with a unit: timeout=5s"),
    ("socket_connect_timeout", "write it with a unit: connect_timeout=5s"),
    ("database", "write db=NUMBER, or the number after the host, as in redis://localhost/0"),
    ("user", "write username=NAME, or the name before the host, as in redis://user:password@host"),
    ("ssl_ca_certs", "write ca_file=PATH"),
    ("ssl_certfile", "write cert_file=PATH"),
    ("ssl_keyfile", "write key_file=PATH"),
    ("ssl", "write the URL as rediss://…"),
    ("tls", "write the URL as rediss://…"),
    ("ssl_check_hostname", "leave it out: ssl_cert_reqs=none turns both checks off"),
    ("decode_responses", "leave it out: it has no meaning here"),
    ("encoding", "leave it out: all text is UTF-8"),
    ("max_connections", "leave it out: one connection serves all calls at once"),
    ("health_check_interval", "leave it out: a lost connection is noticed and replaced"),
    ("retry_on_timeout", "leave it out: the layers around a store say what is retried"),
    ("client_name", "leave it out: it has no meaning here"),
];

const DEFAULT_PORT: u16 = 6379;

/// A server's host and port, or the path of its Unix socket, which starts with a slash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    pub(crate) fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }
}

/// The settings of an encrypted connection.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    pub(crate) certificates: TlsCertificates,
    /// Whether the server's certificate is not checked.
    pub(crate) unverified: bool,
}

/// The settings that a URL holds.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The server, or the nodes that know the cluster's others.
    pub(crate) addresses: Vec<Address>,
    pub(crate) cluster: bool,
    pub(crate) tls: Option<Tls>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<SecretString>,
    pub(crate) database: i64,
    /// What every key starts with.
    pub(crate) prefix: String,
    /// How long a call may take.
    pub(crate) timeout: Duration,
    /// How long connecting may take.
    pub(crate) connect_timeout: Duration,
    /// How many replicas must have a write before it is acknowledged.
    pub(crate) replicas: usize,
}

impl Config {
    pub(crate) fn from_url(url: &StoreUrl) -> Result<Self> {
        let scheme = url.scheme();
        let server = url.server(EXAMPLE)?;
        refuse_foreign_options(url)?;
        let options = url.options("redis", OPTIONS)?;
        let cluster = scheme.ends_with("+cluster");
        let (addresses, path) = if scheme.contains("unix") || scheme.ends_with("socket") {
            (vec![socket(&server.hosts, &server.path)?], "")
        } else {
            let address = |host: &memquill_core::ServerHost| Address {
                host: host.name.clone(),
                port: host.port.unwrap_or(DEFAULT_PORT),
            };
            (server.hosts.iter().map(address).collect(), server.path.as_str())
        };
        let user = match (&server.user, options.text("username")) {
            (Some(_), Some(_)) => {
                return Err(Error::config("the URL gives two users")
                    .with_hint("keep the one before the host, or the option, but not both"));
            }
            (before_host, option) => before_host.clone().or(option.map(str::to_owned)),
        };
        options.choice("protocol", &[("resp3", ()), ("3", ())]).map_err(|error| {
            error.with_hint("leave it out: the driver speaks RESP3, which Redis 6 and later know")
        })?;
        let config = Self {
            addresses,
            cluster,
            tls: tls(scheme, &options)?,
            user,
            password: options.password(&server)?,
            database: database(path, &options)?,
            prefix: prefix(options.text("prefix").unwrap_or("memory"))?,
            timeout: options.duration("timeout")?.unwrap_or(Duration::from_secs(10)),
            connect_timeout: options.duration("connect_timeout")?.unwrap_or(Duration::from_secs(5)),
            replicas: options.number("replicas", 1..=16)?.unwrap_or(0),
        };
        config.check(scheme)?;
        Ok(config)
    }

    fn check(&self, scheme: &str) -> Result<()> {
        if self.addresses.is_empty() {
            return Err(Error::config("the URL names no server")
                .with_hint(format!("write it as {EXAMPLE}")));
        }
        if !self.cluster && self.addresses.len() > 1 {
            return Err(Error::config(format!("{scheme}:// names one server"))
                .with_hint("write redis+cluster://host,host,… for a cluster"));
        }
        if self.cluster && self.database != 0 {
            return Err(Error::config("a cluster has no database but 0")
                .with_hint("leave the database out, and keep data apart by ?prefix=NAME"));
        }
        if (self.cluster || self.tls.is_some()) && self.addresses.iter().any(Address::is_socket) {
            return Err(Error::config("a Unix socket leads to one server, without TLS")
                .with_hint("write the URL as redis+unix:///run/redis.sock"));
        }
        Ok(())
    }

    /// Returns the password, for the client alone.
    pub(crate) fn exposed_password(&self) -> Option<&str> {
        self.password.as_ref().map(SecretString::expose_secret)
    }
}

fn refuse_foreign_options(url: &StoreUrl) -> Result<()> {
    let query = url.expose().split_once('?').map_or("", |(_, query)| query);
    let mut names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    let foreign = names.find_map(|name| FOREIGN_OPTIONS.iter().find(|(known, _)| *known == name));
    match foreign {
        Some((name, hint)) => {
            Err(Error::config(format!("redis has no URL option {name:?}")).with_hint(*hint))
        }
        None => Ok(()),
    }
}

/// The socket of a URL such as `redis+unix:///run/redis.sock`.
fn socket(hosts: &[memquill_core::ServerHost], path: &str) -> Result<Address> {
    match hosts {
        [] if !path.is_empty() => Ok(Address { host: format!("/{path}"), port: 0 }),
        [host] if host.is_socket() && path.is_empty() => {
            Ok(Address { host: host.name.clone(), port: 0 })
        }
        _ => Err(Error::config("the URL names no socket by its whole path").with_hint(
            "write three slashes and the path, as in redis+unix:///run/redis.sock?db=0; \
             credentials stand before the third slash, as in redis+unix://:password@/run/redis.sock",
        )),
    }
}

fn tls(scheme: &str, options: &UrlOptions) -> Result<Option<Tls>> {
    let unverified = options
        .choice(
            "ssl_cert_reqs",
            &[
                ("required", false),
                ("optional", false),
                ("none", true),
                ("CERT_REQUIRED", false),
                ("CERT_OPTIONAL", false),
                ("CERT_NONE", true),
            ],
        )?
        .unwrap_or(false);
    if !scheme.starts_with("rediss") {
        let encrypted = ["ca_file", "cert_file", "key_file", "ssl_cert_reqs"];
        return match options.names().find(|name| encrypted.contains(name)) {
            Some(option) => Err(Error::config(format!(
                "{option} is an option of an encrypted connection, and {scheme}:// is none"
            ))
            .with_hint("write the URL as rediss://… or rediss+cluster://…, or leave it out")),
            None => Ok(None),
        };
    }
    let root_cert = options.file("ca_file", "PEM")?;
    if unverified && root_cert.is_some() {
        return Err(Error::config("ssl_cert_reqs=none does not use ca_file")
            .with_hint("leave ssl_cert_reqs out, so that the server's certificate is checked"));
    }
    let client_tls = match (options.file("cert_file", "PEM")?, options.file("key_file", "PEM")?) {
        (None, None) => None,
        (Some(client_cert), Some(client_key)) => Some(ClientTlsConfig { client_cert, client_key }),
        _ => {
            return Err(Error::config("cert_file and key_file go together")
                .with_hint("give both, or neither where the server asks for no certificate"));
        }
    };
    Ok(Some(Tls { certificates: TlsCertificates { client_tls, root_cert }, unverified }))
}

/// Reads the database: the path's, or the option `db`.
fn database(path: &str, options: &UrlOptions) -> Result<i64> {
    let option = options.number::<u16>("db", 0..=u16::MAX)?;
    let path = path.trim_end_matches('/');
    if path.is_empty() {
        return Ok(option.unwrap_or(0).into());
    }
    if option.is_some() {
        return Err(Error::config("the URL gives the database twice")
            .with_hint("keep the number after the host, or db=NUMBER, but not both"));
    }
    // It is not repeated: it may be a piece of a password (E3).
    path.parse::<u16>().map(i64::from).map_err(|_| {
        Error::config("the database must be a number from 0 to 65535")
            .with_hint("write the number after the host, as in redis://localhost/0")
    })
}

/// Checks a prefix. A brace would move the hash tag that keeps a scope's keys in one slot.
fn prefix(value: &str) -> Result<String> {
    if value.len() > 255 || value.contains(['{', '}']) {
        return Err(Error::config("the prefix must be 1 to 255 bytes without { and }")
            .with_hint("write a short name, as in prefix=agents"));
    }
    Ok(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Result<Config> {
        Config::from_url(&url.parse()?)
    }

    fn addresses(url: &str) -> Vec<(String, u16)> {
        let addresses = config(url).unwrap().addresses;
        addresses.into_iter().map(|address| (address.host, address.port)).collect()
    }

    fn hint(url: &str) -> String {
        let error = config(url).unwrap_err();
        assert_eq!(error.code(), "config", "{url}");
        error.hint().unwrap_or_else(|| panic!("{url}: {error:?}")).to_owned()
    }

    #[test]
    fn a_url_names_a_server_or_the_nodes_of_a_cluster() {
        assert_eq!(addresses("redis://localhost"), [("localhost".into(), 6379)]);
        assert_eq!(addresses("redis://[::1]:7000/2"), [("::1".into(), 7000)]);
        assert_eq!(addresses("redis://:p@[::1]"), [("::1".into(), 6379)]);
        let url = "redis+cluster://:p@a,b:7001,10.0.0.1:7002?prefix=x";
        assert_eq!(
            addresses(url),
            [("a".into(), 6379), ("b".into(), 7001), ("10.0.0.1".into(), 7002)]
        );
        assert!(config(url).unwrap().cluster);
        for wrong in [
            "redis:",
            "redis://",
            "redis:///0",
            "redis://a,b",
            "redis+cluster://a/1",
            "redis+cluster://a?db=1",
            "redis://a:b",
            "redis://a/x",
        ] {
            assert!(!hint(wrong).is_empty(), "{wrong}");
        }
    }

    #[test]
    fn a_url_names_a_unix_socket() {
        for url in [
            "redis+unix:///run/my%20redis.sock?db=3",
            "unix:///run/my%20redis.sock?db=3",
            "redis-socket:///run/my%20redis.sock?db=3",
        ] {
            assert_eq!(addresses(url)[0].0, "/run/my redis.sock", "{url}");
            assert_eq!(config(url).unwrap().database, 3, "{url}");
        }
        assert_eq!(addresses("redis://%2Frun%2Fredis.sock/3")[0].0, "/run/redis.sock");
        let with = config("unix://me:s%40@/tmp/r.sock").unwrap();
        assert_eq!(with.addresses[0].host, "/tmp/r.sock");
        assert_eq!((with.user.as_deref(), with.exposed_password()), (Some("me"), Some("s@")));
        for wrong in [
            "unix://run/redis.sock",
            "unix:///",
            "unix:run/redis.sock",
            "unix:///r.sock?ssl_cert_reqs=none",
            "rediss://%2Frun%2Fr.sock",
        ] {
            assert!(hint(wrong).contains("redis"), "{wrong}");
        }
    }

    #[test]
    fn credentials_are_unescaped_and_never_print() {
        let both = config("redis://me:s%40%2FCANARY@h/3").unwrap();
        assert_eq!(both.user.as_deref(), Some("me"));
        assert_eq!(both.exposed_password(), Some("s@/CANARY"));
        assert_eq!(both.database, 3);
        assert!(!format!("{both:?}").contains("CANARY"));
        let alone = config("redis://:p@ss:word@h").unwrap();
        assert_eq!((alone.user, alone.password.unwrap().expose_secret()), (None, "p@ss:word"));
        let options = config("redis://h?username=me&password=CANARY&db=2").unwrap();
        assert_eq!(options.user.as_deref(), Some("me"));
        assert_eq!((options.exposed_password(), options.database), (Some("CANARY"), 2));
        for twice in ["redis://a@h?username=b", "redis://:a@h?password=b", "redis://h/1?db=1"] {
            assert!(hint(twice).contains("not both"), "{twice}");
        }
        assert!(hint("redis://h?password_env=MEMQUILL_NO_SUCH").contains("variable"));
    }

    #[test]
    fn e3_no_part_of_a_password_is_printed_where_it_was_not_escaped() {
        for wrong in [
            "redis://u:CAN?ARY@h/0",
            "redis://u:CAN/ARY@h/0",
            "redis://u:CAN#ARY@h/0",
            "redis://u:6379?ARY@h",
            "redis://u:6379?prefix=a&ARY@h",
            "redis://u:6379/ARY@h",
            "redis://u:p@CAN/ARY@h",
            "redis+cluster://u:CAN?ARY@h,i",
            "redis://u:CANARY",
            "redis://:CANARY/",
        ] {
            let error = config(wrong).unwrap_err();
            assert_eq!(error.code(), "config");
            let printed = format!("{error} {error:?} {:?}", error.hint());
            assert!(!printed.contains("CAN") && !printed.contains("ARY"), "{printed}");
            assert!(printed.contains("%3F") && printed.contains("password_env="), "{printed}");
        }
        assert_eq!(config("redis://u:p@h?prefix=a%40b").unwrap().prefix, "a@b");
    }

    #[test]
    fn g10_no_option_is_ignored() {
        assert_eq!(hint("redis://h?prefx=a"), r#"did you mean "prefix"?"#);
        assert!(hint("redis://h?ca_file=/x").contains("rediss"));
        assert!(hint("redis://h?ssl_cert_reqs=none").contains("rediss"));
        for wrong in ["prefix={a", "prefix=", "timeout=0s", "timeout=soon", "prefix=a&prefix=b"] {
            assert!(config(&format!("redis://h?{wrong}")).is_err(), "{wrong}");
        }
        assert!(config("rediss://h?cert_file=/dev/null").is_err());
        assert!(config("rediss://h?ca_file=/dev/null&ssl_cert_reqs=none").is_err());
    }

    #[test]
    fn options_of_other_clients_are_taken_or_say_what_to_write() {
        assert!(
            config("redis://h?protocol=3").is_ok() && config("redis://h?protocol=resp3").is_ok()
        );
        assert!(hint("redis://h?protocol=resp2").contains("RESP3"));
        for (written, unverified) in
            [("required", false), ("CERT_REQUIRED", false), ("none", true), ("CERT_NONE", true)]
        {
            let tls = config(&format!("rediss://h?ssl_cert_reqs={written}")).unwrap().tls.unwrap();
            assert_eq!(tls.unverified, unverified);
        }
        assert!(config("rediss://h?ssl_cert_reqs=maybe").is_err());
        for (foreign, _) in FOREIGN_OPTIONS {
            assert!(!hint(&format!("redis://h?db=0&{foreign}=1")).contains("did you mean"));
        }
        assert!(hint("redis://h?timeout_ms=500").contains("timeout=500ms"));
    }
}
