//! The URL: which servers, whose credentials, and options.

use std::time::Duration;

use memquill_core::{Error, ExposeSecret as _, Result, SecretString, StoreUrl, did_you_mean};
use percent_encoding::percent_decode_str;
use redis::{ClientTlsConfig, TlsCertificates};
use url::form_urlencoded;

const OPTIONS: [&str; 7] =
    ["prefix", "timeout_ms", "connect_timeout_ms", "replicas", "ca_file", "cert_file", "key_file"];
const DEFAULT_PORT: u16 = 6379;

/// A server's host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// What a URL says.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The server, or the nodes that know the cluster's others.
    pub(crate) addresses: Vec<Address>,
    pub(crate) cluster: bool,
    pub(crate) tls: Option<TlsCertificates>,
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
        let text = url.expose();
        let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
        let scheme = scheme.to_ascii_lowercase();
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let place = place.strip_prefix("//").ok_or_else(no_host)?;
        let (authority, path) = place.split_once('/').unwrap_or((place, ""));
        if [path, query].iter().any(|text| text.contains('@')) {
            // Then the host is a piece of the password, or may be: nothing of it is told (E3).
            return Err(unescaped("an @ stands behind the host".into()));
        }
        let (credentials, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let mut config = Self {
            addresses: hosts.split(',').map(address).collect::<Result<_>>()?,
            cluster: scheme.ends_with("+cluster"),
            tls: scheme
                .starts_with("rediss")
                .then_some(TlsCertificates { client_tls: None, root_cert: None }),
            user: decoded("the user", user)?,
            password: decoded("the password", password)?.map(SecretString::from),
            database: database(path)?,
            prefix: "memory".into(),
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            replicas: 0,
        };
        config.set_all(query)?;
        config.check()?;
        Ok(config)
    }

    fn set_all(&mut self, query: &str) -> Result<()> {
        let (mut cert, mut key) = (None, None);
        let mut seen = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if seen.contains(&name) {
                return Err(Error::config(format!("the option {name} stands twice in the URL"))
                    .with_hint("keep the one that is meant"));
            }
            match &*name {
                "prefix" => self.prefix = prefix(&value)?,
                "timeout_ms" => self.timeout = millis(&name, &value)?,
                "connect_timeout_ms" => self.connect_timeout = millis(&name, &value)?,
                "replicas" => self.replicas = number(&name, &value, 16)?,
                "ca_file" => {
                    let tls = self.tls(&name)?;
                    tls.root_cert = Some(file(&name, &value)?);
                }
                "cert_file" => cert = Some(file(&name, &value)?),
                "key_file" => key = Some(file(&name, &value)?),
                _ => return Err(unknown(&name)),
            }
            seen.push(name);
        }
        match (cert, key) {
            (None, None) => Ok(()),
            (Some(client_cert), Some(client_key)) => {
                let client = ClientTlsConfig { client_cert, client_key };
                self.tls("cert_file")?.client_tls = Some(client);
                Ok(())
            }
            _ => Err(Error::config("cert_file and key_file go together")
                .with_hint("give both, or neither where the server asks for no certificate")),
        }
    }

    fn tls(&mut self, option: &str) -> Result<&mut TlsCertificates> {
        self.tls.as_mut().ok_or_else(|| {
            Error::config(format!("{option} is an option of an encrypted connection"))
                .with_hint("write the URL as rediss://… or rediss+cluster://…")
        })
    }

    fn check(&self) -> Result<()> {
        if !self.cluster && self.addresses.len() > 1 {
            return Err(Error::config("redis:// names one server")
                .with_hint("write redis+cluster://host,host,… for a cluster"));
        }
        if self.cluster && self.database != 0 {
            return Err(Error::config("a cluster has no databases but 0")
                .with_hint("leave the database out, and keep apart by ?prefix=…"));
        }
        Ok(())
    }

    /// The password, for the client alone.
    pub(crate) fn exposed_password(&self) -> Option<&str> {
        self.password.as_ref().map(SecretString::expose_secret)
    }
}

fn no_host() -> Error {
    Error::config("the URL names no server")
        .with_hint("write it as redis://host:port/database or redis+cluster://host,host")
}

fn unescaped(message: String) -> Error {
    Error::config(message)
        .with_hint("escape / ? # @ and : in a user, password or option as %2F %3F %23 %40 %3A")
}

fn address(text: &str) -> Result<Address> {
    // The host's own syntax, IPv6 in brackets among it, is the URL library's to know. The text is
    // not repeated: it may hold a password at a wrong place.
    let url = url::Url::parse(&format!("redis://{text}"));
    let url = url.map_err(|error| unescaped(format!("the URL names no host and port: {error}")))?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(no_host)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(Address { host: host.into(), port: url.port().unwrap_or(DEFAULT_PORT) })
}

fn decoded(what: &str, text: &str) -> Result<Option<String>> {
    if text.is_empty() {
        return Ok(None);
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(|text| Some(text.into_owned()))
        .map_err(|_| Error::config(format!("{what} in the URL is not UTF-8 behind its escapes")))
}

fn database(path: &str) -> Result<i64> {
    if path.is_empty() {
        return Ok(0);
    }
    path.parse::<u16>().map(i64::from).map_err(|_| {
        Error::config("the database is a number behind the host, as in redis://localhost/0")
    })
}

/// A brace would move the hash tag that keeps a scope's keys in one slot.
fn prefix(value: &str) -> Result<String> {
    let legal = |c: char| !matches!(c, '{' | '}') && !c.is_control();
    if value.is_empty() || value.len() > 255 || !value.chars().all(legal) {
        return Err(Error::config(
            "the prefix is 1 to 255 bytes without { and } and control characters",
        ));
    }
    Ok(value.into())
}

fn millis(name: &str, value: &str) -> Result<Duration> {
    let millis = number(name, value, 600_000)?;
    Ok(Duration::from_millis(millis as u64))
}

fn number(name: &str, value: &str, most: usize) -> Result<usize> {
    value.parse().ok().filter(|number| (1..=most).contains(number)).ok_or_else(|| {
        Error::config(format!("{name} is a whole number from 1 to {most}, not {value:?}"))
    })
}

fn file(name: &str, path: &str) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        Error::config(format!("{name}: cannot read {path:?}"))
            .with_hint("name a readable PEM file")
            .with_source(error)
    })
}

fn unknown(name: &str) -> Error {
    let hint = did_you_mean(name, OPTIONS)
        .unwrap_or_else(|| format!("the options are {}", OPTIONS.join(", ")));
    Error::config(format!("redis knows no option {name:?}")).with_hint(hint)
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

    #[test]
    fn a_url_names_a_server_or_the_nodes_of_a_cluster() {
        assert_eq!(addresses("redis://localhost"), [("localhost".into(), 6379)]);
        assert_eq!(addresses("redis://[::1]:7000/2"), [("::1".into(), 7000)]);
        let url = "redis+cluster://:p@a,b:7001,10.0.0.1:7002?prefix=x";
        assert_eq!(
            addresses(url),
            [("a".into(), 6379), ("b".into(), 7001), ("10.0.0.1".into(), 7002)]
        );
        assert!(config(url).unwrap().cluster);
        for wrong in [
            "redis:",
            "redis://",
            "redis://a,b",
            "redis+cluster://a/1",
            "redis://a:b",
            "redis://a/x",
        ] {
            assert!(config(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn credentials_are_unescaped_and_never_print() {
        let config = config("redis://me:s%40%2FCANARY@h/3").unwrap();
        assert_eq!(config.user.as_deref(), Some("me"));
        assert_eq!(config.exposed_password(), Some("s@/CANARY"));
        assert_eq!(config.database, 3);
        assert!(!format!("{config:?}").contains("CANARY"));
    }

    #[test]
    fn e3_no_part_of_a_password_is_told_where_it_was_not_escaped() {
        for wrong in [
            "redis://u:CAN?ARY@h/0",
            "redis://u:CAN/ARY@h/0",
            "redis://u:6379?ARY@h",
            "redis://u:6379?prefix=a&ARY@h",
            "redis://u:6379/ARY@h",
            "redis://u:p@CAN/ARY@h",
            "redis+cluster://u:CAN?ARY@h,i",
            "redis://u:CANARY",
        ] {
            let error = config(wrong).unwrap_err();
            assert_eq!(error.code(), "config");
            let told = format!("{error} {error:?} {:?}", error.hint());
            assert!(!told.contains("CAN") && !told.contains("ARY"), "{told}");
            assert!(told.contains("%3F"), "{told}");
        }
        assert_eq!(config("redis://u:p@h?prefix=a%40b").unwrap().prefix, "a@b");
    }

    #[test]
    fn g10_no_option_is_ignored() {
        let hint = |url| config(url).unwrap_err().hint().map(str::to_owned);
        assert_eq!(hint("redis://h?prefx=a").unwrap(), r#"did you mean "prefix"?"#);
        assert!(hint("redis://h?ca_file=/x").unwrap().contains("rediss"));
        for wrong in
            ["prefix={a", "prefix=", "timeout_ms=0", "timeout_ms=soon", "prefix=a&prefix=b"]
        {
            assert!(config(&format!("redis://h?{wrong}")).is_err(), "{wrong}");
        }
        assert!(config("rediss://h?cert_file=/dev/null").is_err());
    }
}
