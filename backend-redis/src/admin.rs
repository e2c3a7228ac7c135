//! Administration: migration, purging and the list of users.

use std::sync::Arc;

use async_trait::async_trait;
use memquill_core::{Admin, Migration, Page, PageRequest, PurgeReceipt, Result, operation as op};

use crate::codec;
use crate::connection::{Script, script};
use crate::schema::{self, SCHEMA};
use crate::store::Store;

static PURGE: Script = script!(writing, "lib/time", "lib/digits", "admin/purge");

/// Administration of a store.
#[derive(Debug)]
pub(crate) struct Administration(pub(crate) Arc<Store>);

impl Administration {
    async fn check_schema(&self) -> Result<()> {
        schema::check(&self.0, schema::read(&self.0).await?)
    }
}

#[async_trait]
impl Admin for Administration {
    async fn migrate(&self) -> Result<Migration> {
        let mut migration = Migration { applied: Vec::new() };
        if schema::prepare(&self.0).await? {
            migration.applied.push(format!("schema {SCHEMA}"));
        }
        Ok(migration)
    }

    async fn purge_expired(&self) -> Result<PurgeReceipt> {
        self.check_schema().await?;
        let mut receipt = PurgeReceipt::default();
        for scope in self.0.registry().all_scopes().await? {
            let keys = self.0.keys(&scope);
            let names = [keys.working(), keys.expiries()];
            loop {
                let purged = self.0.run(&PURGE, &names, |call| {
                    call.arg(keys.entry(""));
                });
                match codec::number::<u64>(&purged.await?)? {
                    0 => break,
                    purged => receipt.entries += purged,
                }
            }
        }
        Ok(receipt)
    }

    async fn users(&self, page: &PageRequest) -> Result<Page<String>> {
        self.check_schema().await?;
        let after = page.position(op::LIST_USERS)?;
        let users = self.0.registry().some_users(after.as_deref(), page.limit + 1).await?;
        Ok(Page::cut(users, page.limit, op::LIST_USERS, |user| user))
    }
}
