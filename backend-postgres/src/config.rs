//! The options of a URL, and the names that other clients give the same options.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use memquill_core::{Error, Result, ServerUrl, StoreUrl, UrlOptions};
use secrecy::ExposeSecret as _;
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

/// How to write a URL, for hints.
const EXAMPLE: &str = "postgres://user:password@host:5432/database";

/// Every option that is known: the driver's own, then libpq's, then what Prisma, Rails,
/// node-postgres and Vercel write into their URLs.
const KNOWN: &str = "\
    schema role max_connections acquire_timeout statement_timeout startup_options \
    host hostaddr port dbname user password password_env connect_timeout application_name \
    fallback_application_name options client_encoding target_session_attrs channel_binding \
    gssencmode sslmode sslrootcert sslcert sslkey sslsni sslcompression sslnegotiation requiressl \
    load_balance_hosts \
    pgbouncer connection_limit pool_timeout socket_timeout statement_cache_size sslaccept pool \
    prepared_statements ssl uselibpqcompat supa workaround";

/// Options of others that ask for nothing, given one of these values.
const WITHOUT_EFFECT: [(&str, &[&str], &str); 7] = [
    (
        "client_encoding",
        &["UTF8", "utf8", "UTF-8", "utf-8", "auto"],
        "memquill reads and writes UTF8; leave it out",
    ),
    (
        "gssencmode",
        &["disable", "allow", "prefer"],
        "GSSAPI is not supported; leave it out, and use sslmode=verify-full",
    ),
    ("sslsni", &["1"], "the server's name is always sent; leave it out"),
    ("sslcompression", &["0"], "TLS compression is not supported; leave it out"),
    ("sslnegotiation", &["postgres"], "only sslnegotiation=postgres is supported; leave it out"),
    ("load_balance_hosts", &["disable"], "name one host, and leave load_balance_hosts out"),
    ("uselibpqcompat", &["true"], "sslmode means what it means to libpq; leave it out"),
];

/// How long an answer may take where the URL does not say.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a server looks whether the client of a running statement is still there. One that
/// lost its client stops, and with it the work of a call that was dropped (G7).
pub(crate) const CLIENT_CHECK: Duration = Duration::from_millis(500);
/// The server's setting of that; a server on Windows refuses it.
pub(crate) const CLIENT_CHECK_SETTING: &str = "client_connection_check_interval";

/// The settings of a store, read from its URL.
#[derive(Clone)]
pub(crate) struct Config {
    connect: PgConnectOptions,
    pub(crate) schema: Schema,
    pub(crate) role: Option<String>,
    pub(crate) max_connections: usize,
    pub(crate) acquire_timeout: Duration,
    pub(crate) connect_timeout: Option<Duration>,
    statement_timeout: Option<Duration>,
    /// Whether settings are sent at connect, which some poolers refuse.
    startup_options: bool,
    /// Whether statements stay prepared on a connection, which some poolers do not keep.
    pub(crate) is_prepared: bool,
    /// Whether a server that only reads is refused.
    pub(crate) must_write: bool,
}

impl fmt::Debug for Config {
    /// Leaves out the connection's options, which hold the password (E3).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// The name of a schema, of letters, digits and underscores only: it is a part of every statement's
/// text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schema(String);

impl Schema {
    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// Puts the schema's name into a statement.
    pub(crate) fn fill(&self, sql: &str) -> String {
        sql.replace("{schema}", &format!("\"{}\"", self.0))
    }
}

impl FromStr for Schema {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_system = name.starts_with("pg_") || name == "information_schema";
        if (1..=63).contains(&name.len()) && name.chars().all(legal) && !is_system {
            return Ok(Self(name.to_owned()));
        }
        Err(Error::config(format!("{name:?} is not a name for memquill's schema")).with_hint(
            "use up to 63 ASCII letters, digits and underscores, and not a schema of the system's",
        ))
    }
}

impl Config {
    pub(crate) fn from_url(url: &StoreUrl) -> Result<Self> {
        let server = url.server(EXAMPLE)?;
        let known: Vec<&'static str> = KNOWN.split_whitespace().collect();
        let options = url.options("postgres", &known)?;
        for (name, values, hint) in WITHOUT_EFFECT {
            if let Some(value) = options.text(name).filter(|value| !values.contains(value)) {
                return Err(
                    Error::config(format!("{name}={value} is not supported")).with_hint(hint)
                );
            }
        }
        let pgbouncer = options.flag("pgbouncer")?.unwrap_or(false);
        let is_prepared = options.flag("prepared_statements")?.unwrap_or(true)
            && options.number("statement_cache_size", 0..=1_000_000)? != Some(0);
        let connections = either(
            &options,
            [("max_connections", 10_000), ("connection_limit", 10_000), ("pool", 10_000)],
            |name, most| options.number(name, 1..=most),
        )?;
        let acquire_timeout =
            either(&options, [("acquire_timeout", ()), ("pool_timeout", ())], |name, ()| {
                time(&options, name)
            })?;
        let statement_timeout =
            either(&options, [("statement_timeout", ()), ("socket_timeout", ())], |name, ()| {
                time(&options, name)
            })?;
        let attributes = options.choice(
            "target_session_attrs",
            &[
                ("any", Ok(false)),
                ("read-write", Ok(true)),
                ("primary", Ok(true)),
                ("read-only", Err(())),
                ("standby", Err(())),
                ("prefer-standby", Err(())),
            ],
        )?;
        let must_write = attributes.unwrap_or(Ok(false)).map_err(|()| {
            Error::config(
                "memquill writes, and target_session_attrs asks for a server that may not",
            )
            .with_hint("write target_session_attrs=read-write, or leave it out")
        })?;
        Ok(Self {
            connect: connect_options(&server, &options)?,
            schema: options.text("schema").unwrap_or("memquill").parse()?,
            role: options.text("role").map(str::to_owned),
            max_connections: connections.unwrap_or(10),
            acquire_timeout: acquire_timeout.unwrap_or(Duration::from_secs(10)),
            connect_timeout: time(&options, "connect_timeout")?,
            statement_timeout,
            startup_options: options.flag("startup_options")?.unwrap_or(!pgbouncer),
            is_prepared: is_prepared && !pgbouncer,
            must_write,
        })
    }

    /// How long a call waits for its answer.
    pub(crate) fn statement_timeout(&self) -> Duration {
        self.statement_timeout.unwrap_or(STATEMENT_TIMEOUT)
    }

    /// Whether the server stops by itself the statement of a connection that was closed.
    pub(crate) fn has_client_check(&self) -> bool {
        self.startup_options
    }

    /// How to connect for data work: the server is to end what takes too long, and what nobody
    /// waits for any more if `client_check` says so.
    pub(crate) fn for_data(&self, client_check: bool) -> PgConnectOptions {
        self.with_settings(Some(self.statement_timeout()), client_check)
    }

    /// How to connect for administration, whose statements take as long as they take unless the URL
    /// says otherwise.
    pub(crate) fn for_administration(&self, client_check: bool) -> PgConnectOptions {
        self.with_settings(self.statement_timeout, client_check)
    }

    fn with_settings(&self, statement: Option<Duration>, client_check: bool) -> PgConnectOptions {
        let mut settings = Vec::new();
        if self.startup_options {
            settings.extend(statement.map(|timeout| ("statement_timeout", timeout)));
            settings.extend(client_check.then_some((CLIENT_CHECK_SETTING, CLIENT_CHECK)));
        }
        if settings.is_empty() {
            return self.connect.clone();
        }
        let settings =
            settings.iter().map(|(name, time)| (*name, format!("{}ms", time.as_millis())));
        self.connect.clone().options(settings)
    }
}

/// A name as an SQL identifier.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The one of several names of an option that is given.
fn either<T, U: Copy, const N: usize>(
    options: &UrlOptions,
    names: [(&'static str, U); N],
    read: impl Fn(&'static str, U) -> Result<Option<T>>,
) -> Result<Option<T>> {
    let given: Vec<_> =
        names.into_iter().filter(|(name, _)| options.text(name).is_some()).collect();
    match given[..] {
        [] => Ok(None),
        [(name, with)] => read(name, with),
        [(one, _), (other, _), ..] => {
            Err(Error::config(format!("the URL gives both {one} and {other}, which mean the same"))
                .with_hint("keep the one that is meant"))
        }
    }
}

/// A time: `500ms`, `10s`; and, as other clients write it, whole seconds, of which 0 says nothing.
fn time(options: &UrlOptions, name: &'static str) -> Result<Option<Duration>> {
    let is_foreign = matches!(name, "connect_timeout" | "pool_timeout" | "socket_timeout");
    match options.text(name) {
        Some(text) if is_foreign && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            let seconds = options.number(name, 0..=86_400)?;
            Ok(seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs))
        }
        _ => options.duration(name),
    }
}

/// Hands the connection's own options to sqlx, which adds what the environment says (`PGHOST`, …)
/// and the password file.
fn connect_options(server: &ServerUrl, options: &UrlOptions) -> Result<PgConnectOptions> {
    let host = match &server.hosts[..] {
        [] => None,
        [host] => Some(host),
        _ => {
            return Err(Error::config("the URL names more than one host")
                .with_hint("name one: the primary, or an address that leads to it"));
        }
    };
    let password = options.password(server)?;
    let port = options.number("port", 1..=u16::MAX)?;
    let ssl = ssl_mode(options)?;
    let given = [
        ("host", options.text("host").or(host.map(|host| host.name.as_str())).map(str::to_owned)),
        ("hostaddr", options.text("hostaddr").map(str::to_owned)),
        ("port", port.or(host.and_then(|host| host.port)).map(|port| port.to_string())),
        ("dbname", options.text("dbname").or(text(&server.path)).map(str::to_owned)),
        ("user", options.text("user").or(server.user.as_deref()).map(str::to_owned)),
        ("password", password.as_ref().map(|password| password.expose_secret().to_owned())),
        ("options", options.text("options").map(str::to_owned)),
    ];
    if options.text("options").is_some_and(|options| options.contains("statement_timeout")) {
        return Err(Error::config("the option options sets statement_timeout")
            .with_hint("write statement_timeout=30s as an option of the URL"));
    }
    let mut url = Url::parse("postgres:///")
        .map_err(|error| Error::internal("a URL for sqlx cannot be made").with_source(error))?;
    for (name, value) in given {
        let Some(value) = value else { continue };
        if value.contains('\0') {
            return Err(Error::config(format!("the {name} in the URL holds a NUL character"))
                .with_hint("remove %00"));
        }
        url.query_pairs_mut().append_pair(name, &value);
    }
    let mut connect = PgConnectOptions::from_str(url.as_str())
        .map_err(|error| {
            Error::config("the URL's connection options cannot be read")
                .with_hint(format!("write the URL as {EXAMPLE}"))
                .with_source(error)
        })?
        .extra_float_digits(None)
        .disable_statement_logging();
    if let Some(mode) = ssl {
        connect = connect.ssl_mode(mode);
    } else if std::env::var_os("PGSSLMODE").is_none() && !is_local(&connect) {
        connect = connect.ssl_mode(PgSslMode::VerifyFull);
    }
    // The system's certificates are what is used where none is named.
    if let Some(file) = options.text("sslrootcert").filter(|file| *file != "system") {
        connect = connect.ssl_root_cert(file);
    }
    if let Some(file) = options.text("sslcert") {
        connect = connect.ssl_client_cert(file);
    }
    if let Some(file) = options.text("sslkey") {
        connect = connect.ssl_client_key(file);
    }
    let named = options.text("application_name").or(options.text("fallback_application_name"));
    Ok(connect.application_name(named.unwrap_or("memquill")))
}

fn text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// What is demanded of TLS. `channel_binding=require` asks that nobody be in the middle; no channel
/// is bound here, but a certificate that is verified says the same.
fn ssl_mode(options: &UrlOptions) -> Result<Option<PgSslMode>> {
    use PgSslMode as Mode;
    let modes = [
        ("disable", Mode::Disable),
        ("allow", Mode::Allow),
        ("prefer", Mode::Prefer),
        ("require", Mode::Require),
        ("verify-ca", Mode::VerifyCa),
        ("verify-full", Mode::VerifyFull),
    ];
    if options.text("sslmode") == Some("no-verify") {
        return Err(Error::config("sslmode=no-verify is node-postgres' own")
            .with_hint("write sslmode=require, which encrypts and does not verify either"));
    }
    let named = options.choice("sslmode", &modes)?;
    let by_flag =
        either(options, [("ssl", ()), ("requiressl", ())], |name, ()| options.flag(name))?;
    let by_flag = by_flag.map(|is_on| if is_on { Mode::VerifyFull } else { Mode::Disable });
    let accept = [("strict", Mode::VerifyFull), ("accept_invalid_certs", Mode::Require)];
    let accept = options.choice("sslaccept", &accept)?;
    let mode = named.or(accept).or(by_flag);
    let is_off = matches!(mode, Some(Mode::Disable | Mode::Allow));
    let system = options.text("sslrootcert") == Some("system");
    let bound = options
        .choice("channel_binding", &[("disable", false), ("prefer", false), ("require", true)])?
        == Some(true);
    match (bound || system, is_off) {
        (true, true) => Err(Error::config(
            "channel_binding=require and sslrootcert=system need TLS, and sslmode does without",
        )
        .with_hint("write sslmode=verify-full")),
        (true, false) => Ok(Some(Mode::VerifyFull)),
        (false, _) => Ok(mode),
    }
}

/// Whether the server is on this machine, where traffic passes no network.
fn is_local(connect: &PgConnectOptions) -> bool {
    let host = connect.get_host();
    connect.get_socket().is_some()
        || host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
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
mod tests;
