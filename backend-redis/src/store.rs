//! The connected store that all facets share: the connection, and the names of keys.

use futures_util::future::try_join;
use memquill_core::{Error, Result, Scope};
use redis::{Cmd, Value};

use crate::codec::Reply;
use crate::connection::{Connection, Script};
use crate::keys::ScopeKeys;
use crate::registry::Registry;
use crate::schema;

/// A connected store under one prefix.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) connection: Connection,
    pub(crate) prefix: String,
    /// Whether a server keeps nothing on disk, so that a restart empties it.
    pub(crate) volatile: bool,
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

    /// Registers a scope. A server that keeps nothing on disk may have restarted empty: then the
    /// schema's version is gone too, and who writes puts it back, at the same time.
    async fn register(&self, scope: &Scope) -> Result<()> {
        let registry = self.registry();
        if !self.volatile {
            return registry.register(scope).await;
        }
        try_join(registry.register(scope), schema::write(self)).await.map(drop)
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
        // An erasure may end a registration before the write; four in a row are not expected.
        for _ in 0..4 {
            let mut reply = Reply::of_either(self.run(script, keys, &arguments).await?)?;
            let outcome = reply.text()?;
            if outcome != "unregistered" {
                return Ok((outcome, reply));
            }
            self.register(scope).await?;
        }
        Err(Error::unavailable("the user is being erased over and over")
            .with_hint("write again when the erasures have ended"))
    }
}

/// Makes the error of an answer that no script gives.
pub(crate) fn unknown_outcome(outcome: &str) -> Error {
    Error::internal(format!("a script answered {outcome:?}"))
}
