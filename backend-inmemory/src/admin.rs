//! Administration: purging and listing users.

use std::sync::Arc;

use async_trait::async_trait;
use memquill_core::{Admin, Migration, Page, PageRequest, PurgeReceipt, Result, operation as op};

use crate::store::Store;

/// Administration of a store.
#[derive(Debug)]
pub(crate) struct Administration(pub(crate) Arc<Store>);

#[async_trait]
impl Admin for Administration {
    /// There is no schema: nothing is ever left to apply.
    async fn migrate(&self) -> Result<Migration> {
        Ok(Migration::default())
    }

    async fn purge_expired(&self) -> Result<PurgeReceipt> {
        Ok(self.0.purge_expired())
    }

    async fn users(&self, page: &PageRequest) -> Result<Page<String>> {
        let after = page.position(op::LIST_USERS)?;
        let users = self.0.users(after.as_deref(), page.limit + 1);
        Ok(Page::cut(users, page.limit, op::LIST_USERS, String::as_str))
    }
}
