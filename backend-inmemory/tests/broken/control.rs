//! Health, erasure and listing of scopes, with faults.

use std::time::Duration;

use memquill_conformance::async_trait;
use memquill_core::{
    Control, ErasureReceipt, Health, HealthStatus, ListEntries, Page, PageRequest, Put, Result,
    Scope,
};

use super::{Broken, Fault};

#[async_trait]
impl Control for Broken {
    async fn health(&self, deadline: Duration) -> Health {
        if self.is_cut() && !self.is(Fault::HealthyWithoutAStore) {
            let why = "the store is cut off".into();
            return Health {
                status: HealthStatus::Unreachable,
                latency: Duration::ZERO,
                server_version: String::new(),
                missing: vec![why],
            };
        }
        self.right.control().health(deadline).await
    }

    async fn erase(&self, user: &str) -> Result<ErasureReceipt> {
        let control = self.right.control();
        if self.is(Fault::ErasesTwice) {
            let mut state = self.state.lock().await;
            let mut receipt = control.erase(user).await?;
            receipt.messages += state.erased.get(user).copied().unwrap_or(0);
            state.erased.insert(user.to_owned(), receipt.messages);
            return Ok(receipt);
        }
        if !self.is(Fault::EraseLeavesAFacet) {
            return control.erase(&self.user(user)).await;
        }
        let all = PageRequest::first(10_000);
        let mut left = Vec::new();
        for scope in control.scopes(user, &all).await?.items {
            let list = ListEntries { prefix: String::new(), page: all.clone() };
            let entries = self.working().list(&scope, &list).await?.items;
            left.extend(entries.into_iter().map(|entry| (scope.clone(), entry)));
        }
        let receipt = control.erase(user).await?;
        for (scope, entry) in left {
            self.working().put(&scope, &Put::new(entry.key, entry.value)).await?;
        }
        Ok(receipt)
    }

    async fn scopes(&self, user: &str, page: &PageRequest) -> Result<Page<Scope>> {
        self.right.control().scopes(&self.user(user), page).await
    }
}
