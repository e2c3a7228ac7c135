//! Store URLs: read in one place for every driver, and printed without secrets (contract, E3).

mod options;
mod server;

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use url::{Url, form_urlencoded};

pub use self::options::UrlOptions;
pub use self::server::{ServerHost, ServerUrl};
use crate::error::{Error, Result};

/// Says how to write what breaks a URL. No error that carries it repeats a part of the URL: it may
/// be a piece of a password (E3).
const ESCAPE_HINT: &str = "percent-encode / ? # @ : and % in a user, password, database or option \
     as %2F %3F %23 %40 %3A and %25, or give the password by password_env=NAME, the name of an \
     environment variable";

/// Query parameters whose values are credentials.
const SECRET_PARAMETERS: [&str; 7] =
    ["password", "api_key", "api-key", "apikey", "token", "secret", "sslpassword"];

/// A store's URL. It prints without user, password and secret parameters.
#[derive(Clone)]
pub struct StoreUrl {
    scheme: String,
    secret: SecretString,
    shown: String,
    must_exist: bool,
}

impl StoreUrl {
    /// The scheme, which selects the driver.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The same store, which must exist: a driver that makes its store where there is none, as one
    /// of files does, then fails with `NotFound` and makes nothing. For whoever is going to read.
    #[must_use]
    pub fn existing(self) -> Self {
        Self { must_exist: true, ..self }
    }

    /// Whether the store must exist, so that connecting makes nothing.
    pub fn must_exist(&self) -> bool {
        self.must_exist
    }

    /// The whole text, credentials included: for the driver's client alone.
    pub fn expose(&self) -> &str {
        self.secret.expose_secret()
    }

    /// Returns the text between the scheme's colon and the options, as it is written: a path for
    /// an embedded store. It may hold credentials.
    pub fn body(&self) -> &str {
        self.parts().0
    }

    /// The body and the options, both without the characters between them.
    fn parts(&self) -> (&str, &str) {
        let rest = self.expose().split_once(':').map_or("", |(_, rest)| rest);
        rest.split_once('?').unwrap_or((rest, ""))
    }
}

/// Decodes percent escapes. A `+` stays a plus sign: keys and passwords hold it.
fn decode(what: &str, text: &str) -> Result<String> {
    percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| {
        Error::config(format!("{what} in the URL is not UTF-8 after percent-decoding"))
            .with_hint("percent-encode the bytes of its UTF-8 form")
    })
}

impl FromStr for StoreUrl {
    type Err = Error;

    /// Reads `scheme:rest`. What follows the scheme is the driver's to read, so that
    /// `sqlite:some/path` and `redis+cluster://a,b` are URLs too.
    fn from_str(text: &str) -> Result<Self> {
        let Some((scheme, rest)) = text.split_once(':') else {
            // The text is not repeated: without a scheme it may be a bare secret.
            return Err(Error::config("a store URL needs a scheme")
                .with_hint("write it as scheme:rest, as in memory: or sqlite:agent.db"));
        };
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(legal) {
            return Err(Error::config(
                "a store URL's scheme is made of letters, digits, + - and .",
            )
            .with_hint("write it as scheme:rest, as in memory: or sqlite:agent.db"));
        }
        let scheme = scheme.to_ascii_lowercase();
        let shown = format!("{scheme}:{}", redact(rest));
        let secret = SecretString::from(text.to_owned());
        Ok(Self { scheme, secret, shown, must_exist: false })
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({})", self.shown)
    }
}

impl From<Url> for StoreUrl {
    fn from(url: Url) -> Self {
        let scheme = url.scheme().to_owned();
        let shown = format!("{scheme}:{}", redact(&url.as_str()[scheme.len() + 1..]));
        Self { scheme, secret: SecretString::from(String::from(url)), shown, must_exist: false }
    }
}

/// Hides everything before the last `@` of what is before the parameters, and the values of secret
/// ones. A path with an `@` in it loses its beginning so: slashes may have been left out of a URL.
fn redact(rest: &str) -> String {
    let (body, query) = rest.split_once('?').map_or((rest, None), |(b, q)| (b, Some(q)));
    if body.starts_with("//") && query.is_some_and(|query| query.contains('@')) {
        // An unescaped '?' in the password, or an '@' in a parameter: which of them cannot be told.
        return "//***".into();
    }
    let mut out = String::with_capacity(rest.len());
    match body.rsplit_once('@') {
        Some((_, host)) => {
            out.push_str(if body.starts_with("//") { "//***@" } else { "***@" });
            out.push_str(host);
        }
        None => out.push_str(body),
    }
    if let Some(query) = query {
        out.push('?');
        for (i, pair) in query.split('&').enumerate() {
            if i > 0 {
                out.push('&');
            }
            match pair.split_once('=') {
                Some((key, _)) if is_secret(key) => {
                    out.push_str(key);
                    out.push_str("=***");
                }
                _ => out.push_str(pair),
            }
        }
    }
    out
}

fn is_secret(key: &str) -> bool {
    let decoded = form_urlencoded::parse(key.as_bytes()).next();
    let key = decoded.as_ref().map_or(key, |(key, _)| key);
    SECRET_PARAMETERS.iter().any(|secret| key.eq_ignore_ascii_case(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e3_urls_print_without_credentials() {
        for (url, shown) in [
            ("postgres://u:CANARY@db/x?sslmode=require", "postgres://***@db/x?sslmode=require"),
            ("redis://:CANARY@h:1", "redis://***@h:1"),
            ("qdrant://h?api_key=CANARY&tls=1", "qdrant://h?api_key=***&tls=1"),
            ("redis://u:CAN?ARY@h/0", "redis://***"),
            ("qdrant://h?api_key=CAN@ARY", "qdrant://***"),
            ("redis://u:CAN@ARY@h/0", "redis://***@h/0"),
            ("postgres:/u:CANARY@h/x", "postgres:***@h/x"),
            ("redis:u:CANARY@h", "redis:***@h"),
            ("postgres://h/x?pass%77ord=CANARY", "postgres://h/x?pass%77ord=***"),
            ("sqlite:a b.db", "sqlite:a b.db"),
            ("memory:", "memory:"),
        ] {
            let parsed: StoreUrl = url.parse().unwrap();
            assert_eq!(parsed.to_string(), shown);
            assert_eq!(parsed.expose(), url);
            assert!(!format!("{parsed:?}").contains("CAN"));
        }
    }

    #[test]
    fn e3_a_text_without_a_scheme_is_not_repeated() {
        let error = "CANARY".parse::<StoreUrl>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("CANARY"));
    }
}
