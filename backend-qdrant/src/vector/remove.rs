//! Deleting records, and counting each once however many delete at once.
//!
//! The store says nothing about what a deletion found. So a deleter first marks what it is to
//! delete: the records are moved to a place that nobody else knows, in one step of the store, and
//! are thereby gone for every reader. Of two deleters one moves a record, and the other finds
//! nothing. What has been moved is counted and removed. A deleter that dies in between leaves
//! records at no place, which a purge removes.

use memory_core::{DeleteRecords, Result, Scope, Selection};
use qdrant_client::qdrant::{Condition, DeletePoints, Filter, SetPayloadPoints};

use crate::backend::{Store, now};
use crate::bindings::{Binding, selected, strong};
use crate::filter;
use crate::layout::{self, Place, field};
use crate::payload;
use crate::transport::or_empty;

impl Store {
    pub(super) async fn delete_records(
        &self,
        scope: &Scope,
        request: &DeleteRecords,
    ) -> Result<u64> {
        let place = Place::of(scope, &request.namespace);
        let Some(binding) = self.binding(&place).await? else { return Ok(0) };
        let filter = match &request.which {
            Selection::Namespace => return self.delete_namespace(&place, &binding).await,
            Selection::Matching(matching) => {
                self.filter(&binding.space, &place, Some(matching)).await?
            }
            Selection::Ids(ids) => {
                let mut filter = filter::living(&place, now());
                filter.must.push(Condition::has_id(ids.iter().map(|id| place.point(id))));
                filter
            }
        };
        or_empty(self.take(&self.collection(&binding.space), filter).await)
    }

    /// Removes a namespace's records and its bond.
    pub(crate) async fn delete_namespace(&self, place: &Place, binding: &Binding) -> Result<u64> {
        let collection = self.collection(&binding.space);
        let living = filter::living(place, now());
        let count = or_empty(self.take(&collection, living).await)?;
        self.registry().unbind(binding).await?;
        self.remember(place, None);
        // What has expired, and what a writer stored under this bond before it could know.
        let mut left = filter::all(place);
        left.must.push(Condition::matches(field::BINDING, binding.token.clone()));
        or_empty(self.remove(&collection, left).await)?;
        Ok(count)
    }

    /// Removes what matches, and says how many it was.
    pub(crate) async fn take(&self, collection: &str, filter: Filter) -> Result<u64> {
        // Nobody's place: those begin with a digit.
        let nowhere = format!("taken {}", layout::token());
        let mark = SetPayloadPoints {
            collection_name: collection.to_owned(),
            wait: Some(true),
            payload: payload::payload([
                (field::PLACE, payload::text(&*nowhere)),
                (field::TAKEN, payload::moment(now())),
            ]),
            points_selector: Some(selected(filter)),
            ordering: Some(strong()),
            ..SetPayloadPoints::default()
        };
        self.transport.set_payload(mark).await?;
        let taken = Filter::must([Condition::matches(field::PLACE, nowhere)]);
        let count = self.count_points(collection, taken.clone()).await?;
        if count > 0 {
            self.remove(collection, taken).await?;
        }
        Ok(count)
    }

    /// Removes what matches.
    pub(crate) async fn remove(&self, collection: &str, filter: Filter) -> Result<()> {
        self.transport
            .delete(DeletePoints {
                collection_name: collection.to_owned(),
                wait: Some(true),
                points: Some(selected(filter)),
                ordering: Some(strong()),
                ..DeletePoints::default()
            })
            .await
    }
}
