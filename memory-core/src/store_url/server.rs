//! The body of a server's URL: `//user:password@host:port,host:port/path`.

use std::net::Ipv6Addr;

use secrecy::SecretString;

use super::{ESCAPE_HINT, StoreUrl, decode};
use crate::error::{Error, Result};

/// Where a server is, and as whom to log in; every part percent-decoded.
#[derive(Debug, Clone)]
pub struct ServerUrl {
    /// The user before the host.
    pub user: Option<String>,
    /// The password before the host. [`UrlOptions::password`](super::UrlOptions::password) reads
    /// the option too.
    pub password: Option<SecretString>,
    /// The hosts, at least one unless the URL leaves them out, as `postgres:///database` does.
    pub hosts: Vec<ServerHost>,
    /// The path without its first slash: a database's name or number. Empty where there is none.
    pub path: String,
}

/// A host and its port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerHost {
    /// A name, an IPv4 address, an IPv6 address without brackets, or a socket's path.
    pub name: String,
    /// The port, from 1, where the URL gives one.
    pub port: Option<u16>,
}

impl ServerHost {
    /// Whether it is the path of a Unix socket's file or folder, as in `%2Frun%2Fpostgresql`.
    pub fn is_socket(&self) -> bool {
        self.name.starts_with('/')
    }

    /// Whether it is this machine, so that nothing crosses a network: a socket, `localhost` or a
    /// loopback address.
    pub fn is_local(&self) -> bool {
        self.is_socket()
            || self.name.eq_ignore_ascii_case("localhost")
            || self.name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl StoreUrl {
    /// Reads the URL of a server. `example` is how to write one, for the hint.
    ///
    /// A password with an unescaped `/`, `?` or `#` is refused as `Config`; the error says how to
    /// write it and repeats no part of the URL (E3).
    ///
    /// ```
    /// use memquill_core::StoreUrl;
    /// let url: StoreUrl = "postgres://app:s%40fe@[::1]:5432/memory".parse()?;
    /// let server = url.server("postgres://user:password@host:5432/database")?;
    /// assert_eq!((server.hosts[0].name.as_str(), server.hosts[0].port), ("::1", Some(5432)));
    /// assert_eq!((server.user.as_deref(), server.path.as_str()), (Some("app"), "memory"));
    /// # Ok::<(), memquill_core::Error>(())
    /// ```
    pub fn server(&self, example: &str) -> Result<ServerUrl> {
        let (body, query) = self.parts();
        let written = || format!("write the URL as {example}");
        let Some(place) = body.strip_prefix("//") else {
            return Err(Error::config("the URL has no // after its scheme").with_hint(written()));
        };
        let (authority, path) = place.split_once('/').unwrap_or((place, ""));
        if place.contains('#') || path.contains('@') || query.contains(['@', '#']) {
            // Then what looks like the host may be a piece of the password.
            return Err(unescaped("the URL has an @ after its host, or a #"));
        }
        let (credentials, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let hosts: Vec<_> = match hosts {
            "" => Vec::new(),
            hosts => hosts.split(',').map(host).collect::<Result<_>>()?,
        };
        let present = |text: String| (!text.is_empty()).then_some(text);
        Ok(ServerUrl {
            user: present(decode("the user", user)?),
            password: present(decode("the password", password)?).map(SecretString::from),
            hosts,
            path: decode("the path", path)?,
        })
    }
}

fn unescaped(message: &'static str) -> Error {
    Error::config(message).with_hint(ESCAPE_HINT)
}

/// Reads `name`, `name:port`, `[ipv6]` or `[ipv6]:port`.
fn host(text: &str) -> Result<ServerHost> {
    let wrong =
        || unescaped("the URL's host or port is not valid: a port is a number from 1 to 65535");
    let (name, port) = if let Some(bracketed) = text.strip_prefix('[') {
        let (name, port) = bracketed.split_once(']').ok_or_else(wrong)?;
        name.parse::<Ipv6Addr>().map_err(|_| {
            unescaped("what the URL has in brackets is not an IPv6 address, as in [::1]")
        })?;
        (name, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(wrong)?) })
    } else {
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        };
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err(Error::config("the URL has an IPv6 address without brackets")
                .with_hint("write the address in brackets, as in [::1]"));
        }
        (name, port)
    };
    let name = decode("the host", name)?;
    let legal = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '<' | '>' | '\\');
    if name.is_empty() || !name.chars().all(legal) {
        return Err(wrong());
    }
    let port = match port {
        None => None,
        Some(port) => Some(port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?),
    };
    Ok(ServerHost { name, port })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn server(url: &str) -> Result<ServerUrl> {
        url.parse::<StoreUrl>()?.server("redis://host:6379/0")
    }

    fn hosts(url: &str) -> Vec<(String, Option<u16>)> {
        server(url).unwrap().hosts.into_iter().map(|host| (host.name, host.port)).collect()
    }

    #[test]
    fn hosts_have_names_addresses_and_ports() {
        assert_eq!(hosts("redis://localhost"), [("localhost".into(), None)]);
        assert_eq!(hosts("redis://[::1]:7000/2"), [("::1".into(), Some(7000))]);
        assert_eq!(hosts("redis://[::1]"), [("::1".into(), None)]);
        assert_eq!(
            hosts("redis+cluster://:p@a,b:7001,10.0.0.1:7002?prefix=x"),
            [("a".into(), None), ("b".into(), Some(7001)), ("10.0.0.1".into(), Some(7002))]
        );
        let socket = &server("postgres://u@%2Frun%2Fpostgresql/db").unwrap().hosts[0];
        assert!(socket.is_socket() && socket.is_local() && socket.name == "/run/postgresql");
        assert!(server("redis://[::1]").unwrap().hosts[0].is_local());
        assert!(!server("redis://db.example").unwrap().hosts[0].is_local());
        assert!(server("postgres:///db").unwrap().hosts.is_empty());
    }

    #[test]
    fn a_url_that_names_no_server_says_how_to_write_one() {
        for wrong in ["redis:", "redis:localhost", "redis:/localhost"] {
            let error = server(wrong).unwrap_err();
            assert_eq!(error.hint(), Some("write the URL as redis://host:6379/0"), "{wrong}");
        }
        for wrong in [
            "redis://a:b",
            "redis://a:0",
            "redis://a:65536",
            "redis://:1",
            "redis://a,",
            "redis://[::1",
            "redis://[::1]x",
            "redis://[a]",
            "redis://a b",
        ] {
            assert_eq!(server(wrong).unwrap_err().code(), "config", "{wrong}");
        }
        assert!(server("redis://::1").unwrap_err().hint().unwrap().contains("brackets"));
    }

    #[test]
    fn credentials_are_percent_decoded_and_never_print() {
        let url = server("redis://me:s%40%2F%23CAN+ARY@h/a%20b").unwrap();
        assert_eq!(url.user.as_deref(), Some("me"));
        assert_eq!(url.password.as_ref().unwrap().expose_secret(), "s@/#CAN+ARY");
        assert_eq!(url.path, "a b");
        assert!(!format!("{url:?}").contains("ARY"));
        // Only the last @ ends the credentials.
        let url = server("redis://me:p@ss@h").unwrap();
        assert_eq!(url.password.unwrap().expose_secret(), "p@ss");
        assert!(server("redis://@h").unwrap().user.is_none());
    }

    #[test]
    fn e3_a_password_that_breaks_the_url_is_not_repeated() {
        for wrong in [
            "redis://u:CAN?ARY@h/0",
            "redis://u:CAN/ARY@h/0",
            "redis://u:CAN#ARY@h/0",
            "redis://u:6379?ARY@h",
            "redis://u:6379/ARY@h",
            "redis://u:6379#ARY@h",
            "redis://u:p@CAN/ARY@h",
            "redis+cluster://u:CAN?ARY@h,i",
            "redis://u:CANARY",
            "redis://u:CANARY]@h i",
        ] {
            let error = server(wrong).unwrap_err();
            assert_eq!(error.code(), "config");
            let told = format!("{error} {error:?}");
            assert!(!told.contains("CAN") && !told.contains("ARY"), "{told}");
            assert!(told.contains("%3F") && told.contains("password_env="), "{told}");
        }
    }
}
