//! What both facets share: the connection, and the names of keys.

use memquill_core::{Error, Result, Scope};
use redis::{Cmd, Value};

use crate::connection::{Connection, Script};
use crate::keys::ScopeKeys;
use crate::registry::Registry;
use crate::reply::Reply;

/// A connected store under one prefix.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) connection: Connection,
    pub(crate) prefix: String,
}

impl Store {
    pub(crate) fn keys(&self, scope: &Scope) -> ScopeKeys {
        ScopeKeys::new(&self.prefix, scope)
    }

    pub(crate) fn registry(&self) -> Registry<'_> {
        Registry { connection: &self.connection, prefix: &self.prefix }
    }

    /// Runs a script.
    pub(crate) async fn run(
        &self,
        script: &Script,
        keys: &[String],
        arguments: impl FnOnce(&mut Cmd),
    ) -> Result<Value> {
        self.connection.run(script, keys, arguments).await
    }

    /// Runs a script that may be the first to write into a scope, which it answers with
    /// `unregistered`. Gives the first word of its answer and the rest.
    pub(crate) async fn write(
        &self,
        scope: &Scope,
        script: &Script,
        keys: &[String],
        arguments: impl Fn(&mut Cmd),
    ) -> Result<(String, Reply)> {
        // An erasure may come between registration and write; so many at once do not.
        for _ in 0..4 {
            let mut reply = Reply::of_either(self.run(script, keys, &arguments).await?)?;
            let outcome = reply.text()?;
            if outcome != "unregistered" {
                return Ok((outcome, reply));
            }
            self.registry().register(scope).await?;
        }
        Err(Error::unavailable("the user is being erased over and over")
            .with_hint("write again when the erasures have ended"))
    }
}

/// What an answer says that it should not.
pub(crate) fn unknown_outcome(outcome: &str) -> Error {
    Error::internal(format!("a script answered {outcome:?}"))
}
