//! Which users have which scopes, so that erasure finds them all (G12).
//!
//! Lists of users and of a user's nodes live in other slots than the scopes, where no step spans
//! both. A scope is therefore registered before its first write: the driver registers user and node,
//! starts the scope's counter of versions, and then checks that no erasure has begun meanwhile. Every
//! write demands the counter. An erasure marks the name, removes the scope with its counter, and
//! removes the name only if the mark is still its own. So whatever is written has a registered name,
//! wherever a process dies; at worst a name outlives its data, and is not listed.

use memquill_core::{ErasureReceipt, Error, Result, Scope};
use redis::Value;

use crate::codec::{self, Reply};
use crate::connection::{Connection, Script, script};
use crate::keys::{ListKeys, ScopeKeys};

/// How often a registration that an erasure undid is repeated.
const MAX_ATTEMPTS: usize = 16;

/// How many names are read at once.
const PAGE_SIZE: usize = 500;

static REGISTER: Script = script!(writing, "registry/register");
static IS_REGISTERED: Script = script!(reading, "registry/is_registered");
static BEGIN_ERASURE: Script = script!(writing, "registry/begin_erasure");
static UNREGISTER: Script = script!(writing, "registry/unregister");
static SEED_VERSIONS: Script = script!(writing, "lib/time", "lib/digits", "registry/seed_versions");
static ERASE_SCOPE: Script =
    script!(writing, "lib/time", "lib/digits", "lib/unlink", "registry/erase_scope");
static HAS_DATA: Script = script!(reading, "lib/time", "lib/digits", "registry/has_data");

/// The registry under one prefix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registry<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) prefix: &'a str,
}

impl Registry<'_> {
    /// Registers a scope, so that writes into it succeed.
    pub(crate) async fn register(&self, scope: &Scope) -> Result<()> {
        let (users, nodes) = (self.users(), self.nodes(scope.user()));
        let versions = [ScopeKeys::new(self.prefix, scope).versions()];
        for _ in 0..MAX_ATTEMPTS {
            self.run(&REGISTER, &users, &[scope.user()]).await?;
            self.run(&REGISTER, &nodes, &[scope.node()]).await?;
            self.connection.run(&SEED_VERSIONS, &versions, |_| ()).await?;
            if self.is_registered(&nodes, scope.node()).await?
                && self.is_registered(&users, scope.user()).await?
            {
                return Ok(());
            }
        }
        Err(Error::unavailable("the user is being erased over and over")
            .with_hint("write again when the erasures have ended"))
    }

    /// Removes everything of a user.
    pub(crate) async fn erase(&self, user: &str) -> Result<ErasureReceipt> {
        let token = self.begin_erasure(&self.users(), user).await?;
        // After the first request something may be gone, whatever became of the last.
        let erased = self.erase_nodes(user, token).await;
        erased.map_err(|error| error.with_maybe_applied(true))
    }

    /// Erases all scopes of a user whose erasure has this token, if the user is registered.
    async fn erase_nodes(&self, user: &str, token: Option<String>) -> Result<ErasureReceipt> {
        let mut receipt = ErasureReceipt::default();
        let (users, nodes) = (self.users(), self.nodes(user));
        let mut after = None;
        loop {
            let page = self.page(&nodes, after.as_deref(), PAGE_SIZE).await?;
            let Some(last) = page.last() else { break };
            for node in &page {
                let Some(token) = self.begin_erasure(&nodes, node).await? else { continue };
                let (messages, entries) = self.erase_scope(&Scope::new(user, node)?).await?;
                receipt.messages += messages;
                receipt.entries += entries;
                self.run(&UNREGISTER, &nodes, &[node, &token]).await?;
            }
            after = Some(last.clone());
        }
        // Registering a node since has removed the mark from its user too.
        if let Some(token) = token {
            self.run(&UNREGISTER, &users, &[user, &token]).await?;
        }
        Ok(receipt)
    }

    async fn erase_scope(&self, scope: &Scope) -> Result<(u64, u64)> {
        let keys = ScopeKeys::new(self.prefix, scope);
        let names = [
            keys.versions(),
            keys.working(),
            keys.expiries(),
            keys.conversations(),
            keys.activity(),
        ];
        let answer = self.connection.run(&ERASE_SCOPE, &names, |call| {
            call.arg(keys.entry("")).arg(keys.counters("")).arg(keys.messages(""));
            call.arg(keys.ids("")).arg(keys.gone(""));
        });
        let mut reply = Reply::new(answer.await?)?;
        Ok((reply.number()?, reply.number()?))
    }

    /// Lists up to `limit` users after `after` who have something.
    pub(crate) async fn some_users(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>> {
        self.some(&self.users(), after, limit, |user| async move {
            Ok(!self.some_nodes(&user, None, 1).await?.is_empty())
        })
        .await
    }

    /// Lists up to `limit` nodes after `after` in which a user has something.
    pub(crate) async fn some_nodes(
        &self,
        user: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>> {
        let user = user.to_owned();
        self.some(&self.nodes(&user), after, limit, |node| {
            let user = user.clone();
            async move { self.has_data(&Scope::new(user, node)?).await }
        })
        .await
    }

    /// Lists all scopes that were ever written and not erased.
    pub(crate) async fn all_scopes(&self) -> Result<Vec<Scope>> {
        let mut scopes = Vec::new();
        for user in self.all(&self.users()).await? {
            for node in self.all(&self.nodes(&user)).await? {
                scopes.push(Scope::new(user.clone(), node)?);
            }
        }
        Ok(scopes)
    }

    async fn all(&self, list: &ListKeys) -> Result<Vec<String>> {
        self.some(list, None, usize::MAX, |_| async { Ok(true) }).await
    }

    /// Lists up to `limit` names of a list after `after` that pass a test.
    async fn some<F: Future<Output = Result<bool>>>(
        &self,
        list: &ListKeys,
        after: Option<&str>,
        limit: usize,
        test: impl Fn(String) -> F,
    ) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut after = after.map(str::to_owned);
        loop {
            let page = self.page(list, after.as_deref(), PAGE_SIZE.min(limit)).await?;
            after = page.last().cloned();
            if after.is_none() {
                return Ok(found);
            }
            for name in page {
                if test(name.clone()).await? {
                    found.push(name);
                    if found.len() == limit {
                        return Ok(found);
                    }
                }
            }
        }
    }

    async fn page(
        &self,
        list: &ListKeys,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>> {
        let mut command = redis::cmd("ZRANGEBYLEX");
        command
            .arg(&list.names)
            .arg(after.map_or("-".into(), |after| format!("({after}")))
            .arg("+");
        command.arg("LIMIT").arg(0).arg(limit);
        match self.connection.read(&list.names, &command).await? {
            Value::Array(names) => names.into_iter().map(codec::text).collect(),
            _ => Ok(Vec::new()),
        }
    }

    async fn has_data(&self, scope: &Scope) -> Result<bool> {
        let keys = ScopeKeys::new(self.prefix, scope);
        let names = [keys.conversations(), keys.working(), keys.expiries()];
        let answer = self.connection.run(&HAS_DATA, &names, |_| ());
        Ok(codec::number::<u64>(&answer.await?)? == 1)
    }

    async fn is_registered(&self, list: &ListKeys, name: &str) -> Result<bool> {
        Ok(codec::number::<u64>(&self.run(&IS_REGISTERED, list, &[name]).await?)? == 1)
    }

    async fn begin_erasure(&self, list: &ListKeys, name: &str) -> Result<Option<String>> {
        match self.run(&BEGIN_ERASURE, list, &[name]).await? {
            Value::Nil => Ok(None),
            token => codec::text(token).map(Some),
        }
    }

    async fn run(&self, script: &Script, list: &ListKeys, arguments: &[&str]) -> Result<Value> {
        let keys = [list.names.clone(), list.erasing.clone()];
        let call = self.connection.run(script, &keys, |call| {
            call.arg(arguments);
        });
        call.await
    }

    fn users(&self) -> ListKeys {
        ListKeys::users(self.prefix)
    }

    fn nodes(&self, user: &str) -> ListKeys {
        ListKeys::nodes(self.prefix, user)
    }
}
