//! Health, erasure and listing of scopes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use memquill_core::{
    Control, ErasureReceipt, Health, Page, PageRequest, Result, Scope, operation as op,
};

use crate::store::Store;

/// Health, erasure and listing of scopes of a store. Closing releases nothing: a store lives as long
/// as its driver, so that whoever connects to its name again finds it.
#[derive(Debug)]
pub(crate) struct Controls(pub(crate) Arc<Store>);

#[async_trait]
impl Control for Controls {
    async fn health(&self, _deadline: Duration) -> Health {
        let start = Instant::now();
        self.0.nodes("", None, 1); // takes the locks that an operation takes
        let version = concat!("inmemory ", env!("CARGO_PKG_VERSION"));
        Health::answered(start.elapsed(), version, Vec::new())
    }

    async fn erase(&self, user: &str) -> Result<ErasureReceipt> {
        Ok(self.0.erase(user))
    }

    async fn scopes(&self, user: &str, page: &PageRequest) -> Result<Page<Scope>> {
        let after = page.position(op::LIST_SCOPES)?;
        let nodes = self.0.nodes(user, after.as_deref(), page.limit + 1);
        let scopes =
            nodes.into_iter().map(|node| Scope::new(user, node)).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(scopes, page.limit, op::LIST_SCOPES, Scope::node))
    }
}
