//! The URL: where the database is, and options.

use std::path::{Path, PathBuf};
use std::time::Duration;

use memquill_core::{Durability, Error, Result, StoreUrl, did_you_mean};

const OPTIONS: [&str; 3] = ["synchronous", "busy_timeout_ms", "readers"];
const MAX_READERS: u32 = 64;

/// Where a database lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Memory,
    File(PathBuf),
}

/// What a URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) place: Place,
    /// Whether every commit waits for the disk.
    pub(crate) synchronous: bool,
    /// How long a write waits for another process's.
    pub(crate) busy_timeout: Duration,
    /// How many connections read at once.
    pub(crate) readers: u32,
}

impl Config {
    pub(crate) fn from_url(url: &StoreUrl) -> Result<Self> {
        let text = url.expose();
        let rest = text.split_once(':').map_or("", |(_, rest)| rest);
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut config = Self {
            place: place_of(place)?,
            synchronous: true,
            busy_timeout: Duration::from_secs(5),
            readers: 4,
        };
        let mut seen = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            config.set(name, value)?;
            if seen.contains(&name) {
                return Err(Error::config(format!("the option {name} stands twice in the URL"))
                    .with_hint("keep the one that is meant"));
            }
            seen.push(name);
        }
        Ok(config)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "synchronous" => self.synchronous = synchronous(value)?,
            "busy_timeout_ms" => {
                self.busy_timeout = Duration::from_millis(number(name, value, 0, 600_000)?.into());
            }
            "readers" => self.readers = number(name, value, 1, MAX_READERS)?,
            _ => {
                let hint = did_you_mean(name, OPTIONS)
                    .unwrap_or_else(|| format!("the options are {}", OPTIONS.join(", ")));
                return Err(
                    Error::config(format!("sqlite knows no option {name:?}")).with_hint(hint)
                );
            }
        }
        Ok(())
    }

    /// What an acknowledged write survives (G6).
    pub(crate) fn durability(&self) -> Durability {
        match (&self.place, self.synchronous) {
            (Place::Memory, _) => Durability::Process,
            (Place::File(_), false) => Durability::Restart,
            (Place::File(_), true) => Durability::Crash,
        }
    }
}

fn place_of(text: &str) -> Result<Place> {
    match text.strip_prefix("//").unwrap_or(text) {
        "" => Err(Error::config("the URL names no file")
            .with_hint("write sqlite:PATH, or sqlite::memory: for a database without a file")),
        ":memory:" => Ok(Place::Memory),
        // SQLite itself would read this as a URI, whose file is another, or none.
        path if path.starts_with("file:") => Ok(Place::File(Path::new(".").join(path))),
        path => Ok(Place::File(path.into())),
    }
}

fn synchronous(value: &str) -> Result<bool> {
    match value {
        "full" => Ok(true),
        "normal" => Ok(false),
        _ => Err(Error::config(format!("synchronous is full or normal, not {value:?}")).with_hint(
            "full survives a power cut at any moment; normal is faster and may lose the last \
                 moments before one, not before a crash of the process",
        )),
    }
}

fn number(name: &str, value: &str, least: u32, most: u32) -> Result<u32> {
    value.parse().ok().filter(|number| (least..=most).contains(number)).ok_or_else(|| {
        Error::config(format!("{name} is a whole number from {least} to {most}, not {value:?}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Result<Config> {
        Config::from_url(&url.parse()?)
    }

    #[test]
    fn a_url_names_a_file_or_memory() {
        let file = |url| config(url).unwrap().place;
        assert_eq!(file("sqlite::memory:"), Place::Memory);
        assert_eq!(file("sqlite:a b%.db"), Place::File("a b%.db".into()));
        assert_eq!(file("sqlite:///tmp/x.db?readers=2"), Place::File("/tmp/x.db".into()));
        // SQLite takes a path that begins so for a URI.
        assert_eq!(file("sqlite:file:x.db"), Place::File("./file:x.db".into()));
        assert!(config("sqlite:").is_err());
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
        let hint = |url| config(url).unwrap_err().hint().map(str::to_owned);
        assert_eq!(hint("sqlite:x?reader=2").unwrap(), r#"did you mean "readers"?"#);
        assert!(hint("sqlite:x?synchronous=off").unwrap().contains("power cut"));
        for wrong in ["readers=0", "readers=65", "busy_timeout_ms=soon", "readers=1&readers=2"] {
            assert!(config(&format!("sqlite:x?{wrong}")).is_err(), "{wrong}");
        }
    }
}
