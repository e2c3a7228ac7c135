//! The collection that the prefix names: which namespaces are bound to which space (V3) and where
//! their records are, which collections there are, and which version the layout has (G13).

use std::time::Duration;

use memquill_core::{EmbeddingSpace, Error, ErrorKind, Result, Scope, Timestamp};
use qdrant_client::qdrant::vectors::VectorsOptions;
use qdrant_client::qdrant::{
    Condition, DeletePoints, FacetCounts, Filter, GetPoints, NamedVectors, PointId, PointStruct,
    PointsSelector, RetrievedPoint, ScrollPoints, SetPayloadPoints, UpdateMode, UpsertPoints,
    Vectors, WithPayloadSelector, WriteOrdering, WriteOrderingType, facet_value, points_selector,
    with_payload_selector,
};

use crate::error::applied;
use crate::filter;
use crate::layout::{self, Namespace, Place, field};
use crate::payload::{self, Payload};
use crate::transport::Transport;

/// Points in one answer of a scroll.
const PAGE: u32 = 1_000;

const BINDING: &str = "binding";
const COLLECTION: &str = "collection";
const SCHEMA: &str = "schema";

/// Who rebinds a namespace says at least so often that it lives; otherwise others undo it.
pub(crate) const SEALED_FOR: Duration = Duration::from_secs(20);

/// A namespace's bond to a space, from its first record to its deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) space: EmbeddingSpace,
    /// Stays the same from the namespace's first record to its deletion.
    pub(crate) origin: String,
    /// Which of the namespace's places holds its records.
    pub(crate) generation: String,
    /// Changes with everything that a writer must not miss.
    pub(crate) token: String,
    /// Since when it is being rebound.
    pub(crate) sealed: Option<Timestamp>,
    /// Where records may be left that nobody reads.
    pub(crate) left: Vec<Left>,
}

/// A place that no namespace is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) dimensions: usize,
    /// What the records there say of their place.
    pub(crate) place: String,
}

impl Binding {
    /// Whether both say of the same records where they are.
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        self.generation == other.generation
    }

    /// Whether whoever rebound it has died over it.
    pub(crate) fn is_forsaken(&self, now: Timestamp) -> bool {
        self.sealed.is_some_and(|since| since.saturating_add(SEALED_FOR) <= now)
    }
}

/// A namespace and its bond.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    pub(crate) namespace: Namespace,
    pub(crate) name: String,
    pub(crate) binding: Binding,
}

impl Bound {
    /// Whether the place is the namespace's, or is to become it.
    fn names(&self, place: &str) -> bool {
        let Self { namespace, binding, .. } = self;
        let own = Place::new(String::new(), namespace, &binding.generation);
        own.as_str() == place || binding.left.iter().any(|left| left.place == place)
    }
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
    filter::is(field::KIND, kind)
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
        let gone = || Error::unavailable("a point was removed as it was written");
        self.point(id).await.and_then(|point| point.ok_or_else(gone)).map_err(applied)
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
    pub(crate) async fn binding(&self, namespace: &Namespace) -> Result<Option<Binding>> {
        self.point(namespace.binding_point()).await?.map(|payload| binding(&payload)).transpose()
    }

    /// Binds a namespace to a space, unless another was first, and gives the bond.
    pub(crate) async fn bind(
        &self,
        scope: &Scope,
        name: &str,
        space: &EmbeddingSpace,
    ) -> Result<Binding> {
        let mine = payload::payload([
            (field::KIND, payload::text(BINDING)),
            (field::USER, payload::text(scope.user())),
            (field::NODE, payload::text(scope.node())),
            (field::SCOPE, payload::text(layout::scope_text(scope))),
            (field::NAMESPACE, payload::text(name)),
            (field::MODEL, payload::text(&*space.model)),
            (field::DIMENSIONS, payload::size(space.dimensions)),
            (field::ORIGIN, payload::text(layout::token())),
            (field::GENERATION, payload::text(layout::token())),
            (field::BINDING, payload::text(layout::token())),
        ]);
        let point = Namespace::of(scope, name).binding_point();
        binding(&self.settle(point, mine).await?)
    }

    /// Puts a bond in the place of another of the same namespace, in one step; whether it was still
    /// there.
    pub(crate) async fn change(
        &self,
        namespace: &Namespace,
        from: &Binding,
        to: &Binding,
    ) -> Result<bool> {
        let left = to.left.iter().map(|left| format!("{} {}", left.dimensions, left.place));
        let payload = payload::payload([
            (field::MODEL, payload::text(&*to.space.model)),
            (field::DIMENSIONS, payload::size(to.space.dimensions)),
            (field::GENERATION, payload::text(&*to.generation)),
            (field::BINDING, payload::text(&*to.token)),
            (field::SEALED, to.sealed.map_or_else(payload::nothing, payload::moment)),
            (field::LEFT, payload::texts(left)),
        ]);
        self.transport
            .set_payload(SetPayloadPoints {
                collection_name: self.name.to_owned(),
                wait: Some(true),
                payload,
                points_selector: Some(selected(of_token(&from.token))),
                ordering: Some(strong()),
                ..SetPayloadPoints::default()
            })
            .await?;
        // It may have been changed again since.
        let moved = to.generation != from.generation;
        let now = self.binding(namespace).await.map_err(applied)?;
        Ok(now.is_some_and(|now| now.token == to.token || (moved && now.is_at(to))))
    }

    /// Undoes one bond, and no later one of the same namespace.
    pub(crate) async fn unbind(&self, binding: &Binding) -> Result<()> {
        self.transport
            .delete(DeletePoints {
                collection_name: self.name.to_owned(),
                wait: Some(true),
                points: Some(selected(of_token(&binding.token))),
                ordering: Some(strong()),
                ..DeletePoints::default()
            })
            .await
    }

    /// The namespaces of a user.
    pub(crate) async fn of_user(&self, user: &str) -> Result<Vec<Bound>> {
        self.bound(vec![filter::is(field::USER, user)]).await
    }

    /// The namespaces of a scope.
    pub(crate) async fn of_scope(&self, scope: &Scope) -> Result<Vec<Bound>> {
        self.bound(vec![filter::is(field::SCOPE, layout::scope_text(scope))]).await
    }

    async fn bound(&self, mut which: Vec<Condition>) -> Result<Vec<Bound>> {
        which.push(kind(BINDING));
        let points = self.walk(Filter::must(which)).await?;
        points
            .iter()
            .map(|point| {
                let scope = Scope::new(
                    payload::need_text(&point.payload, field::USER)?,
                    payload::need_text(&point.payload, field::NODE)?,
                )?;
                let name = payload::need_text(&point.payload, field::NAMESPACE)?;
                Ok(Bound {
                    namespace: Namespace::of(&scope, name),
                    name: name.to_owned(),
                    binding: binding(&point.payload)?,
                })
            })
            .collect()
    }

    /// The bonds that name places where something is left.
    pub(crate) async fn leaving(&self) -> Result<Vec<Bound>> {
        let mut bound = self.bound(Vec::new()).await?;
        bound.retain(|bound| !bound.binding.left.is_empty());
        Ok(bound)
    }

    /// Says that there is a collection for these dimensions.
    pub(crate) async fn add_collection(&self, dimensions: usize) -> Result<()> {
        let payload = payload::payload([
            (field::KIND, payload::text(COLLECTION)),
            (field::DIMENSIONS, payload::size(dimensions)),
        ]);
        self.settle(layout::collection_point(dimensions), payload).await.map(drop)
    }

    /// Whether there is a collection for these dimensions, with all indexes.
    pub(crate) async fn has_collection(&self, dimensions: usize) -> Result<bool> {
        Ok(self.point(layout::collection_point(dimensions)).await?.is_some())
    }

    /// The dimensions for which there are collections.
    pub(crate) async fn collections(&self) -> Result<Vec<usize>> {
        let points = self.walk(Filter::must([kind(COLLECTION)])).await?;
        Ok(points.iter().map(|point| dimensions(&point.payload)).collect())
    }

    /// The different users who have a namespace, in their byte order.
    pub(crate) async fn users(&self) -> Result<Vec<String>> {
        self.values(self.name, field::USER, Filter::must([kind(BINDING)])).await
    }

    /// The different nodes at which a user has a namespace, in their byte order.
    pub(crate) async fn nodes(&self, user: &str) -> Result<Vec<String>> {
        let whose = filter::is(field::USER, user);
        self.values(self.name, field::NODE, Filter::must([kind(BINDING), whose])).await
    }

    /// Places in a collection where a user's records are, and that no bond names. None ever will: a
    /// bond comes before its records, and no two have a place in common.
    pub(crate) async fn forsaken_places(
        &self,
        collection: &str,
        user: &str,
    ) -> Result<Vec<String>> {
        let mut places = self.values(collection, field::PLACE, filter::of_user(user)).await?;
        if !places.is_empty() {
            let bound = self.of_user(user).await?;
            places.retain(|place| !bound.iter().any(|bound| bound.names(place)));
        }
        Ok(places)
    }

    async fn values(&self, collection: &str, key: &str, filter: Filter) -> Result<Vec<String>> {
        let request = FacetCounts {
            collection_name: collection.to_owned(),
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

/// The bond that has this token.
fn of_token(token: &str) -> Filter {
    Filter::must([kind(BINDING), filter::is(field::BINDING, token)])
}

fn dimensions(payload: &Payload) -> usize {
    let dimensions = payload::get_integer(payload, field::DIMENSIONS).unwrap_or_default();
    usize::try_from(dimensions).unwrap_or_default()
}

fn binding(payload: &Payload) -> Result<Binding> {
    let left = |text: &str| {
        let (dimensions, place) = text.split_once(' ')?;
        Some(Left { dimensions: dimensions.parse().ok()?, place: place.to_owned() })
    };
    Ok(Binding {
        space: EmbeddingSpace::new(payload::need_text(payload, field::MODEL)?, dimensions(payload)),
        origin: payload::need_text(payload, field::ORIGIN)?.to_owned(),
        generation: payload::need_text(payload, field::GENERATION)?.to_owned(),
        token: payload::need_text(payload, field::BINDING)?.to_owned(),
        sealed: payload::get_moment(payload, field::SEALED)?,
        left: payload::get_texts(payload, field::LEFT).into_iter().filter_map(left).collect(),
    })
}

/// The collection is made by a migration; without it there was none.
fn unprepared(error: Error) -> Error {
    if error.kind() == ErrorKind::NotFound { never_migrated().with_source(error) } else { error }
}

pub(crate) fn never_migrated() -> Error {
    Error::config("the store was never prepared")
        .with_hint("run `memquill migrate` with a key that may create collections")
}
