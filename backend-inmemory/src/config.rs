//! What a URL says.

use memquill_core::{Error, Result, StoreUrl};

/// The name of the store that `memory:NAME` means; empty for `memory:`.
pub(crate) fn store_name(url: &StoreUrl) -> Result<String> {
    let text = url.expose();
    let rest = text.split_once(':').map_or("", |(_, rest)| rest);
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (name, options) = rest.split_once('?').unwrap_or((rest, ""));
    if let Some(option) = options.split('&').find(|option| !option.is_empty()) {
        let key = option.split('=').next().unwrap_or_default();
        return Err(Error::config(format!("the in-memory store has no option {key:?}"))
            .with_hint("write the URL as memory: or memory:NAME, without options"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_store() {
        for (url, name) in [
            ("memory:", ""),
            ("memory:one", "one"),
            ("inmemory://one", "one"),
            ("memory:one?", "one"),
        ] {
            assert_eq!(store_name(&url.parse().unwrap()).unwrap(), name, "{url}");
        }
    }

    #[test]
    fn g10_an_option_nobody_knows_is_refused() {
        let error = store_name(&"memory:one?size=3".parse().unwrap()).unwrap_err();
        assert_eq!(error.code(), "config");
        assert!(error.message().contains("size"));
    }
}
