//! The URL: where the database is, and options.

use std::path::Path;
use std::time::Duration;

use memquill_core::{Durability, Error, Result, StoreUrl};

use crate::location::{Location, Machine};

const OPTIONS: &[&str] = &["mode", "immutable", "synchronous", "busy_timeout", "readers", "cache"];

/// Options of other libraries, and what to write here.
const ELSEWHERE: [(&[&str], &str); 5] = [
    (&["timeout", "_timeout", "_busy_timeout", "socket_timeout"], "write busy_timeout=5s"),
    (
        &["connection_limit", "pool_size", "max_connections", "pool_max_size"],
        "write readers=4; one connection writes",
    ),
    (
        &["journal_mode", "_journal_mode", "_journal"],
        "leave it out: the write-ahead log is always used",
    ),
    (&["_synchronous", "_sync"], "write synchronous=full or synchronous=normal"),
    (
        &[
            "foreign_keys",
            "_foreign_keys",
            "_fk",
            "check_same_thread",
            "uri",
            "_txlock",
            "_loc",
            "_pragma",
            "cache_size",
            "_cache_size",
            "vfs",
            "nolock",
            "psow",
            "isolation_level",
            "statement_cache_size",
        ],
        "leave it out: the driver sets what it needs by itself",
    ),
];

/// How a database is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// For reading alone.
    ReadOnly { immutable: bool },
    /// For reading and writing; the file must exist.
    Existing,
    /// For reading and writing; a file that does not exist is made.
    Create,
}

/// The connection settings that a URL gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) location: Location,
    pub(crate) mode: Mode,
    /// Whether every commit waits for the disk.
    pub(crate) synchronous: bool,
    /// How long a write waits for another process's.
    pub(crate) busy_timeout: Duration,
    /// How many connections read at once, from 1 to 64.
    pub(crate) readers: u32,
}

impl Config {
    pub(crate) fn from_url(url: &StoreUrl) -> Result<Self> {
        refuse_foreign_options(url)?;
        let options = url.options("sqlite", OPTIONS)?;
        let modes = [("ro", "ro"), ("rw", "rw"), ("rwc", "rwc"), ("memory", "memory")];
        let mode = options.choice("mode", &modes)?;
        let location = match mode {
            Some("memory") => Location::Memory,
            _ => Location::read(
                url.body(),
                &Machine {
                    home: std::env::home_dir().filter(|home| !home.as_os_str().is_empty()),
                    exists: &Path::exists,
                    windows: cfg!(windows),
                },
            )?,
        };
        if options.choice("cache", &[("private", false), ("shared", true)])? == Some(true) {
            return Err(Error::config("the option cache=shared makes readers wait for writers")
                .with_hint(
                    "leave it out: connections to a file share it anyhow; a store that \
                     connections of this process share without a file is memory:NAME",
                ));
        }
        let immutable = options.flag("immutable")?.unwrap_or(false);
        let mode = match (&location, mode) {
            (Location::Memory, None | Some("memory" | "rwc")) if !immutable => Mode::Create,
            (Location::Memory, _) => {
                return Err(Error::config("a database in memory begins empty, to be written")
                    .with_hint("leave the options mode and immutable out"));
            }
            (Location::File(_), Some("ro")) => Mode::ReadOnly { immutable },
            (Location::File(_), None) if immutable => Mode::ReadOnly { immutable },
            (Location::File(_), Some(_)) if immutable => {
                return Err(Error::config("an immutable file is not written")
                    .with_hint("write mode=ro, or leave immutable out"));
            }
            (Location::File(_), Some("rw")) => Mode::Existing,
            (Location::File(_), _) if url.must_exist() => Mode::Existing,
            (Location::File(_), _) => Mode::Create,
        };
        Ok(Self {
            location,
            mode,
            synchronous: options
                .choice("synchronous", &[("full", true), ("normal", false)])
                .map_err(|error| {
                    error.with_hint(
                        "full survives a power cut at any moment; normal is faster and may lose \
                         the last moments before one, not before a crash of the process",
                    )
                })?
                .unwrap_or(true),
            busy_timeout: options.duration("busy_timeout")?.unwrap_or(Duration::from_secs(5)),
            readers: options.number("readers", 1..=64)?.unwrap_or(4),
        })
    }

    /// What an acknowledged write survives (G6).
    pub(crate) fn durability(&self) -> Durability {
        match (&self.location, self.synchronous) {
            (Location::Memory, _) => Durability::Process,
            (Location::File(_), false) => Durability::Restart,
            (Location::File(_), true) => Durability::Crash,
        }
    }
}

/// Refuses options of other libraries with what to write instead.
fn refuse_foreign_options(url: &StoreUrl) -> Result<()> {
    let query = url.expose().split_once('?').map_or("", |(_, query)| query);
    for pair in query.split('&') {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        let known = ELSEWHERE.iter().find(|(names, _)| names.contains(&name));
        if let Some((_, hint)) = known {
            return Err(
                Error::config(format!("sqlite has no URL option {name:?}")).with_hint(*hint)
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Result<Config> {
        Config::from_url(&url.parse()?)
    }

    #[test]
    fn a_mode_says_whether_the_file_is_made_and_written() {
        let mode = |url| config(url).unwrap().mode;
        assert_eq!(mode("sqlite:x.db"), Mode::Create);
        assert_eq!(mode("sqlite:x.db?mode=rwc"), Mode::Create);
        assert_eq!(mode("sqlite:file:x.db?mode=rw&cache=private"), Mode::Existing);
        assert_eq!(mode("sqlite:x.db?mode=ro"), Mode::ReadOnly { immutable: false });
        assert_eq!(mode("sqlite:x.db?immutable=1"), Mode::ReadOnly { immutable: true });
        let existing = |url: &str| Config::from_url(&url.parse::<StoreUrl>().unwrap().existing());
        assert_eq!(existing("sqlite:x.db").unwrap().mode, Mode::Existing);
        assert_eq!(existing("sqlite:x.db?mode=rwc").unwrap().mode, Mode::Existing);
        assert_eq!(existing("sqlite::memory:").unwrap().mode, Mode::Create);
        assert_eq!(config("sqlite:x?mode=memory").unwrap().location, Location::Memory);
    }

    #[test]
    fn g6_the_option_synchronous_decides_what_a_write_survives() {
        let durability = |url| config(url).unwrap().durability();
        assert_eq!(durability("sqlite:x"), Durability::Crash);
        assert_eq!(durability("sqlite:x?synchronous=normal"), Durability::Restart);
        assert_eq!(durability("sqlite::memory:"), Durability::Process);
    }

    #[test]
    fn g10_no_option_is_ignored() {
        for (query, hint) in [
            ("reader=2", r#"did you mean "readers"?"#),
            ("synchronous=off", "power cut"),
            ("busy_timeout=5000", "5000ms"),
            ("_busy_timeout=5000", "busy_timeout=5s"),
            ("connection_limit=1", "readers=4"),
            ("journal_mode=WAL", "leave it out"),
            ("cache=shared", "memory:NAME"),
            ("mode=rwc&immutable=1", "mode=ro"),
        ] {
            let error = config(&format!("sqlite:x?{query}")).unwrap_err();
            assert!(error.hint().unwrap().contains(hint), "{query}: {error:?}");
        }
        for wrong in ["readers=0", "readers=65", "mode=w", "readers=1&readers=2"] {
            assert!(config(&format!("sqlite:x?{wrong}")).is_err(), "{wrong}");
        }
        for wrong in ["sqlite::memory:?mode=ro", "sqlite::memory:?immutable=1"] {
            assert!(config(wrong).is_err(), "{wrong}");
        }
    }
}
