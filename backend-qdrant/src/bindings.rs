//! The collection that the prefix names: which namespaces are bound to which space (V3), which
//! spaces have a collection, and which version the layout has (G13).

use std::collections::HashMap;

use memory_core::{EmbeddingSpace, Error, ErrorKind, Result, Scope};
use qdrant_client::qdrant::vectors::VectorsOptions;
use qdrant_client::qdrant::{
    Condition, DeletePoints, FacetCounts, Filter, GetPoints, NamedVectors, PointId, PointStruct,
    PointsSelector, RetrievedPoint, ScrollPoints, UpdateMode, UpsertPoints, Vectors,
    WithPayloadSelector, WriteOrdering, WriteOrderingType, facet_value, points_selector,
    with_payload_selector,
};

use crate::layout::{self, Place, field};
use crate::payload::{self, Payload};
use crate::transport::Transport;

/// Points in one answer of a scroll.
const PAGE: u32 = 1_000;

const BINDING: &str = "binding";
const SPACE: &str = "space";
const SCHEMA: &str = "schema";

/// A namespace's bond to a space, from its first record to its deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) space: EmbeddingSpace,
    /// Tells it from every other bond of the same namespace.
    pub(crate) token: String,
}

/// A namespace and its bond.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    pub(crate) place: Place,
    pub(crate) namespace: String,
    pub(crate) binding: Binding,
}

/// The collection that the prefix names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registry<'a> {
    pub(crate) transport: &'a dyn Transport,
    pub(crate) name: &'a str,
}

/// Writes go through one leader, so that on a cluster every replica decides alike.
pub(crate) fn strong() -> WriteOrdering {
    WriteOrdering { r#type: WriteOrderingType::Strong.into() }
}

/// All of the payload.
pub(crate) fn whole_payload() -> WithPayloadSelector {
    let enable = with_payload_selector::SelectorOptions::Enable(true);
    WithPayloadSelector { selector_options: Some(enable) }
}

/// What a write or delete by filter is about.
pub(crate) fn selected(filter: Filter) -> PointsSelector {
    let selector = points_selector::PointsSelectorOneOf::Filter(filter);
    PointsSelector { points_selector_one_of: Some(selector) }
}

fn kind(kind: &str) -> Condition {
    Condition::matches(field::KIND, kind.to_owned())
}

impl Registry<'_> {
    /// Writes a point, unless it is there, and gives what is there then.
    async fn settle(&self, id: PointId, payload: Payload) -> Result<Payload> {
        let vectors = VectorsOptions::Vectors(NamedVectors::default());
        let point = PointStruct {
            id: Some(id.clone()),
            payload,
            vectors: Some(Vectors { vectors_options: Some(vectors) }),
        };
        self.transport
            .upsert(UpsertPoints {
                collection_name: self.name.to_owned(),
                wait: Some(true),
                points: vec![point],
                ordering: Some(strong()),
                update_mode: Some(UpdateMode::InsertOnly.into()),
                ..UpsertPoints::default()
            })
            .await?;
        self.point(id).await?.ok_or_else(|| {
            Error::unavailable("a point was removed as it was written").with_maybe_applied(true)
        })
    }

    async fn point(&self, id: PointId) -> Result<Option<Payload>> {
        let request = GetPoints {
            collection_name: self.name.to_owned(),
            ids: vec![id],
            with_payload: Some(whole_payload()),
            ..GetPoints::default()
        };
        let points = self.transport.get(request).await.map_err(unprepared)?;
        Ok(points.into_iter().next().map(|point| point.payload))
    }

    /// The layout's version; none where it was never prepared.
    pub(crate) async fn version(&self) -> Result<Option<i64>> {
        match self.point(layout::schema_point()).await {
            Ok(payload) => Ok(payload.and_then(|p| payload::get_integer(&p, field::VERSION))),
            Err(error) if error.kind() == ErrorKind::Config => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Says that the layout is prepared; whether it was this call that did.
    pub(crate) async fn prepared(&self) -> Result<bool> {
        let token = layout::token();
        let mine = payload::payload([
            (field::KIND, payload::text(SCHEMA)),
            (field::VERSION, payload::integer(layout::VERSION)),
            (field::BINDING, payload::text(&*token)),
        ]);
        let settled = self.settle(layout::schema_point(), mine).await?;
        Ok(payload::get_text(&settled, field::BINDING) == Some(&token))
    }

    /// A namespace's bond, if it has one.
    pub(crate) async fn binding(&self, place: &Place) -> Result<Option<Binding>> {
        self.point(place.binding_point()).await?.map(|payload| binding(&payload)).transpose()
    }

    /// Binds a namespace to a space, unless another was first, and gives the bond.
    pub(crate) async fn bind(
        &self,
        scope: &Scope,
        namespace: &str,
        space: &EmbeddingSpace,
    ) -> Result<Binding> {
        let place = Place::of(scope, namespace);
        let mine = payload::payload([
            (field::KIND, payload::text(BINDING)),
            (field::USER, payload::text(scope.user())),
            (field::NODE, payload::text(scope.node())),
            (field::SCOPE, payload::text(layout::scope_text(scope))),
            (field::NAMESPACE, payload::text(namespace)),
            (field::PLACE, payload::text(place.as_str())),
            (field::MODEL, payload::text(&*space.model)),
            (field::DIMENSIONS, payload::size(space.dimensions)),
            (field::BINDING, payload::text(layout::token())),
        ]);
        binding(&self.settle(place.binding_point(), mine).await?)
    }

    /// Undoes one bond, and no later one of the same namespace.
    pub(crate) async fn unbind(&self, binding: &Binding) -> Result<()> {
        let bond = Condition::matches(field::BINDING, binding.token.clone());
        self.transport
            .delete(DeletePoints {
                collection_name: self.name.to_owned(),
                wait: Some(true),
                points: Some(selected(Filter::must([kind(BINDING), bond]))),
                ordering: Some(strong()),
                ..DeletePoints::default()
            })
            .await
    }

    /// The namespaces of a user.
    pub(crate) async fn of_user(&self, user: &str) -> Result<Vec<Bound>> {
        self.bound(Condition::matches(field::USER, user.to_owned())).await
    }

    /// The namespaces of a scope.
    pub(crate) async fn of_scope(&self, scope: &Scope) -> Result<Vec<Bound>> {
        self.bound(Condition::matches(field::SCOPE, layout::scope_text(scope))).await
    }

    async fn bound(&self, whose: Condition) -> Result<Vec<Bound>> {
        let points = self.walk(Filter::must([kind(BINDING), whose])).await?;
        points
            .iter()
            .map(|point| {
                let scope = Scope::new(
                    payload::need_text(&point.payload, field::USER)?,
                    payload::need_text(&point.payload, field::NODE)?,
                )?;
                let namespace = payload::need_text(&point.payload, field::NAMESPACE)?;
                Ok(Bound {
                    place: Place::of(&scope, namespace),
                    namespace: namespace.to_owned(),
                    binding: binding(&point.payload)?,
                })
            })
            .collect()
    }

    /// Says that a space has its collection.
    pub(crate) async fn add_space(&self, space: &EmbeddingSpace, collection: &str) -> Result<()> {
        let payload = payload::payload([
            (field::KIND, payload::text(SPACE)),
            (field::MODEL, payload::text(&*space.model)),
            (field::DIMENSIONS, payload::size(space.dimensions)),
            (field::COLLECTION, payload::text(collection)),
        ]);
        self.settle(layout::space_point(space), payload).await.map(drop)
    }

    /// Whether a space has its collection, with all indexes.
    pub(crate) async fn has_space(&self, space: &EmbeddingSpace) -> Result<bool> {
        Ok(self.point(layout::space_point(space)).await?.is_some())
    }

    /// The collections of all spaces.
    pub(crate) async fn collections(&self) -> Result<Vec<String>> {
        let points = self.walk(Filter::must([kind(SPACE)])).await?;
        let name = |point: &RetrievedPoint| {
            payload::need_text(&point.payload, field::COLLECTION).map(str::to_owned)
        };
        points.iter().map(name).collect()
    }

    /// The different users who have a namespace, in their byte order.
    pub(crate) async fn users(&self) -> Result<Vec<String>> {
        self.values(field::USER, Filter::must([kind(BINDING)])).await
    }

    /// The different nodes at which a user has a namespace, in their byte order.
    pub(crate) async fn nodes(&self, user: &str) -> Result<Vec<String>> {
        let whose = Condition::matches(field::USER, user.to_owned());
        self.values(field::NODE, Filter::must([kind(BINDING), whose])).await
    }

    async fn values(&self, key: &str, filter: Filter) -> Result<Vec<String>> {
        let request = FacetCounts {
            collection_name: self.name.to_owned(),
            key: key.to_owned(),
            filter: Some(filter),
            limit: Some(u32::MAX.into()),
            exact: Some(true),
            ..FacetCounts::default()
        };
        let hits = self.transport.facet(request).await.map_err(unprepared)?;
        let mut values: Vec<String> = hits
            .into_iter()
            .filter(|hit| hit.count > 0)
            .filter_map(|hit| match hit.value?.variant? {
                facet_value::Variant::StringValue(text) => Some(text),
                _ => None,
            })
            .collect();
        values.sort_unstable();
        Ok(values)
    }

    async fn walk(&self, filter: Filter) -> Result<Vec<RetrievedPoint>> {
        let mut points = Vec::new();
        let mut offset = None;
        loop {
            let request = ScrollPoints {
                collection_name: self.name.to_owned(),
                filter: Some(filter.clone()),
                offset,
                limit: Some(PAGE),
                with_payload: Some(whole_payload()),
                ..ScrollPoints::default()
            };
            let part = self.transport.scroll(request).await.map_err(unprepared)?;
            points.extend(part.result);
            match part.next_page_offset {
                Some(next) => offset = Some(next),
                None => return Ok(points),
            }
        }
    }
}

fn binding(payload: &HashMap<String, qdrant_client::qdrant::Value>) -> Result<Binding> {
    let dimensions = payload::get_integer(payload, field::DIMENSIONS).unwrap_or_default();
    Ok(Binding {
        space: EmbeddingSpace::new(
            payload::need_text(payload, field::MODEL)?,
            usize::try_from(dimensions).unwrap_or_default(),
        ),
        token: payload::need_text(payload, field::BINDING)?.to_owned(),
    })
}

/// The collection is made by a migration; without it there was none.
fn unprepared(error: Error) -> Error {
    if error.kind() == ErrorKind::NotFound { never_migrated().with_source(error) } else { error }
}

pub(crate) fn never_migrated() -> Error {
    Error::config("the store was never prepared")
        .with_hint("run `agent-memory migrate` with a key that may create collections")
}
