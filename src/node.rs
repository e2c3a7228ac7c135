//! Memory nodes as workflows write them, and the executions that they run in.

mod form;

use std::str::FromStr;
use std::time::Duration;

use memquill_core::json::{self, Object};
use memquill_core::kinds::{
    ConversationBufferConfig, KindName, Operation, SearchMode, SummarizedConversationConfig,
    VectorDatabaseConfig, WorkingMemoryConfig, strict,
};
use memquill_core::{Error, Facet, Feature, Result, Scope, did_you_mean};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use self::form::{Form, KEY_VALUE_STORE};

/// The user of a node that keeps nothing and is told no user (M6).
const ANONYMOUS: &str = "anonymous";

/// A memory node of a workflow (contract, section M).
///
/// In JSON it is `{"type": "MEMORY", "subtype": …, "configurations": {…}}` with an optional `id`
/// and `name`, and whatever else engines write around a node (N1, N2). The subtypes are
/// `CONVERSATION_BUFFER`, `CONVERSATION_SUMMARY`, `VECTOR_DATABASE`, `WORKING_MEMORY` and
/// `KEY_VALUE_STORE`, a working memory whose `default_ttl` is 0 (never). Among the configurations are those of the subtype, and
/// for every one:
///
/// - `operation`: `store`, `retrieve`, `get_context`, `clear` or `get_statistics`, of conversations
///   `truncate`, `pop` and `summarize` too, unless the input names one;
/// - `use_persistent_storage` (true): false keeps the node's memory in this process alone;
/// - `user_id` and `node_id`: whose memory it is, unless the [`ExecutionContext`] says so;
/// - `timeout` or `timeout_seconds`: how long an execution may take (N3);
/// - `enabled` (true): a node that is not does nothing, and says so (N3);
/// - `use_advanced`, `retry_attempts`, `retry_backoff_seconds`, `retry_backoff_factor`: accepted from
///   engines, and without meaning.
///
/// Any other key is `InvalidInput` with the nearest name as the hint.
///
/// ```
/// use memquill::nodes::Node;
/// let node: Node = r#"{
///     "type": "MEMORY",
///     "subtype": "CONVERSATION_BUFFER",
///     "configurations": {"operation": "store", "max_messages": 100, "max_tokens": 4000}
/// }"#.parse()?;
/// assert!(node.persistent);
/// # Ok::<(), memquill::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Node {
    /// Tells this node's memory from that of others.
    pub id: Option<String>,
    /// A name for people.
    pub name: Option<String>,
    /// What the node is, and its own configurations.
    pub settings: Settings,
    /// What it does unless the input says otherwise.
    pub operation: Option<Operation>,
    /// Whether its memory goes to the configured stores, or stays in this process.
    pub persistent: bool,
    /// Whose memory it is, unless the execution says so.
    pub user_id: Option<String>,
    /// As `id`, from the configurations; stands above it.
    pub node_id: Option<String>,
    /// How long an execution may take (N3).
    pub timeout: Option<Duration>,
    /// Whether it does anything (N3).
    pub enabled: bool,
}

/// What a node is, and the configurations of its subtype.
#[derive(Debug, Clone)]
pub enum Settings {
    /// `CONVERSATION_BUFFER`.
    ConversationBuffer(ConversationBufferConfig),
    /// `CONVERSATION_SUMMARY`.
    ConversationSummary(SummarizedConversationConfig),
    /// `VECTOR_DATABASE`.
    VectorDatabase(VectorDatabaseConfig),
    /// `WORKING_MEMORY` and `KEY_VALUE_STORE`.
    WorkingMemory(WorkingMemoryConfig),
}

/// What is known of the run that executes a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecutionContext {
    /// Whose memory it is.
    pub user_id: Option<String>,
    /// The node's id in the workflow.
    pub node_id: Option<String>,
    /// The workflow, for traces alone: memory outlives workflows.
    pub workflow_id: Option<String>,
    /// The run, for traces alone: memory outlives runs.
    pub execution_id: Option<String>,
}

impl ExecutionContext {
    /// A run on behalf of `user`.
    pub fn for_user(user: impl Into<String>) -> Self {
        Self { user_id: Some(user.into()), ..Self::default() }
    }

    /// Names the node.
    #[must_use]
    pub fn at_node(mut self, node: impl Into<String>) -> Self {
        self.node_id = Some(node.into());
        self
    }
}

impl Node {
    /// A persistent node of a subtype, with the given configurations of it.
    pub fn new(settings: Settings) -> Self {
        Self {
            id: None,
            name: None,
            settings,
            operation: None,
            persistent: true,
            user_id: None,
            node_id: None,
            timeout: None,
            enabled: true,
        }
    }

    /// Reads the JSON form.
    pub fn from_json(value: &Value) -> Result<Self> {
        let form = Form::read(value)?;
        let named = form.id.as_ref().or(form.name.as_ref()).cloned();
        Self::from_form(form).map_err(|error| match named {
            Some(name) => error.at(format_args!("node {name:?}")),
            None => error,
        })
    }

    fn from_form(form: Form) -> Result<Self> {
        let kind = form.kind()?;
        let what = form.subtype_name();
        let of_every_subtype = strict::keys::<Common>();
        let (common, mut settings): (Object, Object) = form
            .configurations
            .into_iter()
            .map(|(key, value)| (key, form::typed_default(value)))
            .partition(|(key, _)| of_every_subtype.contains(&key.as_str()));
        if what == KEY_VALUE_STORE {
            // Its values stay until they are removed; those of a working memory expire (M4).
            settings.entry("default_ttl").or_insert_with(|| 0.into());
        }
        let common: Common = strict::from_object(&what, &common)?;
        Ok(Self {
            id: form.id,
            name: form.name,
            operation: common.operation.as_deref().map(str::parse).transpose()?,
            persistent: common.use_persistent_storage.unwrap_or(true),
            timeout: common.timeout()?,
            enabled: common.enabled.unwrap_or(true),
            user_id: common.user_id,
            node_id: common.node_id,
            settings: Settings::read(kind, &settings)?,
        })
    }

    /// Whose memory the node works on in `context` (M6).
    ///
    /// The user is the context's, else the node's own. The node's id is the context's, else
    /// `node_id` of the configurations, else `id`, else the subtype in lower case, so that nodes
    /// without an id share one memory for each subtype and user.
    pub fn scope(&self, context: &ExecutionContext) -> Result<Scope> {
        let user = match context.user_id.as_ref().or(self.user_id.as_ref()) {
            Some(user) => user.as_str(),
            None if self.persistent => {
                return Err(Error::invalid_input("a persistent node needs a user").with_hint(
                    "name the user of the execution, or set use_persistent_storage to false",
                ));
            }
            None => ANONYMOUS,
        };
        let given = context.node_id.as_ref().or(self.node_id.as_ref()).or(self.id.as_ref());
        let node = given.cloned().unwrap_or_else(|| self.kind().as_str().to_ascii_lowercase());
        Scope::new(user, node)
    }

    /// What the node is.
    pub fn kind(&self) -> KindName {
        match &self.settings {
            Settings::ConversationBuffer(_) => KindName::ConversationBuffer,
            Settings::ConversationSummary(_) => KindName::ConversationSummary,
            Settings::VectorDatabase(_) => KindName::VectorDatabase,
            Settings::WorkingMemory(_) => KindName::WorkingMemory,
        }
    }

    /// The facets that its memory is kept in.
    pub(crate) fn facets(&self) -> &'static [Facet] {
        match &self.settings {
            Settings::ConversationBuffer(_) => &[Facet::Conversations],
            Settings::ConversationSummary(_) => &[Facet::Conversations, Facet::Working],
            Settings::VectorDatabase(_) => &[Facet::Vectors],
            Settings::WorkingMemory(_) => &[Facet::Working],
        }
    }

    /// What its store must be able to do.
    pub(crate) fn needs(&self) -> Option<Feature> {
        match &self.settings {
            Settings::ConversationBuffer(_) | Settings::ConversationSummary(_) => {
                Some(Feature::Retention)
            }
            Settings::VectorDatabase(config) => {
                (config.search != SearchMode::Vector).then_some(Feature::TextSearch)
            }
            Settings::WorkingMemory(config) => {
                config.refresh_on_read.then_some(Feature::SlidingExpiry)
            }
        }
    }

    /// The operation that the input names, else the node's own, and the input without it.
    pub(crate) fn operation(&self, input: &Value) -> Result<(Operation, Value)> {
        let mut input = match input {
            Value::Object(object) => object.clone(),
            Value::Null => Object::new(),
            _ => {
                return Err(Error::invalid_input("the input is a JSON object")
                    .with_hint("give {} where there is nothing to say"));
            }
        };
        let named = text(&input, "operation")?.as_deref().map(str::parse).transpose()?;
        input.shift_remove("operation");
        let operation = named.or(self.operation).ok_or_else(|| {
            Error::invalid_input("neither node nor input names an operation").with_hint(
                "the operations of every memory are store, retrieve, get_context, clear and \
                     get_statistics",
            )
        })?;
        Ok((operation, Value::Object(input)))
    }
}

impl FromStr for Node {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::from_json(&json::parse(text)?)
    }
}

impl Settings {
    fn read(kind: KindName, object: &Object) -> Result<Self> {
        let what = kind.as_str();
        let settings = match kind {
            KindName::ConversationBuffer => {
                strict::from_object(what, object).map(Self::ConversationBuffer)
            }
            KindName::ConversationSummary => {
                strict::from_object(what, object).map(Self::ConversationSummary)
            }
            KindName::VectorDatabase => strict::from_object(what, object).map(Self::VectorDatabase),
            KindName::WorkingMemory => strict::from_object(what, object).map(Self::WorkingMemory),
        };
        // The subtype's reader does not know the keys that every subtype has.
        settings.map_err(|error| {
            let common = strict::keys::<Common>();
            let misspelt = object.keys().find_map(|key| did_you_mean(key, common.iter().copied()));
            match misspelt {
                Some(hint) if !error.hint().unwrap_or_default().starts_with("did you mean") => {
                    error.with_hint(hint)
                }
                _ => error,
            }
        })
    }
}

/// The configurations that every subtype has.
#[derive(Deserialize)]
struct Common {
    operation: Option<String>,
    use_persistent_storage: Option<bool>,
    user_id: Option<String>,
    node_id: Option<String>,
    enabled: Option<bool>,
    timeout: Option<f64>,
    timeout_seconds: Option<f64>,
    retry_attempts: Option<u32>,
    #[serde(rename = "retry_backoff_seconds")]
    _retry_backoff_seconds: Option<f64>,
    #[serde(rename = "retry_backoff_factor")]
    _retry_backoff_factor: Option<f64>,
    #[serde(rename = "use_advanced")]
    _use_advanced: Option<IgnoredAny>,
}

impl Common {
    /// Checks the engine's keys and returns how long an execution may take.
    fn timeout(&self) -> Result<Option<Duration>> {
        if let Some(attempts) = self.retry_attempts.filter(|attempts| *attempts > 10) {
            return Err(Error::invalid_input(format!("retry_attempts is {attempts}"))
                .with_hint("give 0 to 10; it means nothing here: layers retry what is safe"));
        }
        let given = [("timeout", self.timeout), ("timeout_seconds", self.timeout_seconds)];
        for (key, seconds) in given {
            if let Some(seconds) = seconds.filter(|seconds| !(1.0..=1000.0).contains(seconds)) {
                return Err(Error::invalid_input(format!("{key} is {seconds}"))
                    .with_hint("give seconds from 1 to 1000"));
            }
        }
        Ok(self.timeout_seconds.or(self.timeout).map(Duration::from_secs_f64))
    }
}

fn text(object: &Object, key: &str) -> Result<Option<String>> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Error::invalid_input(format!("{key} is text"))),
    }
}
