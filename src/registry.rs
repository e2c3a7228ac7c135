//! Which driver answers to which URL.

use std::sync::Arc;

use memquill_core::{
    Administrator, Backend, Driver, Error, Result, StoreUrl, did_you_mean, operation,
};

/// The schemes of the project's own drivers, and the cargo feature that brings each.
const FEATURES: [(&str, &str); 15] = [
    ("sqlite", "sqlite"),
    ("memory", "inmemory"),
    ("inmemory", "inmemory"),
    ("postgres", "postgres"),
    ("postgresql", "postgres"),
    ("redis", "redis"),
    ("rediss", "redis"),
    ("redis+cluster", "redis"),
    ("rediss+cluster", "redis"),
    ("redis+unix", "redis"),
    ("redis-socket", "redis"),
    ("unix", "redis"),
    ("qdrant", "qdrant"),
    ("qdrants", "qdrant"),
    ("qdrant-edge", "qdrant-edge"),
];

/// The drivers at hand, by URL scheme. A value like any other: there is no global registry.
///
/// ```
/// use memquill::driver::Registry;
/// let registry = Registry::with_compiled_drivers();
/// let schemes: Vec<_> = registry.drivers().iter().flat_map(|d| d.schemes()).collect();
/// assert!(schemes.contains(&&"memory"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Registry {
    drivers: Vec<Arc<dyn Driver>>,
}

impl Registry {
    /// A registry without drivers.
    pub fn new() -> Self {
        Self::default()
    }

    /// A registry of every driver that a cargo feature brought in.
    #[allow(unused_mut, reason = "without any driver's feature")]
    pub fn with_compiled_drivers() -> Self {
        let mut registry = Self::new();
        #[cfg(feature = "inmemory")]
        registry.register(memquill_inmemory::driver());
        #[cfg(feature = "postgres")]
        registry.register(memquill_postgres::driver());
        #[cfg(feature = "qdrant")]
        registry.register(memquill_qdrant::driver());
        #[cfg(feature = "redis")]
        registry.register(memquill_redis::driver());
        #[cfg(feature = "sqlite")]
        registry.register(memquill_sqlite::driver());
        registry
    }

    /// Adds a driver. Of two that answer to one scheme, the one registered last is asked.
    pub fn register(&mut self, driver: Arc<dyn Driver>) -> &mut Self {
        self.drivers.push(driver);
        self
    }

    /// The drivers, in the order in which they were registered.
    pub fn drivers(&self) -> &[Arc<dyn Driver>] {
        &self.drivers
    }

    /// Connects to a store for data work.
    pub async fn connect(&self, url: &StoreUrl) -> Result<Backend> {
        let driver = self.driver(url)?;
        driver.connect(url).await.map_err(|error| connecting(driver, error))
    }

    /// Connects to a store for administration.
    pub async fn admin(&self, url: &StoreUrl) -> Result<Administrator> {
        let driver = self.driver(url)?;
        driver.admin(url).await.map_err(|error| connecting(driver, error))
    }

    /// The driver that answers to the URL's scheme.
    pub fn driver(&self, url: &StoreUrl) -> Result<&dyn Driver> {
        let scheme = url.scheme();
        self.drivers
            .iter()
            .rev()
            .find(|driver| driver.schemes().contains(&scheme))
            .map(AsRef::as_ref)
            .ok_or_else(|| self.unknown(url))
    }

    fn unknown(&self, url: &StoreUrl) -> Error {
        let scheme = url.scheme();
        let mut here: Vec<_> = self.drivers.iter().flat_map(|d| d.schemes()).copied().collect();
        here.sort_unstable();
        let message = if here.is_empty() {
            format!("no driver answers to {scheme:?}, and there is none for another scheme either")
        } else {
            format!("no driver answers to {scheme:?}; the schemes here are {}", here.join(", "))
        };
        let feature = FEATURES.iter().find(|(known, _)| *known == scheme);
        let hint = match feature {
            Some((_, feature)) => format!("build with the cargo feature {feature:?}"),
            None if matches!(scheme, "http" | "https") => web_address(url),
            None if scheme.contains("sentinel") => "memquill asks no Sentinels: name the primary, as \
                in redis://host:6379; `redis-cli -p 26379 SENTINEL get-master-addr-by-name NAME` says \
                where it is"
                .to_owned(),
            // As other libraries write a file, and a driver of SQLite.
            None if scheme == "file" || scheme.starts_with("sqlite") => {
                // As it may be shown: what is before an @ is left out.
                let shown = url.to_string();
                let path = shown.split_once(':').map_or("", |(_, path)| path);
                let path = path.trim_start_matches('/');
                format!("write sqlite:{path}, or sqlite:/{path} for an absolute path")
            }
            None => did_you_mean(scheme, FEATURES.iter().map(|(known, _)| *known).chain(here))
                .unwrap_or_else(|| "register a driver for it".to_owned()),
        };
        Error::config(message).with_operation(operation::CONNECT).with_hint(hint)
    }
}

/// Says where an error happened. A hint that names the command names the library's way, too.
fn connecting(driver: &dyn Driver, error: Error) -> Error {
    let error = error.with_backend(driver.name()).with_operation(operation::CONNECT);
    let hint = error.hint().filter(|hint| hint.contains("`memquill migrate`"));
    match hint.map(|hint| format!("{hint}; or build the memory with MemoryBuilder::migrate")) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// Says how to write the address of a server's web interface as a store's URL.
fn web_address(url: &StoreUrl) -> String {
    let servers = url.server("qdrant://host:6334").map(|server| server.hosts).unwrap_or_default();
    let host = match servers.into_iter().next() {
        Some(host) if host.name.contains(':') => format!("[{}]", host.name),
        Some(host) => host.name,
        None => "HOST".to_owned(),
    };
    if url.scheme() == "http" {
        return format!("for Qdrant write qdrant://{host}:6334");
    }
    if host.ends_with(".supabase.co") {
        return "write the postgres:// URL that Supabase's dashboard shows under Connect"
            .to_owned();
    }
    format!("for Qdrant write qdrants://{host}:6334?api_key=KEY")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g10_a_web_address_is_refused_with_the_url_to_write() {
        for (url, hint) in [
            ("http://localhost:6333", "for Qdrant write qdrant://localhost:6334"),
            ("http://[::1]:6333/dashboard", "for Qdrant write qdrant://[::1]:6334"),
            (
                "https://xyz.cloud.qdrant.io:6333?api_key=CANARY",
                "for Qdrant write qdrants://xyz.cloud.qdrant.io:6334?api_key=KEY",
            ),
            (
                "https://xyz.supabase.co",
                "write the postgres:// URL that Supabase's dashboard shows under Connect",
            ),
        ] {
            let error = Registry::new().driver(&url.parse().unwrap()).unwrap_err();
            assert_eq!(error.hint(), Some(hint), "{error}");
            assert!(!format!("{error:?}").contains("CANARY"));
        }
    }
}
