//! What a command works on: the stores that the command line names.

#[cfg(feature = "postgres")]
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use directories::ProjectDirs;
use memquill::config::Config;
use memquill::driver::{Administrator, Backend, Registry, StoreUrl};
use memquill::kinds::KindName;
use memquill::nodes::ExecutionContext;
use memquill::{Error, ErrorKind, Memory, Result, Scope};

use crate::args::{Global, Secret};
use crate::input::text;
use crate::opened::Opened;
use crate::{Done, Failure};

/// The user of commands that have a default one.
const LOCAL_USER: &str = "local";

/// The stores, and the user and node to work on.
pub(crate) struct Session {
    pub(crate) config: Config,
    pub(crate) registry: Registry,
    user: Option<String>,
    node: Option<String>,
    flags: String,
    opened: Arc<Opened>,
}

impl Session {
    /// Reads the configuration; connects to nothing yet.
    pub(crate) fn new(global: &Global, registry: Registry) -> Result<Self> {
        let mut config = match (&global.config, &global.store) {
            (Some(file), _) => configuration(file)?,
            (None, Some(Secret(url))) => Config::of_store(url.parse()?),
            (None, None) => match std::env::var("MEMQUILL_STORE") {
                Ok(url) => Config::of_store(url.parse()?),
                Err(_) => Config::of_store(match store_of_environment()? {
                    Some(url) => url,
                    None => default_store(&registry)?,
                }),
            },
        };
        if let Some(embedder) = &global.embedder {
            config.embedder = embedder.parse()?;
        } else if global.config.is_none()
            && let Ok(embedder) = std::env::var("MEMQUILL_EMBEDDER")
        {
            config.embedder = embedder.parse()?;
        }
        // Spans cost nothing where the log does not want them.
        config.trace = true;
        Ok(Self {
            flags: flags(global, &config),
            config,
            registry,
            user: global.user.clone(),
            node: global.node.clone(),
            opened: Arc::default(),
        })
    }

    /// Connects to the stores to write to them; a file that is not there is made.
    pub(crate) async fn memory(&self) -> Result<Memory> {
        self.memory_of(&self.config).await
    }

    /// Connects to the stores to read from them: each must exist.
    pub(crate) async fn existing_memory(&self) -> Result<Memory> {
        self.memory_of(&existing(&self.config)).await
    }

    /// Connects to the stores to write to them. A file that does not exist is created only if there
    /// is something to store; otherwise the memory is of this process alone.
    pub(crate) async fn memory_for(&self, has_work: impl AsyncFnOnce() -> bool) -> Result<Memory> {
        match self.existing_memory().await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if has_work().await {
                    self.memory().await
                } else {
                    self.transient_memory().await
                }
            }
            opened => opened,
        }
    }

    /// Opens a memory that ends with this process, with the embedder and the token counter of the
    /// configuration.
    pub(crate) async fn transient_memory(&self) -> Result<Memory> {
        let mut config = Config::of_store("memory:".parse()?);
        config.embedder = self.config.embedder.clone();
        config.tokens = self.config.tokens;
        config.trace = self.config.trace;
        self.memory_of(&config).await
    }

    /// Connects to the stores of another configuration.
    pub(crate) async fn memory_of(&self, config: &Config) -> Result<Memory> {
        Ok(self.opened.memory(Memory::open(config, self.registry.clone()).await?))
    }

    /// Connects to one store.
    pub(crate) async fn connect(&self, url: &StoreUrl) -> Result<Backend> {
        Ok(self.opened.backend(self.registry.connect(url).await?))
    }

    /// Connects to one store for administration.
    pub(crate) async fn admin(&self, url: &StoreUrl) -> Result<Administrator> {
        Ok(self.opened.admin(self.registry.admin(url).await?))
    }

    /// The stores that were opened, to be closed before the process ends.
    pub(crate) fn opened(&self) -> Arc<Opened> {
        Arc::clone(&self.opened)
    }

    /// The options that lead to the same stores and user, as a person types them.
    pub(crate) fn flags(&self) -> &str {
        &self.flags
    }

    /// The user that was named.
    pub(crate) fn named_user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Refuses `--node` for a command that is about all nodes.
    pub(crate) fn of_all_nodes(&self) -> Done {
        match &self.node {
            Some(node) => Err(Failure::Usage(
                Error::invalid_input(format!(
                    "this command works on all nodes, but --node names {node:?}"
                ))
                .with_hint("leave out --node"),
            )),
            None => Ok(()),
        }
    }

    /// The user, named or the default one.
    pub(crate) fn user(&self) -> &str {
        self.named_user().unwrap_or(LOCAL_USER)
    }

    /// The scope of a command that is about one kind: its node is the one that nodes of the kind
    /// without an id share, so that `run` and the other commands meet.
    pub(crate) fn scope(&self, kind: KindName) -> Result<Scope> {
        let shared = || kind.as_str().to_ascii_lowercase();
        Scope::new(self.user(), self.node.clone().unwrap_or_else(shared))
    }

    /// The execution of a node, with a user only where one was named (M6).
    pub(crate) fn execution(&self) -> ExecutionContext {
        ExecutionContext {
            user_id: self.user.clone(),
            node_id: self.node.clone(),
            ..ExecutionContext::default()
        }
    }
}

/// The configuration for a command that only reads: no store is made.
pub(crate) fn existing(config: &Config) -> Config {
    let mut config = config.clone();
    config.stores = config.stores.into_iter().map(|(name, url)| (name, url.existing())).collect();
    config
}

/// Reads a configuration, in whatever encoding of Unicode it is.
pub(crate) fn configuration(file: &Path) -> Result<Config> {
    let text = text::read_text(file)?;
    Config::from_text(&file.display().to_string(), &text, &|name| std::env::var(name).ok())
}

fn flags(global: &Global, config: &Config) -> String {
    let mut flags = String::new();
    if let Some(file) = &global.config {
        flags.extend([" --config ", &text::shown(file)]);
    } else if global.store.is_some() {
        // Without its credentials.
        flags.extend(
            config.stores.values().map(|url| format!(" --store {}", text::shell(&url.to_string()))),
        );
    }
    flags.extend(
        global.embedder.iter().map(|embedder| format!(" --embedder {}", text::shell(embedder))),
    );
    flags.extend(global.user.iter().map(|user| format!(" --user {}", text::shell(user))));
    flags
}

/// The store that the environment names for everybody, told on stderr: who set the variable may have
/// meant another program.
#[cfg(feature = "postgres")]
fn store_of_environment() -> Result<Option<StoreUrl>> {
    let named = memquill::driver::postgres_from_environment(|name| std::env::var(name).ok())?;
    Ok(named.map(|(variable, url)| {
        // A reader that is gone wants no note.
        let _ = writeln!(std::io::stderr(), "store: {url}, of {variable}");
        url
    }))
}

/// Without its driver, a Postgres that the environment names is not this program's to take.
#[cfg(not(feature = "postgres"))]
#[expect(clippy::unnecessary_wraps, reason = "as with the driver")]
fn store_of_environment() -> Result<Option<StoreUrl>> {
    Ok(None)
}

/// A file in the user's data directory; without a driver that keeps, this process's memory.
fn default_store(registry: &Registry) -> Result<StoreUrl> {
    if !registry.drivers().iter().any(|driver| driver.schemes().contains(&"sqlite")) {
        return "memory:".parse();
    }
    let directories = ProjectDirs::from("", "", "memquill").ok_or_else(|| {
        Error::config("there is no home directory to keep a default store in")
            .with_hint("name a store, as in --store sqlite:agent.db")
    })?;
    let file = directories.data_dir().join("memory.db").display().to_string();
    format!("sqlite:{}", file.replace('%', "%25").replace('?', "%3F")).parse()
}
