//! Memory kinds: what a node of a workflow names (contract, section M).
//!
//! A kind stands on one facet and belongs to one scope. It has a typed API of its own, and
//! [`MemoryKind`] over it, which takes and gives JSON: an operation's input is an object, and its
//! answer is an object with `success`, never a panic or a Rust error. Inputs are strict: a key that
//! an operation does not know is refused, with the nearest that it knows (G10).
//!
//! ```
//! use memquill_core::kinds::{KindName, Operation};
//! assert_eq!("key_value_store".parse::<KindName>()?, KindName::WorkingMemory);
//! let error = "get_kontext".parse::<Operation>().unwrap_err();
//! assert_eq!(error.hint(), Some(r#"did you mean "get_context"?"#));
//! # Ok::<(), memquill_core::Error>(())
//! ```

pub(crate) mod context;
mod conversation_buffer;
mod conversation_summary;
pub mod strict;
mod vector_database;
mod working_memory;

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use serde_json::Value;

pub use self::context::Context;
pub(crate) use self::conversation_buffer::line::speaker;
pub use self::conversation_buffer::{
    ConversationBuffer, ConversationBufferConfig, ConversationContext, ConversationFormat,
    ConversationWindow,
};
pub use self::conversation_summary::{
    Advanced, ConversationDigest, SummarizedContext, SummarizedConversation,
    SummarizedConversationConfig, SummarizedMessages, SummaryTrigger, TimeRange, WhenUnsummarised,
};
pub use self::vector_database::{
    Document, DocumentContext, DocumentFormat, DocumentQuery, DocumentResults, Neighbours,
    SearchMode, VectorDatabase, VectorDatabaseConfig, VectorDatabaseStatistics,
};
pub use self::working_memory::{
    EntryContext, EntryFormat, EntryWindow, NewEntry, StoredEntry, Ttl, WorkingMemory,
    WorkingMemoryConfig,
};
use crate::error::{Error, Result};
use crate::json::Object;
use crate::suggest::did_you_mean;

/// What a node does with a memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Adds to it.
    Store,
    /// Reads from it as data.
    Retrieve,
    /// Reads from it as text for a model.
    GetContext,
    /// Empties it, or a part of it.
    Clear,
    /// Counts it.
    GetStatistics,
    /// Makes a summary now.
    Summarize,
    /// Removes what was said behind a number.
    Truncate,
    /// Removes what was said last, and gives it.
    Pop,
}

impl Operation {
    /// All operations.
    pub const ALL: [Self; 8] = [
        Self::Store,
        Self::Retrieve,
        Self::GetContext,
        Self::Clear,
        Self::GetStatistics,
        Self::Summarize,
        Self::Truncate,
        Self::Pop,
    ];

    /// The operation's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Retrieve => "retrieve",
            Self::GetContext => "get_context",
            Self::Clear => "clear",
            Self::GetStatistics => "get_statistics",
            Self::Summarize => "summarize",
            Self::Truncate => "truncate",
            Self::Pop => "pop",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Operation {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = Self::ALL.map(Self::name);
        Self::ALL
            .into_iter()
            .find(|operation| operation.name() == name)
            .ok_or_else(|| unknown("memory operation", name, &known))
    }
}

/// The name of a memory kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KindName {
    /// [`ConversationBuffer`].
    ConversationBuffer,
    /// [`SummarizedConversation`].
    ConversationSummary,
    /// [`VectorDatabase`].
    VectorDatabase,
    /// [`WorkingMemory`], also named `KEY_VALUE_STORE`.
    WorkingMemory,
}

impl KindName {
    /// All kinds.
    pub const ALL: [Self; 4] = [
        Self::ConversationBuffer,
        Self::ConversationSummary,
        Self::VectorDatabase,
        Self::WorkingMemory,
    ];

    /// The name as it is written in a workflow.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConversationBuffer => "CONVERSATION_BUFFER",
            Self::ConversationSummary => "CONVERSATION_SUMMARY",
            Self::VectorDatabase => "VECTOR_DATABASE",
            Self::WorkingMemory => "WORKING_MEMORY",
        }
    }
}

impl fmt::Display for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KindName {
    type Err = Error;

    /// Reads a name in upper or lower case.
    fn from_str(name: &str) -> Result<Self> {
        const ALIAS: (&str, KindName) = ("KEY_VALUE_STORE", KindName::WorkingMemory);
        let mut named = Self::ALL.map(|kind| (kind.as_str(), kind)).into_iter().chain([ALIAS]);
        named.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, kind)| kind).ok_or_else(
            || {
                let [a, b, c, d] = Self::ALL.map(Self::as_str);
                unknown("memory kind", name, &[a, b, c, d, ALIAS.0])
            },
        )
    }
}

/// The error of an operation that a kind does not have.
pub(crate) fn not_offered(kind: KindName, operation: Operation) -> Error {
    Error::invalid_input(format!("{kind} has no operation {operation}")).with_hint(
        match operation {
            Operation::Summarize => "CONVERSATION_SUMMARY summarizes",
            _ => "conversations are truncated and popped",
        },
    )
}

fn unknown(what: &str, name: &str, known: &[&str]) -> Error {
    let hint = did_you_mean(name, known.iter().copied())
        .unwrap_or_else(|| format!("the names are {}", known.join(", ")));
    Error::invalid_input(format!("there is no {what} {name:?}")).with_hint(hint)
}

/// A memory as a workflow node uses it: JSON in, JSON out.
#[async_trait]
pub trait MemoryKind: Send + Sync + fmt::Debug {
    /// Which kind it is.
    fn name(&self) -> KindName;

    /// Does `operation` with `input`; gives the fields of the answer beside `success`.
    async fn try_execute(&self, operation: Operation, input: &Object) -> Result<Object>;

    /// Does `operation` with `input`, an object, or `null` for one without keys, and gives the
    /// answer: `success: true` and its fields, or what [`failure`] makes of the error (M1).
    async fn execute(&self, operation: Operation, input: &Value) -> Value {
        let nothing = Object::new();
        let result = match input {
            Value::Object(input) => self.try_execute(operation, input).await,
            Value::Null => self.try_execute(operation, &nothing).await,
            _ => Err(Error::invalid_input(format!("the input of {operation} is an object"))),
        };
        match result {
            Ok(fields) => {
                let mut answer = object([("success", true.into())]);
                answer.extend(fields);
                Value::Object(answer)
            }
            Err(error) => failure(&error.with_operation(operation.name())),
        }
    }
}

/// Makes the answer that reports an error (M1): `success: false`, and the serde form of the error
/// as `error`.
pub fn failure(error: &Error) -> Value {
    serde_json::json!({"success": false, "error": error})
}

/// Returns the fields of an error (M1).
pub(crate) fn fields(error: &Error) -> Object {
    let mut fields = object([
        ("code", error.code().into()),
        ("message", error.message().into()),
        ("hint", error.hint().into()),
        ("backend", error.backend().into()),
        ("operation", error.operation().into()),
        ("retryable", error.is_transient().into()),
    ]);
    if error.maybe_applied() {
        fields.insert("maybe_applied".into(), true.into());
    }
    if let Some(version) = error.current_version() {
        fields.insert("current_version".into(), version.into());
    }
    if let Some(delay) = error.retry_after() {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        fields.insert("retry_after_ms".into(), millis.into());
    }
    if !error.context().is_empty() {
        fields.insert("context".into(), context(error).into());
    }
    fields
}

/// The facts of an error; one that it has several times is a list.
fn context(error: &Error) -> Object {
    let mut context = Object::new();
    for (key, value) in error.context() {
        match context.get_mut(*key) {
            Some(Value::Array(values)) => values.push(value.as_str().into()),
            Some(first) => *first = Value::Array(vec![first.take(), value.as_str().into()]),
            None => drop(context.insert((*key).to_owned(), value.as_str().into())),
        }
    }
    context
}

/// An object of the fields, in their order.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Object {
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A time as its text, or `null`.
fn moment(time: Option<crate::Timestamp>) -> Value {
    time.map(|time| time.to_string()).into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn m1_a_failure_says_what_a_caller_can_act_on() {
        let error = Error::conflict("the entry is at version 3")
            .with_hint("read it again")
            .with_backend("inmemory")
            .with_operation("put")
            .with_current_version(3);
        assert_eq!(
            failure(&error),
            json!({"success": false, "error": {
                "code": "conflict", "message": "the entry is at version 3",
                "hint": "read it again", "backend": "inmemory", "operation": "put",
                "retryable": false, "current_version": 3}})
        );
        let error = failure(&Error::new(crate::ErrorKind::Timeout, "no answer"));
        assert_eq!(error["error"]["retryable"], true);
        assert_eq!(error["error"]["maybe_applied"], true);
        assert_eq!(error["error"]["hint"], Value::Null);
    }

    #[test]
    fn names_are_read_back_and_wrong_ones_get_a_hint() {
        for operation in Operation::ALL {
            assert_eq!(operation.name().parse::<Operation>().unwrap(), operation);
        }
        for kind in KindName::ALL {
            assert_eq!(kind.as_str().to_lowercase().parse::<KindName>().unwrap(), kind);
        }
        let error = "CONVERSATION_BUFER".parse::<KindName>().unwrap_err();
        assert_eq!(error.hint(), Some(r#"did you mean "CONVERSATION_BUFFER"?"#));
        let error = "xyz".parse::<Operation>().unwrap_err();
        assert!(error.hint().unwrap().contains("get_statistics"));
    }
}
