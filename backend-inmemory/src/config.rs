//! The URL.

use memquill_core::{Error, Result, StoreUrl};

/// What a URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// The name of the store; empty for `memory:`.
    pub(crate) name: String,
}

impl Config {
    pub(crate) fn from_url(url: &StoreUrl) -> Result<Self> {
        url.options("inmemory", &[])?;
        let body = url.body();
        let name = body.strip_prefix("//").unwrap_or(body);
        if name.contains(['/', '\\', ':', '@']) {
            return Err(Error::config(
                "the URL of an in-memory store has a name, not a path or a host",
            )
            .with_hint("write memory: or memory:NAME, or sqlite:PATH for a file that stays"));
        }
        Ok(Self { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Config> {
        Config::from_url(&url.parse().unwrap())
    }

    #[test]
    fn a_url_names_a_store() {
        for (url, name) in [
            ("memory:", ""),
            ("memory://", ""),
            ("memory:one", "one"),
            ("inmemory://one", "one"),
            ("memory:one?", "one"),
        ] {
            assert_eq!(read(url).unwrap().name, name, "{url}");
        }
    }

    #[test]
    fn g10_an_option_and_a_path_are_refused() {
        let error = read("memory:one?size=3").unwrap_err();
        assert_eq!(error.code(), "config");
        assert!(error.message().contains("size"));
        for url in ["memory:data/agent.db", "memory://user@host", "memory::memory:"] {
            assert!(read(url).unwrap_err().hint().unwrap().contains("memory:NAME"), "{url}");
        }
    }
}
