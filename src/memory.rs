//! Memory over one or several stores.

mod builder;
mod counting;
mod requirements;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use memquill_core::kinds::{
    self, ConversationBuffer, MemoryKind, Operation, SummarizedConversation, VectorDatabase,
    WorkingMemory,
};
use memquill_core::{
    Backend, ConversationStore, Embedder, ErasureReceipt, Error, ErrorKind, Facet, Health,
    Migration, Result, RetryHint, Scope, Summarizer, TokenCounter, VectorStore, WorkingStore,
};
#[cfg(feature = "transfer")]
use memquill_transfer::Endpoint;
use serde_json::{Value, json};
use tracing::Instrument as _;

pub use self::builder::MemoryBuilder;
use crate::config::Config;
use crate::node::{ExecutionContext, Node, Settings};
use crate::registry::Registry;
use crate::scoped::ScopedMemory;

/// Memory over one or several stores, each facet bound to one of them, and a store in this process
/// for what is not to be kept. Cheap to clone; clones share the connections.
///
/// It is opened from a [`Config`] or built with [`Memory::builder`], and starts only when its
/// stores offer all that its nodes need.
#[derive(Debug, Clone)]
pub struct Memory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    stores: BTreeMap<String, Backend>,
    facets: BTreeMap<Facet, String>,
    transient: Option<Backend>,
    embedder: Arc<dyn Embedder>,
    counter: Arc<dyn TokenCounter>,
    summarizer: Arc<dyn Summarizer>,
    nodes: BTreeMap<String, Node>,
}

impl Memory {
    /// Connects to the stores of a configuration.
    ///
    /// Fails with `Config` naming every gap at once where a store lacks what a facet or node needs.
    pub async fn open(config: &Config, registry: Registry) -> Result<Self> {
        MemoryBuilder::from_config(config, registry).build().await
    }

    /// Connects to one store, which keeps everything, with the defaults: feature hashing, the heuristic
    /// token counter, and [`Layers::default`](crate::layers::Layers) around the store's calls.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let memory = memquill::Memory::connect("sqlite::memory:").await?;
    /// assert!(memory.vectors().is_ok());
    /// memory.close().await?;
    /// # Ok::<(), memquill::Error>(()) }).unwrap();
    /// ```
    pub async fn connect(url: impl AsRef<str>) -> Result<Self> {
        Self::builder().store("main", url).build().await
    }

    /// Brings the store at `url` to its driver's schema, and says what it did (G13): idempotent, and
    /// safe to call from many processes at once. The URL's user needs the rights of an
    /// administrator. SQLite and stores in this process are prepared by connecting to them.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let done = memquill::Memory::migrate("sqlite::memory:").await?;
    /// println!("applied: {}", done.applied.join(", "));
    /// # Ok::<(), memquill::Error>(()) }).unwrap();
    /// ```
    pub async fn migrate(url: impl AsRef<str>) -> Result<Migration> {
        let admin = Registry::with_compiled_drivers().admin(&url.as_ref().parse()?).await?;
        let migrated = admin.migrate().await;
        let closed = admin.close().await;
        migrated.and_then(|migration| closed.map(|()| migration))
    }

    /// Returns what `user` has at the memory node `node`: conversations, documents and working
    /// memory, in plain Rust values. An application begins here.
    ///
    /// Nobody else sees it (G1). A name that is not legal is `InvalidInput` (G2).
    pub fn scope(&self, user: impl Into<String>, node: impl Into<String>) -> Result<ScopedMemory> {
        Ok(self.with_scope(Scope::new(user, node)?))
    }

    /// Returns what belongs to a scope that was made before; see [`scope`](Self::scope).
    pub fn with_scope(&self, scope: Scope) -> ScopedMemory {
        ScopedMemory::new(self.clone(), scope)
    }

    /// Builds it step by step.
    pub fn builder() -> MemoryBuilder {
        MemoryBuilder::default()
    }

    /// The store of conversations.
    pub fn conversations(&self) -> Result<&Arc<dyn ConversationStore>> {
        self.backend(Facet::Conversations)?.conversations()
    }

    /// The store of vectors.
    pub fn vectors(&self) -> Result<&Arc<dyn VectorStore>> {
        self.backend(Facet::Vectors)?.vectors()
    }

    /// The store of working memory.
    pub fn working(&self) -> Result<&Arc<dyn WorkingStore>> {
        self.backend(Facet::Working)?.working()
    }

    /// The store that a facet is bound to.
    pub fn backend(&self, facet: Facet) -> Result<&Backend> {
        let bound = self.0.facets.get(&facet).and_then(|store| self.0.stores.get(store));
        bound.ok_or_else(|| {
            Error::config(format!("no store is bound to {facet}")).with_hint(format!(
                "bind one by .bind(Facet, NAME) or .default_store(NAME), or name it under {:?} \
                     or \"default\" in a configuration",
                facet.as_str()
            ))
        })
    }

    /// The facets that are bound, each on its store: an endpoint of a [`transfer`](crate::transfer).
    #[cfg(feature = "transfer")]
    pub fn endpoint(&self) -> Endpoint {
        let bound = Facet::ALL.into_iter().filter_map(|f| Some((f, self.backend(f).ok()?)));
        bound.fold(Endpoint::new(), |side, (facet, backend)| side.with(facet, backend.clone()))
    }

    /// The name of the store that a facet is bound to.
    pub fn store_of(&self, facet: Facet) -> Option<&str> {
        self.0.facets.get(&facet).map(String::as_str)
    }

    /// All stores, by name.
    pub fn stores(&self) -> &BTreeMap<String, Backend> {
        &self.0.stores
    }

    /// What turns text into vectors.
    pub fn embedder(&self) -> &Arc<dyn Embedder> {
        &self.0.embedder
    }

    /// What counts tokens.
    pub fn counter(&self) -> &Arc<dyn TokenCounter> {
        &self.0.counter
    }

    /// What makes summaries.
    pub fn summarizer(&self) -> &Arc<dyn Summarizer> {
        &self.0.summarizer
    }

    /// A node of the configuration.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.0.nodes.get(name)
    }

    /// The memory kind that a node names, on the stores it is routed to (M6).
    pub fn kind(&self, node: &Node, context: &ExecutionContext) -> Result<Box<dyn MemoryKind>> {
        let scope = node.scope(context)?;
        let backend = |facet| if node.persistent { self.backend(facet) } else { self.transient() };
        let counter = Arc::clone(&self.0.counter);
        Ok(match &node.settings {
            Settings::ConversationBuffer(config) => {
                let store = Arc::clone(backend(Facet::Conversations)?.conversations()?);
                Box::new(ConversationBuffer::from_config(scope, store, counter, config)?)
            }
            Settings::ConversationSummary(config) => {
                let conversations = Arc::clone(backend(Facet::Conversations)?.conversations()?);
                let working = Arc::clone(backend(Facet::Working)?.working()?);
                let summarizer = Arc::clone(&self.0.summarizer);
                Box::new(SummarizedConversation::new(
                    scope,
                    conversations,
                    working,
                    counter,
                    summarizer,
                    config.clone(),
                )?)
            }
            Settings::VectorDatabase(config) => {
                let store = Arc::clone(backend(Facet::Vectors)?.vectors()?);
                let embedder = Arc::clone(&self.0.embedder);
                Box::new(VectorDatabase::new(scope, store, embedder, counter, config.clone())?)
            }
            Settings::WorkingMemory(config) => {
                let store = Arc::clone(backend(Facet::Working)?.working()?);
                Box::new(WorkingMemory::new(scope, store, counter, config.clone())?)
            }
        })
    }

    /// Executes a node: an answer of section M, with `success` and, where that is false, `error`
    /// (M1). An `operation` in the input stands above the node's own. A node with a timeout needs a
    /// tokio runtime with time.
    pub async fn execute(&self, node: &Node, context: &ExecutionContext, input: &Value) -> Value {
        let span = tracing::debug_span!(
            target: memquill_core::layer::TARGET,
            "memory node",
            memory.kind = node.kind().as_str(),
            memory.node = context.node_id.as_deref().or(node.id.as_deref()),
            workflow.id = context.workflow_id.as_deref(),
            workflow.execution.id = context.execution_id.as_deref(),
        );
        let run = async {
            let (operation, input) = node.operation(input)?;
            let kind = self.kind(node, context)?;
            let call = kind.execute(operation, &input);
            Ok(match node.timeout {
                None => call.await,
                Some(patience) => match memquill_layers::within(patience, call).await {
                    Some(answer) => answer,
                    None => kinds::failure(&late(patience, operation)),
                },
            })
        };
        if !node.enabled {
            return json!({"success": true, "skipped": true});
        }
        run.instrument(span).await.unwrap_or_else(|error: Error| kinds::failure(&error))
    }

    /// The health of every store, by name (G14). All are asked at once, so that the answer is there
    /// within `deadline` however many are lost.
    pub async fn health(&self, deadline: Duration) -> BTreeMap<String, Health> {
        let asking = self.0.stores.iter().map(|(name, backend)| async move {
            (name.clone(), backend.control().health(deadline).await)
        });
        join_all(asking).await.into_iter().collect()
    }

    /// Removes everything that `user` has in every store, in this process too (G12).
    ///
    /// Where a store fails, the others are erased all the same; the error is of the first that
    /// failed, and its context names that store and what was erased in the others. The call can be
    /// repeated.
    pub async fn erase(&self, user: &str) -> Result<BTreeMap<String, ErasureReceipt>> {
        let mut receipts = BTreeMap::new();
        let mut failure = None;
        for (name, backend) in &self.0.stores {
            match backend.control().erase(user).await {
                Ok(receipt) => drop(receipts.insert(name.clone(), receipt)),
                Err(error) => drop(failure.get_or_insert((name, error))),
            }
        }
        if let Some(backend) = &self.0.transient {
            backend.control().erase(user).await?;
        }
        let Some((name, error)) = failure else { return Ok(receipts) };
        let applied = error.maybe_applied() || !receipts.is_empty();
        let mut error = error.with_context("store", name).with_maybe_applied(applied);
        for (name, ErasureReceipt { messages, records, entries }) in &receipts {
            let erased =
                format!("{name}: {messages} messages, {records} records, {entries} entries");
            error = error.with_context("erased", erased);
        }
        Err(error)
    }

    /// Closes all stores at once, after the calls that are under way; every later call through this
    /// memory or a clone of it is `Unavailable` (G15). The error names every store that could not be
    /// closed.
    ///
    /// A program calls this last, after its server has stopped taking requests. An SQLite file is
    /// then whole by itself. A memory that is dropped instead loses nothing that was acknowledged,
    /// but may leave the newest part of the data in the `-wal` file beside the SQLite file, which
    /// belongs to the database and must be copied with it; the next program that opens the file
    /// takes it up.
    pub async fn close(&self) -> Result<()> {
        let stores = self.0.stores.iter().map(|(name, backend)| (name.as_str(), backend));
        let transient = self.0.transient.iter().map(|backend| ("transient", backend));
        let closing = stores.chain(transient).map(|(name, backend)| async move {
            backend.close().await.map_err(|error| error.with_context("store", name))
        });
        let failures = join_all(closing).await.into_iter().filter_map(Result::err).collect();
        merge_errors("cannot close the stores", failures)
    }

    fn transient(&self) -> Result<&Backend> {
        self.0.transient.as_ref().ok_or_else(|| {
            Error::config("there is no store for what is not persistent")
                .with_hint("build with the cargo feature \"inmemory\"")
        })
    }
}

/// The error of an execution that outlasted its node's timeout (N3).
fn late(patience: Duration, operation: Operation) -> Error {
    let reads =
        matches!(operation, Operation::Retrieve | Operation::GetContext | Operation::GetStatistics);
    Error::new(ErrorKind::Timeout, format!("the node did not end within {patience:?}"))
        .with_operation(operation.name())
        .with_maybe_applied(!reads)
        .with_hint("raise the node's timeout, or find out why the store is slow")
}

/// Fails with the one error, or with one for all, of which each is a fact in the context. It is worth
/// a retry only where each is.
fn merge_errors(message: &'static str, mut errors: Vec<Error>) -> Result<()> {
    let Some(first) = errors.first() else { return Ok(()) };
    if errors.len() == 1 {
        return errors.pop().map_or(Ok(()), Err);
    }
    let transient = errors.iter().all(Error::is_transient);
    let retry = if transient { RetryHint::Transient } else { RetryHint::Permanent };
    let mut hints: Vec<&str> = errors.iter().filter_map(Error::hint).collect();
    let mut seen = BTreeSet::new();
    hints.retain(|hint| seen.insert(*hint));
    let mut merged = Error::new(first.kind(), message).with_retry(retry);
    if let Some(operation) = first.operation() {
        merged = merged.with_operation(operation);
    }
    if !hints.is_empty() {
        merged = merged.with_hint(hints.join("; "));
    }
    for error in &errors {
        let place: Vec<String> =
            error.context().iter().map(|(key, value)| format!("{key} {value}: ")).collect();
        let place = place.concat();
        merged = merged.with_context("problem", format!("{place}{}", error.message()));
    }
    Err(merged)
}
