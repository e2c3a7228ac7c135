//! Which users have which scopes, so that erasure finds them all (G12).
//!
//! Lists of users and of a user's nodes live in other slots than the scopes, where no step spans
//! both. A scope is therefore registered before its first write: user and node are enlisted, the
//! scope's counter of versions is started, and then it is seen to that no erasure has begun
//! meanwhile. Every write demands the counter. An erasure marks the name, removes the scope with
//! its counter, and strikes the name only if the mark is still its own. So whatever is written
//! stands under an enlisted name, wherever a process dies; at worst a name outlives its data, and
//! is not shown.

use memquill_core::{ErasureReceipt, Error, Result, Scope};
use redis::Value;

use crate::connection::{Connection, Script};
use crate::keys::{ListKeys, ScopeKeys};
use crate::reply::{self, Reply};

/// How many erasures at the same moment a registration outlasts.
const ATTEMPTS: usize = 16;

/// How many names are read at once.
const CHUNK: usize = 500;

static ENLIST: Script = Script::writing(include_str!("lua/enlist.lua"));
static ENLISTED: Script = Script::reading(include_str!("lua/enlisted.lua"));
static CONDEMN: Script = Script::writing(include_str!("lua/condemn.lua"));
static STRIKE: Script = Script::writing(include_str!("lua/strike.lua"));
static SEED: Script = Script::writing(concat!(
    include_str!("lua/time.lua"),
    include_str!("lua/digits.lua"),
    include_str!("lua/seed_versions.lua")
));
static ERASE: Script = Script::writing(concat!(
    include_str!("lua/time.lua"),
    include_str!("lua/digits.lua"),
    include_str!("lua/unlink.lua"),
    include_str!("lua/erase_scope.lua")
));
static HOLDS: Script = Script::reading(concat!(
    include_str!("lua/time.lua"),
    include_str!("lua/digits.lua"),
    include_str!("lua/scope_holds.lua")
));

/// The registry under one prefix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registry<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) prefix: &'a str,
}

impl Registry<'_> {
    /// Lets writes into a scope through.
    pub(crate) async fn register(&self, scope: &Scope) -> Result<()> {
        let (users, nodes) = (self.users(), self.nodes(scope.user()));
        let versions = [ScopeKeys::new(self.prefix, scope).versions()];
        for _ in 0..ATTEMPTS {
            self.run(&ENLIST, &users, &[scope.user()]).await?;
            self.run(&ENLIST, &nodes, &[scope.node()]).await?;
            self.connection.run(&SEED, &versions, |_| ()).await?;
            if self.stands(&nodes, scope.node()).await? && self.stands(&users, scope.user()).await?
            {
                return Ok(());
            }
        }
        Err(Error::unavailable("the user is being erased over and over")
            .with_hint("write again when the erasures have ended"))
    }

    /// Removes everything of a user.
    pub(crate) async fn erase(&self, user: &str) -> Result<ErasureReceipt> {
        let token = self.condemn(&self.users(), user).await?;
        // Behind the first request, something may be gone, whatever is known of the last.
        let erased = self.erase_nodes(user, token).await;
        erased.map_err(|error| error.with_maybe_applied(true))
    }

    /// Erases all scopes of a user who was condemned by this token, if at all.
    async fn erase_nodes(&self, user: &str, token: Option<String>) -> Result<ErasureReceipt> {
        let mut receipt = ErasureReceipt::default();
        let (users, nodes) = (self.users(), self.nodes(user));
        let mut after = None;
        loop {
            let page = self.page(&nodes, after.as_deref(), CHUNK).await?;
            let Some(last) = page.last() else { break };
            for node in &page {
                let Some(token) = self.condemn(&nodes, node).await? else { continue };
                let (messages, entries) = self.erase_scope(&Scope::new(user, node)?).await?;
                receipt.messages += messages;
                receipt.entries += entries;
                self.run(&STRIKE, &nodes, &[node, &token]).await?;
            }
            after = Some(last.clone());
        }
        // A node enlisted since has lifted the mark from its user too.
        if let Some(token) = token {
            self.run(&STRIKE, &users, &[user, &token]).await?;
        }
        Ok(receipt)
    }

    async fn erase_scope(&self, scope: &Scope) -> Result<(u64, u64)> {
        let keys = ScopeKeys::new(self.prefix, scope);
        let names = [keys.versions(), keys.working(), keys.expiries(), keys.conversations()];
        let answer = self.connection.run(&ERASE, &names, |call| {
            call.arg(keys.entry("")).arg(keys.figures("")).arg(keys.messages(""));
            call.arg(keys.ids("")).arg(keys.gone(""));
        });
        let mut reply = Reply::new(answer.await?)?;
        Ok((reply.number()?, reply.number()?))
    }

    /// Up to `limit` users behind `after` who have something.
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

    /// Up to `limit` nodes behind `after` in which a user has something.
    pub(crate) async fn some_nodes(
        &self,
        user: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>> {
        let user = user.to_owned();
        self.some(&self.nodes(&user), after, limit, |node| {
            let user = user.clone();
            async move { self.holds(&Scope::new(user, node)?).await }
        })
        .await
    }

    /// All scopes that were ever written and not erased.
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
        let mut names: Vec<String> = Vec::new();
        loop {
            let page = self.page(list, names.last().map(String::as_str), CHUNK).await?;
            if page.is_empty() {
                return Ok(names);
            }
            names.extend(page);
        }
    }

    /// Up to `limit` names of a list behind `after` that pass a test.
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
            let page = self.page(list, after.as_deref(), CHUNK.min(limit)).await?;
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
            Value::Array(names) => names.into_iter().map(reply::text).collect(),
            _ => Ok(Vec::new()),
        }
    }

    async fn holds(&self, scope: &Scope) -> Result<bool> {
        let keys = ScopeKeys::new(self.prefix, scope);
        let names = [keys.conversations(), keys.working(), keys.expiries()];
        let answer = self.connection.run(&HOLDS, &names, |_| ());
        Ok(reply::number::<u64>(&answer.await?)? == 1)
    }

    async fn stands(&self, list: &ListKeys, name: &str) -> Result<bool> {
        Ok(reply::number::<u64>(&self.run(&ENLISTED, list, &[name]).await?)? == 1)
    }

    async fn condemn(&self, list: &ListKeys, name: &str) -> Result<Option<String>> {
        match self.run(&CONDEMN, list, &[name]).await? {
            Value::Nil => Ok(None),
            token => reply::text(token).map(Some),
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
