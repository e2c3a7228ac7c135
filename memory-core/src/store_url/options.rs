//! The options of a store's URL: `?name=value&name=value`.

use std::collections::HashSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::{ESCAPE_HINT, ServerUrl, StoreUrl, decode};
use crate::error::{Error, Result};
use crate::suggest::did_you_mean;

/// The longest duration that an option takes: 24 hours.
const MAX_DURATION: Duration = Duration::from_hours(24);

/// The options of a URL, each known to the driver and given once (G10).
///
/// ```
/// use memquill_core::StoreUrl;
/// let url: StoreUrl = "redis://localhost?timeout=500ms&prefix=app".parse()?;
/// let options = url.options("redis", &["prefix", "timeout"])?;
/// assert_eq!(options.text("prefix"), Some("app"));
/// assert_eq!(options.duration("timeout")?, Some(std::time::Duration::from_millis(500)));
///
/// let error = url.options("redis", &["prefix", "time_limit"]).unwrap_err();
/// assert_eq!(error.message(), r#"redis has no URL option "timeout""#);
/// assert_eq!(error.hint(), Some(r#"did you mean "time_limit"?"#));
/// # Ok::<(), memquill_core::Error>(())
/// ```
#[derive(Clone)]
pub struct UrlOptions {
    given: Vec<(&'static str, SecretString)>,
}

impl fmt::Debug for UrlOptions {
    /// Prints the names alone: a value may be a secret (E3).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.given.iter().map(|(name, _)| name)).finish()
    }
}

impl StoreUrl {
    /// Reads the URL's options and refuses, as `Config`, one that is not in `known`, one that is
    /// given twice, and one without a value. `driver` is the driver's name, for the message.
    pub fn options(&self, driver: &str, known: &[&'static str]) -> Result<UrlOptions> {
        let (body, query) = self.parts();
        if body.starts_with("//") && query.contains(['@', '#']) {
            // The part before may be the beginning of a password: nothing of it is repeated.
            return Err(Error::config("the URL has an @ or # after its first question mark")
                .with_hint(ESCAPE_HINT));
        }
        let mut seen = HashSet::new();
        let mut given = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode("an option's name", name)?;
            let Some(name) = known.iter().copied().find(|known| *known == name) else {
                return Err(unknown(driver, &name, known));
            };
            if !seen.insert(name) {
                return Err(Error::config(format!("the URL gives the option {name} twice"))
                    .with_hint("keep the one that is meant"));
            }
            let value = decode(&format!("the option {name}"), value)?;
            if value.is_empty() {
                return Err(Error::config(format!("the option {name} has no value"))
                    .with_hint(format!("write {name}=VALUE, or leave it out")));
            }
            if value.contains(char::is_control) {
                return Err(Error::config(format!("the option {name} holds a control character"))
                    .with_hint("remove it; %00 to %1F and %7F are control characters"));
            }
            given.push((name, SecretString::from(value)));
        }
        Ok(UrlOptions { given })
    }
}

fn unknown(driver: &str, name: &str, known: &[&'static str]) -> Error {
    let hint = did_you_mean(name, known.iter().copied()).unwrap_or_else(|| match known {
        [] => "leave the options out".to_owned(),
        known => format!("the options are {}", known.join(", ")),
    });
    Error::config(format!("{driver} has no URL option {name:?}")).with_hint(hint)
}

impl UrlOptions {
    /// The names that are given, in the URL's order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.given.iter().map(|(name, _)| *name)
    }

    /// The value of an option, which is never empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        let given = self.given.iter().find(|(given, _)| *given == name);
        given.map(|(_, value)| value.expose_secret())
    }

    /// Reads `true`, `false`, `1` or `0`.
    pub fn flag(&self, name: &str) -> Result<Option<bool>> {
        self.choice(name, &[("true", true), ("false", false), ("1", true), ("0", false)])
    }

    /// Reads one of several names and returns what it is listed with.
    pub fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>> {
        let Some(value) = self.text(name) else { return Ok(None) };
        if let Some((_, chosen)) = choices.iter().find(|(choice, _)| *choice == value) {
            return Ok(Some(*chosen));
        }
        let names: Vec<_> = choices.iter().map(|(choice, _)| *choice).collect();
        let error = Error::config(format!(
            "the option {name} must be one of {}, not {value:?}",
            names.join(", ")
        ));
        Err(match did_you_mean(value, names) {
            Some(hint) => error.with_hint(hint),
            None => error,
        })
    }

    /// Reads a whole number within bounds.
    pub fn number<T>(&self, name: &str, bounds: RangeInclusive<T>) -> Result<Option<T>>
    where
        T: FromStr + PartialOrd + fmt::Display,
    {
        let Some(value) = self.text(name) else { return Ok(None) };
        let number = value.parse().ok().filter(|number| bounds.contains(number));
        number.map(Some).ok_or_else(|| {
            Error::config(format!(
                "the option {name} must be a whole number from {} to {}, not {value:?}",
                bounds.start(),
                bounds.end()
            ))
        })
    }

    /// Reads a duration from 1 ms to 24 h, such as `500ms`, `10s`, `2m` or `1h`.
    pub fn duration(&self, name: &str) -> Result<Option<Duration>> {
        let Some(value) = self.text(name) else { return Ok(None) };
        let error = |hint: String| {
            Error::config(format!(
                "the option {name} must be a duration from 1ms to 24h, not {value:?}"
            ))
            .with_hint(hint)
        };
        let digits = value.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = value.split_at(digits);
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "" if !number.is_empty() => {
                return Err(error(format!("add a unit, as in {number}ms or {number}s")));
            }
            _ => 0,
        };
        let duration = number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis));
        match duration.map(Duration::from_millis) {
            Some(duration) if !duration.is_zero() && duration <= MAX_DURATION => Ok(Some(duration)),
            _ => Err(error("write a number and ms, s, m or h, as in 500ms, 10s, 2m or 1h".into())),
        }
    }

    /// Reads a secret: the option `name`, or the environment variable that the option `name_env`
    /// names.
    pub fn secret(&self, name: &str) -> Result<Option<SecretString>> {
        self.secret_from(name, |variable| std::env::var(variable).ok())
    }

    fn secret_from(
        &self,
        name: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<SecretString>> {
        let by_variable = format!("{name}_env");
        match (self.text(name), self.text(&by_variable)) {
            (None, None) => Ok(None),
            (Some(value), None) => Ok(Some(SecretString::from(value.to_owned()))),
            (None, Some(named)) => match variable(named).filter(|value| !value.is_empty()) {
                Some(value) => Ok(Some(SecretString::from(value))),
                None => Err(Error::config(format!(
                    "the option {by_variable} names the environment variable {named:?}, which is \
                     not set, empty or not UTF-8"
                ))
                .with_hint("set the variable, or name another")),
            },
            (Some(_), Some(_)) => {
                Err(Error::config(format!("the URL gives both {name} and {by_variable}"))
                    .with_hint("keep the one that is meant"))
            }
        }
    }

    /// Reads the password of a server's URL: the one before the host, or [`secret`](Self::secret)
    /// `password`.
    pub fn password(&self, server: &ServerUrl) -> Result<Option<SecretString>> {
        match (&server.password, self.secret("password")?) {
            (Some(_), Some(_)) => Err(Error::config("the URL gives two passwords")
                .with_hint("keep the one before the host, or the option, but not both")),
            (before_host, option) => Ok(option.or_else(|| before_host.clone())),
        }
    }

    /// Reads the file that an option names, `what` being what it should hold, as in `PEM`.
    pub fn file(&self, name: &str, what: &str) -> Result<Option<Vec<u8>>> {
        let Some(path) = self.text(name) else { return Ok(None) };
        std::fs::read(path).map(Some).map_err(|error| {
            Error::config(format!("cannot read {path:?}, which the option {name} names"))
                .with_hint(format!("name a readable {what} file"))
                .with_source(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] =
        &["prefix", "timeout", "readers", "tls", "mode", "password", "password_env"];

    fn options(query: &str) -> Result<UrlOptions> {
        format!("redis://h?{query}").parse::<StoreUrl>()?.options("redis", KNOWN)
    }

    fn refused(query: &str) -> Error {
        let error = options(query).unwrap_err();
        assert_eq!(error.code(), "config");
        error
    }

    #[test]
    fn g10_an_unknown_option_is_refused_with_the_nearest_name() {
        let error = refused("prefx=a");
        assert_eq!(error.message(), r#"redis has no URL option "prefx""#);
        assert_eq!(error.hint(), Some(r#"did you mean "prefix"?"#));
        assert!(refused("colour=a").hint().unwrap().contains("readers"));
        assert_eq!(refused("timeout_ms=5").hint(), Some(r#"did you mean "timeout"?"#));
        let none = "memory:x?a=1".parse::<StoreUrl>().unwrap().options("inmemory", &[]);
        assert_eq!(none.unwrap_err().hint(), Some("leave the options out"));
    }

    #[test]
    fn g10_an_option_given_twice_or_without_a_value_is_refused() {
        assert!(refused("prefix=a&prefix=a").message().contains("twice"));
        assert!(refused("prefix=a&pre%66ix=b").message().contains("twice"));
        for empty in ["prefix", "prefix=", "timeout=1s&prefix="] {
            assert!(refused(empty).message().contains("prefix has no value"), "{empty}");
        }
        assert!(refused("prefix=a%00").message().contains("control character"));
        assert!(refused("prefix=%ff").message().contains("UTF-8"));
    }

    #[test]
    fn values_are_percent_decoded_and_a_plus_sign_stays() {
        let options = options("&prefix=a%20b%26+c&").unwrap();
        assert_eq!(options.text("prefix"), Some("a b&+c"));
        assert_eq!(options.text("mode"), None);
        assert_eq!(options.names().collect::<Vec<_>>(), ["prefix"]);
    }

    #[test]
    fn durations_have_a_unit_and_bounds() {
        let read = |value: &str| options(&format!("timeout={value}")).unwrap().duration("timeout");
        for (text, millis) in [("1ms", 1), ("10s", 10_000), ("2m", 120_000), ("24h", 86_400_000)] {
            assert_eq!(read(text).unwrap(), Some(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["0s", "25h", "soon", "-1s", "1.5s", "5 s", "ms", "99999999999999999999s"] {
            let error = read(wrong).unwrap_err();
            assert_eq!(error.code(), "config", "{wrong}");
            assert!(error.hint().unwrap().contains("500ms, 10s, 2m or 1h"), "{error}");
        }
        assert_eq!(read("10").unwrap_err().hint(), Some("add a unit, as in 10ms or 10s"));
        assert_eq!(options("").unwrap().duration("timeout").unwrap(), None);
    }

    #[test]
    fn numbers_flags_and_choices_say_what_they_accept() {
        let options = options("readers=65&tls=maybe&mode=ful").unwrap();
        let error = options.number("readers", 1..=64_u32).unwrap_err();
        assert_eq!(
            error.message(),
            r#"the option readers must be a whole number from 1 to 64, not "65""#
        );
        assert_eq!(options.number("readers", 1..=65_u32).unwrap(), Some(65));
        assert!(options.flag("tls").unwrap_err().message().contains("true, false, 1, 0"));
        let error = options.choice("mode", &[("full", 1), ("normal", 2)]).unwrap_err();
        assert_eq!(error.hint(), Some(r#"did you mean "full"?"#));
        assert_eq!(options.choice("mode", &[("ful", 1)]).unwrap(), Some(1));
    }

    #[test]
    fn e3_a_secret_comes_from_an_option_or_a_variable_and_never_prints() {
        let variable = |name: &str| match name {
            "DB" => Some("CAN@/#ARY".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let read = |query: &str| {
            let options = options(query).unwrap();
            assert!(!format!("{options:?}").contains("ARY"));
            let secret = options.secret_from("password", variable);
            secret.map(|secret| secret.map(|secret| secret.expose_secret().to_owned()))
        };
        assert_eq!(read("password_env=DB").unwrap().as_deref(), Some("CAN@/#ARY"));
        assert_eq!(read("password=CAN%40ARY").unwrap().as_deref(), Some("CAN@ARY"));
        assert_eq!(read("").unwrap(), None);
        for wrong in ["password_env=NONE", "password_env=EMPTY", "password=CANARY&password_env=DB"]
        {
            let error = read(wrong).unwrap_err();
            assert_eq!(error.code(), "config", "{wrong}");
            assert!(!format!("{error} {error:?}").contains("ARY"), "{error:?}");
        }
    }

    #[test]
    fn e3_a_piece_of_a_password_is_not_repeated() {
        for url in ["redis://u:CAN?ARY@h/0", "redis://u:1?prefix=CAN@h", "redis://u:1?CAN#ARY@h"] {
            let error = url.parse::<StoreUrl>().unwrap().options("redis", KNOWN).unwrap_err();
            let told = format!("{error} {error:?}");
            assert!(!told.contains("CAN") && !told.contains("ARY"), "{told}");
            assert!(told.contains("%40") && told.contains("password_env="), "{told}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_with_its_option() {
        let error = options("prefix=/no/such").unwrap().file("prefix", "PEM").unwrap_err();
        assert!(error.message().contains("/no/such") && error.message().contains("prefix"));
    }
}
