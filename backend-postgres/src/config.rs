//! What a URL says.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use memquill_core::{Error, Result, StoreUrl, did_you_mean};
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::{Host, Url};

/// The options that are the driver's own; the rest is sqlx's to read.
const OWN: [&str; 5] =
    ["schema", "role", "max_connections", "acquire_timeout", "statement_timeout"];
const SQLX: [&str; 10] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "application_name",
    "host",
    "port",
    "dbname",
    "user",
    "password",
];

/// A URL, read.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) connect: PgConnectOptions,
    pub(crate) schema: Schema,
    pub(crate) role: Option<String>,
    pub(crate) max_connections: usize,
    pub(crate) acquire_timeout: Duration,
    pub(crate) statement_timeout: Duration,
}

impl fmt::Debug for Config {
    /// Leaves out the connection's options, which hold the password (E3).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// The name of a schema, of letters, digits and underscores only: it stands in the text of every
/// statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schema(String);

impl Schema {
    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// The statement with the schema's name in its places.
    pub(crate) fn fill(&self, sql: &str) -> String {
        sql.replace("{schema}", &format!("\"{}\"", self.0))
    }
}

impl FromStr for Schema {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if (1..=63).contains(&name.len()) && name.chars().all(legal) {
            return Ok(Self(name.to_owned()));
        }
        Err(Error::config(format!("the schema {name:?} is not a plain name"))
            .with_hint("use up to 63 ASCII letters, digits and underscores"))
    }
}

impl Config {
    pub(crate) fn read(url: &StoreUrl) -> Result<Self> {
        check_place(url.expose())?;
        let mut parsed = Url::parse(url.expose()).map_err(|error| {
            Error::config(format!("{url} is not a URL: {error}")).with_hint(
                "write it as postgres://user:password@host:5432/database, with reserved \
                 characters in the password percent-encoded",
            )
        })?;
        let (own, rest): (Vec<_>, Vec<_>) = parsed
            .query_pairs()
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .partition(|(key, _)| OWN.contains(&key.as_str()));
        check_once(&own)?;
        check_once(&rest)?;
        if let Some((unknown, _)) = rest.iter().find(|(key, _)| !SQLX.contains(&key.as_str())) {
            let known = OWN.iter().chain(&SQLX).copied();
            let hint = did_you_mean(unknown, known.clone()).unwrap_or_else(|| {
                format!("the options are {}", known.collect::<Vec<_>>().join(", "))
            });
            return Err(Error::config(format!("the Postgres store has no option {unknown:?}"))
                .with_hint(hint));
        }
        let given = |key: &str| rest.iter().any(|(known, _)| known == key);
        let (sslmode, named) = (given("sslmode"), given("application_name"));
        parsed.set_query(None);
        if !rest.is_empty() {
            parsed.query_pairs_mut().extend_pairs(&rest);
        }
        let mut connect = PgConnectOptions::from_str(parsed.as_str())
            .map_err(|error| {
                Error::config("the URL's connection options cannot be read").with_source(error)
            })?
            .extra_float_digits(None)
            .disable_statement_logging();
        if !sslmode && std::env::var_os("PGSSLMODE").is_none() && !is_local(&parsed, &connect) {
            connect = connect.ssl_mode(PgSslMode::VerifyFull);
        }
        if !named {
            connect = connect.application_name("memquill");
        }
        let mut config = Self {
            connect,
            schema: Schema("memquill".to_owned()),
            role: None,
            max_connections: 10,
            acquire_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
        };
        own.iter().try_for_each(|(key, value)| config.set(key, value))?;
        Ok(config)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "schema" => self.schema = value.parse()?,
            "role" if value.is_empty() || value.contains('\0') => {
                return Err(Error::config("the option role is not a role's name"));
            }
            "role" => self.role = Some(value.to_owned()),
            "max_connections" => {
                let number = value.parse().ok().filter(|n| (1..=10_000).contains(n));
                self.max_connections = number.ok_or_else(|| {
                    Error::config(format!(
                        "max_connections={value} is not a number from 1 to 10000"
                    ))
                })?;
            }
            "acquire_timeout" => self.acquire_timeout = duration(key, value)?,
            _ => {
                self.statement_timeout = duration(key, value)?;
                // Only where it is asked for: a pooler may refuse settings at connect.
                let millis = format!("{}ms", self.statement_timeout.as_millis());
                self.connect = self.connect.clone().options([(key, millis)]);
            }
        }
        Ok(())
    }
}

/// Refuses an `@` behind the host: then the host is a piece of the password, or may be, and nothing
/// of the URL may be repeated (E3).
fn check_place(url: &str) -> Result<()> {
    let place = url.split_once("://").map_or(url, |(_, place)| place);
    let behind = place.find(['/', '?', '#']).map_or("", |at| &place[at..]);
    if behind.contains('@') {
        return Err(Error::config("an @ stands behind the host").with_hint(
            "escape / ? # @ and : in a user, password, database or option as %2F %3F %23 %40 %3A",
        ));
    }
    Ok(())
}

/// Refuses an option that is given twice: one of the two would be ignored (G10).
fn check_once(options: &[(String, String)]) -> Result<()> {
    let mut keys: Vec<&str> = options.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(Error::config(format!("the option {} stands twice in the URL", pair[0]))
            .with_hint("keep the one that is meant")),
    }
}

/// Reads `500ms`, `30s` or `5m`.
fn duration(key: &str, text: &str) -> Result<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => 0,
    };
    match number.parse::<u32>() {
        Ok(number @ 1..) if millis > 0 => Ok(Duration::from_millis(u64::from(number) * millis)),
        _ => Err(Error::config(format!("{key}={text} is not a time"))
            .with_hint("write it as 500ms, 30s or 5m")),
    }
}

/// Whether the server is on this machine, where traffic passes no network.
fn is_local(url: &Url, connect: &PgConnectOptions) -> bool {
    let host = connect.get_host();
    connect.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            _ => host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback()),
        }
}

/// The store that the environment names where nothing else does: `DATABASE_URL` if it is a
/// Postgres URL, else `SUPABASE_DB_URL`; and which of the two. `variable` reads a variable of the
/// environment.
///
/// A `SUPABASE_URL` or `SUPABASE_SECRET_KEY` alone is `Config`: they are for Supabase's REST API,
/// not for its database.
pub fn url_from_environment(
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<(&'static str, StoreUrl)>> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let is_postgres =
        |url: &String| url.starts_with("postgres://") || url.starts_with("postgresql://");
    let general = set("DATABASE_URL").filter(is_postgres).map(|url| ("DATABASE_URL", url));
    let supabase = || set("SUPABASE_DB_URL").map(|url| ("SUPABASE_DB_URL", url));
    if let Some((name, url)) = general.or_else(supabase) {
        return Ok(Some((name, url.parse()?)));
    }
    for name in ["SUPABASE_URL", "SUPABASE_SECRET_KEY"] {
        if set(name).is_some() {
            return Err(Error::config(format!(
                "{name} is for Supabase's REST API; the store needs the database's own URL"
            ))
            .with_hint(
                "set SUPABASE_DB_URL to the connection string that Supabase's dashboard shows \
                 under Connect (postgres://postgres.PROJECT:PASSWORD@…:5432/postgres)",
            ));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Config> {
        Config::read(&url.parse().unwrap())
    }

    #[test]
    fn a_url_names_server_schema_role_and_sizes() {
        let config = read(
            "postgres://u:p@db.example/x?schema=memory&role=a%20role&max_connections=3\
             &acquire_timeout=500ms&statement_timeout=2s",
        )
        .unwrap();
        assert_eq!(config.schema.name(), "memory");
        assert_eq!(config.role.as_deref(), Some("a role"));
        assert_eq!(config.max_connections, 3);
        assert_eq!(config.acquire_timeout, Duration::from_millis(500));
        assert_eq!(config.statement_timeout, Duration::from_secs(2));
        assert_eq!(config.connect.get_options(), Some("-c statement_timeout=2000ms"));
        assert_eq!(config.connect.get_host(), "db.example");
    }

    #[test]
    fn certificates_are_verified_unless_the_server_is_here_or_the_url_says_otherwise() {
        for (url, mode) in [
            ("postgres://u@db.example/x", "VerifyFull"),
            ("postgres://u@10.0.0.1/x", "VerifyFull"),
            ("postgres://u@localhost/x", "Prefer"),
            ("postgres://u@127.0.0.1/x", "Prefer"),
            ("postgres://u@[::1]/x", "Prefer"),
            ("postgres://u@db.example/x?sslmode=require", "Require"),
        ] {
            let config = read(url).unwrap();
            assert_eq!(format!("{:?}", config.connect.get_ssl_mode()), mode, "{url}");
        }
    }

    #[test]
    fn g10_an_option_nobody_knows_is_refused_with_the_nearest() {
        let error = read("postgres://u@localhost/x?max_conections=3").unwrap_err();
        assert_eq!(error.code(), "config");
        assert_eq!(error.hint(), Some(r#"did you mean "max_connections"?"#));
        for bad in ["schema=a.b", "schema=", "max_connections=0", "acquire_timeout=1h", "role="] {
            let error = read(&format!("postgres://u@localhost/x?{bad}")).unwrap_err();
            assert_eq!(error.code(), "config", "{bad}");
        }
    }

    #[test]
    fn e3_no_password_shows() {
        let config = read("postgres://u:CANARY@localhost/x").unwrap();
        assert!(!format!("{config:?}").contains("CANARY"));
        let error = read("postgres://u:CAN#ARY@local host/x").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("ARY"), "{error:?}");
    }

    #[test]
    fn e3_what_may_be_a_piece_of_a_password_is_not_repeated() {
        for url in [
            "postgres://u:?CANARY@host/db",
            "postgres://u:12?CANARY&more@host/db",
            "postgres://u:12/CANARY@host/db",
            "postgres://u:12?schema=CANARY!@host/db",
            "postgres://u:12#CANARY@host/db",
            "postgres://u@host/db?user=CANARY@server",
        ] {
            let error = read(url).unwrap_err();
            assert_eq!(error.code(), "config", "{url}");
            assert!(error.hint().unwrap().contains("%40"), "{error:?}");
            assert!(!format!("{error:?} {error}").contains("CANARY"), "{error:?}");
        }
        let config = read("postgres://u:%3FCAN%40ARY@host/a%40b?user=a%40server").unwrap();
        assert_eq!(config.connect.get_username(), "a@server");
        assert_eq!(config.connect.get_database(), Some("a@b"));
    }

    #[test]
    fn g10_an_option_that_stands_twice_is_refused() {
        for twice in ["schema=a&schema=b", "role=a&role=a", "sslmode=disable&sslmode=verify-full"] {
            let error = read(&format!("postgres://u@localhost/x?{twice}")).unwrap_err();
            assert_eq!(error.code(), "config", "{twice}");
            assert!(error.message().contains("twice"), "{error}");
        }
    }

    #[test]
    fn the_environment_names_a_store_or_says_which_variable_would() {
        let from = |pairs: &[(&str, &str)]| {
            let pairs = pairs.to_vec();
            url_from_environment(|name| {
                pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
            })
        };
        assert!(from(&[]).unwrap().is_none());
        assert!(from(&[("DATABASE_URL", "sqlite:x")]).unwrap().is_none());
        let supabase = ("SUPABASE_DB_URL", "postgres://a/b");
        for pairs in [vec![supabase], vec![("SUPABASE_URL", "https://x.supabase.co"), supabase]] {
            let (name, url) = from(&pairs).unwrap().unwrap();
            assert_eq!((name, url.expose()), ("SUPABASE_DB_URL", "postgres://a/b"));
        }
        let error = from(&[("SUPABASE_SECRET_KEY", "CANARY")]).unwrap_err();
        assert_eq!(error.code(), "config");
        assert!(error.hint().unwrap().contains("SUPABASE_DB_URL"));
        assert!(!format!("{error:?}").contains("CANARY"));
    }
}
