//! Health, erasure and listing of scopes.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use memquill_core::{
    Control, ErasureReceipt, Health, Page, PageRequest, Result, Scope, operation as op,
};

use crate::codec::{get, get_count, one, size};
use crate::store::facet;

facet! {
    /// Control of a store.
    Controls {
        erase(2),
        list_nodes(4),
    }
}

#[async_trait]
impl Control for Controls {
    async fn health(&self, deadline: Duration) -> Health {
        let start = Instant::now();
        let answer = tokio::time::timeout(deadline, self.store.server()).await;
        let latency = start.elapsed();
        match answer {
            Err(_) => Health::late(latency, deadline),
            Ok(Err(error)) => Health::unreachable(latency, error.to_string()),
            Ok(Ok(server)) => {
                let check = self.store.check(&server);
                let missing: Vec<_> = check.err().iter().map(ToString::to_string).collect();
                Health::answered(latency, server.version(), missing)
            }
        }
    }

    async fn erase(&self, user: &str) -> Result<ErasureReceipt> {
        let rows = self.store.call(&self.erase, user, |call| call).await?;
        let row = one(&rows)?;
        Ok(ErasureReceipt {
            messages: get_count(row, "messages")?,
            records: get_count(row, "records")?,
            entries: get_count(row, "entries")?,
        })
    }

    async fn scopes(&self, user: &str, page: &PageRequest) -> Result<Page<Scope>> {
        let after = page.position(op::LIST_SCOPES)?.unwrap_or_default();
        let rows = self
            .store
            .call(&self.list_nodes, user, |call| {
                call.bind(after.as_str()).bind(size(page.limit + 1))
            })
            .await?;
        let scopes = rows
            .iter()
            .map(|row| Scope::new(user, get::<String>(row, "node_id")?))
            .collect::<Result<_>>()?;
        Ok(Page::cut(scopes, page.limit, op::LIST_SCOPES, Scope::node))
    }

    async fn close(&self) -> Result<()> {
        self.store.close().await;
        Ok(())
    }
}
