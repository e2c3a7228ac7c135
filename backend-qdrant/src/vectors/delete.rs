//! Deleting records, and counting each once however many delete at once.
//!
//! The store does not say what a deletion found. So a deleter first marks the records: it moves them
//! to nobody's place, under a token that nobody else knows, in one step of the store for each, and
//! every reader misses them from then on. Of two deleters one moves a record, and the other finds
//! nothing. The marked records are counted and removed. A deleter that dies in between leaves marked
//! records, which a purge removes.

use memquill_core::{DeleteRecords, Result, Scope, Selection};
use qdrant_client::qdrant::{Condition, Filter};

use super::store::{MAX_ATTEMPTS, contended};
use crate::bindings::Binding;
use crate::codec::payload;
use crate::error::{applied, applied_if};
use crate::filter;
use crate::layout::{self, Namespace, Place, field};
use crate::store::{Store, now};
use crate::transport::{Write, or_empty};

impl Store {
    pub(super) async fn delete_records(
        &self,
        scope: &Scope,
        request: &DeleteRecords,
    ) -> Result<u64> {
        let namespace = Namespace::of(scope, &request.namespace);
        if request.which == Selection::Namespace {
            return self.delete_namespace(&namespace).await;
        }
        let mut count = 0;
        for attempt in 0..MAX_ATTEMPTS {
            let again = attempt > 0;
            let binding = self.writable(&namespace).await.map_err(applied_if(again))?;
            let Some(binding) = binding else { return Ok(count) };
            let place = self.place(&namespace, &binding);
            let mut filter = match &request.which {
                Selection::Matching(matching) => {
                    self.filter(&place, Some(matching)).await.map_err(applied_if(again))?
                }
                _ => filter::living(&place, now()),
            };
            if let Selection::Ids(ids) = &request.which {
                filter.must.push(Condition::has_id(ids.iter().map(|id| place.point(id))));
            }
            // What a rebinding has claimed is deleted where it is afterwards.
            filter.must_not.push(filter::claimed());
            let marked = self.mark(&place.collection, filter).await.map_err(applied_if(again));
            let Some(marked) = or_empty(marked.map(Some))? else { continue };
            let (removed, after) = tokio::try_join!(
                self.remove_marked(&place.collection, marked),
                self.binding(&namespace),
            )
            .map_err(applied)?;
            count += removed;
            if after.is_none_or(|after| after.token == binding.token) {
                return Ok(count);
            }
        }
        Err(contended())
    }

    /// Removes a namespace's records and its binding, whoever else is at work on it.
    pub(crate) async fn delete_namespace(&self, namespace: &Namespace) -> Result<u64> {
        let mut count = 0;
        for attempt in 0..MAX_ATTEMPTS {
            let binding = self.binding(namespace).await.map_err(applied_if(attempt > 0))?;
            let Some(binding) = binding else { return Ok(count) };
            let place = self.place(namespace, &binding);
            let living = filter::living(&place, now());
            let removed = self.take(&place.collection, living).await;
            count += or_empty(removed.map_err(applied_if(attempt > 0)))?;
            let unbound = self.unbind(namespace, &binding, &place).await.map_err(applied);
            let (late, after) = unbound?;
            count += late;
            if after.is_none_or(|after| after.origin != binding.origin) {
                return Ok(count);
            }
        }
        Err(contended())
    }

    /// Removes a binding whose records are gone. Returns how many were stored there since, and the
    /// namespace's next binding, if it has one.
    async fn unbind(
        &self,
        namespace: &Namespace,
        binding: &Binding,
        place: &Place,
    ) -> Result<(u64, Option<Binding>)> {
        self.registry().unbind(binding).await?;
        let after = self.binding(namespace).await?;
        // What a writer stored under this binding before it could know, and what has expired.
        let late = or_empty(self.take(&place.collection, filter::living(place, now())).await)?;
        or_empty(self.remove(&place.collection, filter::all(place)).await)?;
        self.remove_orphans(binding).await?;
        Ok((late, after))
    }

    /// Removes what matches, and counts it.
    pub(crate) async fn take(&self, collection: &str, filter: Filter) -> Result<u64> {
        let marked = self.mark(collection, filter).await?;
        self.remove_marked(collection, marked).await.map_err(applied)
    }

    /// Moves what matches to nobody's place, and returns a filter that finds it there.
    async fn mark(&self, collection: &str, filter: Filter) -> Result<Filter> {
        let mine = layout::token();
        let mark = payload::payload([
            (field::PLACE, payload::text(filter::DELETED)),
            (field::VERSION, payload::text(&*mine)),
            (field::CLAIMED, payload::moment(now())),
        ]);
        self.transport.write(Write::set_payload(collection, filter, mark)).await?;
        let mut marked = filter::at(filter::DELETED);
        marked.must.push(filter::is(field::VERSION, mine));
        Ok(marked)
    }

    async fn remove_marked(&self, collection: &str, marked: Filter) -> Result<u64> {
        let count = self.count_points(collection, marked.clone()).await?;
        if count > 0 {
            self.remove(collection, marked).await?;
        }
        Ok(count)
    }

    /// Removes what matches.
    pub(crate) async fn remove(&self, collection: &str, filter: Filter) -> Result<()> {
        self.transport.write(Write::delete(collection, filter)).await
    }
}
