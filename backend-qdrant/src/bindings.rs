//! The collection that the prefix names: which namespaces are bound to which space (V3) and where
//! their records are, which collections exist, and which version the layout has (G13).

use memquill_core::{EmbeddingSpace, Error, ErrorKind, Result, Scope};
use qdrant_client::qdrant::vectors::VectorsOptions;
use qdrant_client::qdrant::{
    Condition, FacetCounts, Filter, GetPoints, NamedVectors, PointId, PointStruct, RetrievedPoint,
    ScrollPoints, UpdateMode, Vectors, WithPayloadSelector, facet_value, with_payload_selector,
};

use crate::codec::payload::{self, Payload};
use crate::error::applied;
use crate::filter;
use crate::layout::{self, Namespace, Place, field};
use crate::transport::{Transport, Write};

/// Points in one page of a scroll.
const PAGE_SIZE: u32 = 1_000;

const BINDING: &str = "binding";
const COLLECTION: &str = "collection";
const SCHEMA: &str = "schema";

/// A namespace's binding to a space, from its first record to its deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) space: EmbeddingSpace,
    /// Stays the same from the namespace's first record to its deletion.
    pub(crate) origin: String,
    /// Which of the namespace's places holds its records.
    pub(crate) generation: String,
    /// Changes with everything that a writer must not miss.
    pub(crate) token: String,
    /// The lease of whoever rebinds the namespace: a number that the holder raises again and again.
    /// Where it stays the same for long, the holder has died.
    pub(crate) lease: Option<i64>,
    /// Places that may hold records which nobody reads.
    pub(crate) orphans: Vec<Orphan>,
}

/// A place that no namespace is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Orphan {
    pub(crate) dimensions: usize,
    /// The place as its records name it.
    pub(crate) place: String,
}

impl Binding {
    /// Whether both name the same place of the namespace's records.
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        self.generation == other.generation
    }
}

/// A namespace and its binding.
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
        own.as_str() == place || binding.orphans.iter().any(|orphan| orphan.place == place)
    }
}

/// The collection that the prefix names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registry<'a> {
    pub(crate) transport: &'a dyn Transport,
    pub(crate) name: &'a str,
}

/// Selects all of a payload.
pub(crate) fn whole_payload() -> WithPayloadSelector {
    let enable = with_payload_selector::SelectorOptions::Enable(true);
    WithPayloadSelector { selector_options: Some(enable) }
}

fn kind(kind: &str) -> Condition {
    filter::is(field::KIND, kind)
}

impl Registry<'_> {
    /// Writes a point, unless it exists, and reads what exists then.
    async fn insert_if_absent(&self, id: PointId, payload: Payload) -> Result<Payload> {
        let vectors = VectorsOptions::Vectors(NamedVectors::default());
        let point = PointStruct {
            id: Some(id.clone()),
            payload,
            vectors: Some(Vectors { vectors_options: Some(vectors) }),
        };
        let write = Write::upsert(self.name, vec![point], UpdateMode::InsertOnly, None);
        self.transport.write(write).await?;
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

    /// Reads the layout's version; none where it was never prepared.
    pub(crate) async fn version(&self) -> Result<Option<i64>> {
        match self.point(layout::schema_point()).await {
            Ok(payload) => Ok(payload.and_then(|p| payload::get_integer(&p, field::VERSION))),
            Err(error) if error.kind() == ErrorKind::Config => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Records that the layout is prepared; whether this call was the first to do so.
    pub(crate) async fn set_prepared(&self) -> Result<bool> {
        let token = layout::token();
        let mine = payload::payload([
            (field::KIND, payload::text(SCHEMA)),
            (field::VERSION, payload::integer(layout::VERSION)),
            (field::TOKEN, payload::text(&*token)),
        ]);
        let stored = self.insert_if_absent(layout::schema_point(), mine).await?;
        Ok(payload::get_text(&stored, field::TOKEN) == Some(&token))
    }

    /// Reads a namespace's binding, if it has one.
    pub(crate) async fn binding(&self, namespace: &Namespace) -> Result<Option<Binding>> {
        self.point(namespace.binding_point()).await?.map(|payload| binding(&payload)).transpose()
    }

    /// Binds a namespace to a space, unless another was first, and reads the binding.
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
            (field::TOKEN, payload::text(layout::token())),
        ]);
        let point = Namespace::of(scope, name).binding_point();
        binding(&self.insert_if_absent(point, mine).await?)
    }

    /// Replaces a binding by another of the same namespace, in one step; whether it was still the
    /// namespace's.
    pub(crate) async fn change(
        &self,
        namespace: &Namespace,
        from: &Binding,
        to: &Binding,
    ) -> Result<bool> {
        let orphans =
            to.orphans.iter().map(|orphan| format!("{} {}", orphan.dimensions, orphan.place));
        let payload = payload::payload([
            (field::MODEL, payload::text(&*to.space.model)),
            (field::DIMENSIONS, payload::size(to.space.dimensions)),
            (field::GENERATION, payload::text(&*to.generation)),
            (field::TOKEN, payload::text(&*to.token)),
            (field::LEASE, to.lease.map_or_else(payload::nothing, payload::integer)),
            (field::ORPHANS, payload::texts(orphans)),
        ]);
        let write = Write::set_payload(self.name, of_token(&from.token), payload);
        self.transport.write(write).await?;
        // It may have been changed again since.
        let moved = to.generation != from.generation;
        let now = self.binding(namespace).await.map_err(applied)?;
        Ok(now.is_some_and(|now| now.token == to.token || (moved && now.is_at(to))))
    }

    /// Removes one binding, and no later one of the same namespace.
    pub(crate) async fn unbind(&self, binding: &Binding) -> Result<()> {
        self.transport.write(Write::delete(self.name, of_token(&binding.token))).await
    }

    /// Lists the namespaces of a user.
    pub(crate) async fn of_user(&self, user: &str) -> Result<Vec<Bound>> {
        self.bound(vec![filter::is(field::USER, user)]).await
    }

    /// Lists the namespaces of a scope.
    pub(crate) async fn of_scope(&self, scope: &Scope) -> Result<Vec<Bound>> {
        self.bound(vec![filter::is(field::SCOPE, layout::scope_text(scope))]).await
    }

    async fn bound(&self, mut conditions: Vec<Condition>) -> Result<Vec<Bound>> {
        conditions.push(kind(BINDING));
        let points = self.walk(Filter::must(conditions)).await?;
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

    /// Lists the namespaces whose bindings name orphans, or that are being rebound.
    pub(crate) async fn with_orphans(&self) -> Result<Vec<Bound>> {
        let mut bound = self.bound(Vec::new()).await?;
        bound
            .retain(|Bound { binding, .. }| binding.lease.is_some() || !binding.orphans.is_empty());
        Ok(bound)
    }

    /// Whether any namespace is bound to a space of these dimensions.
    pub(crate) async fn is_bound(&self, dimensions: usize) -> Result<bool> {
        let bound = self.bound(Vec::new()).await?;
        Ok(bound.iter().any(|bound| bound.binding.space.dimensions == dimensions))
    }

    /// Records that there is a collection for these dimensions.
    pub(crate) async fn add_collection(&self, dimensions: usize) -> Result<()> {
        let payload = payload::payload([
            (field::KIND, payload::text(COLLECTION)),
            (field::DIMENSIONS, payload::size(dimensions)),
        ]);
        self.insert_if_absent(layout::collection_point(dimensions), payload).await.map(drop)
    }

    /// Whether there is a collection for these dimensions, with all indexes.
    pub(crate) async fn has_collection(&self, dimensions: usize) -> Result<bool> {
        Ok(self.point(layout::collection_point(dimensions)).await?.is_some())
    }

    /// Lists the dimensions for which there are collections.
    pub(crate) async fn collections(&self) -> Result<Vec<usize>> {
        let points = self.walk(Filter::must([kind(COLLECTION)])).await?;
        Ok(points.iter().map(|point| dimensions(&point.payload)).collect())
    }

    /// Lists the users who have a namespace, each once, in their byte order.
    pub(crate) async fn users(&self) -> Result<Vec<String>> {
        self.values(self.name, field::USER, Filter::must([kind(BINDING)])).await
    }

    /// Lists the nodes at which a user has a namespace, each once, in their byte order.
    pub(crate) async fn nodes(&self, user: &str) -> Result<Vec<String>> {
        let of_user = filter::is(field::USER, user);
        self.values(self.name, field::NODE, Filter::must([kind(BINDING), of_user])).await
    }

    /// Lists the places in a collection that hold records of a user and that no binding names. None
    /// ever will: a binding precedes its records, and no two share a place.
    pub(crate) async fn unbound_places(&self, collection: &str, user: &str) -> Result<Vec<String>> {
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
                limit: Some(PAGE_SIZE),
                with_payload: Some(whole_payload()),
                ..ScrollPoints::default()
            };
            let page = self.transport.scroll(request).await.map_err(unprepared)?;
            points.extend(page.result);
            match page.next_page_offset {
                Some(next) => offset = Some(next),
                None => return Ok(points),
            }
        }
    }
}

/// Matches the binding that has this token.
fn of_token(token: &str) -> Filter {
    Filter::must([kind(BINDING), filter::is(field::TOKEN, token)])
}

fn dimensions(payload: &Payload) -> usize {
    let dimensions = payload::get_integer(payload, field::DIMENSIONS).unwrap_or_default();
    usize::try_from(dimensions).unwrap_or_default()
}

fn binding(payload: &Payload) -> Result<Binding> {
    let orphan = |text: &str| {
        let (dimensions, place) = text.split_once(' ')?;
        Some(Orphan { dimensions: dimensions.parse().ok()?, place: place.to_owned() })
    };
    Ok(Binding {
        space: EmbeddingSpace::new(payload::need_text(payload, field::MODEL)?, dimensions(payload)),
        origin: payload::need_text(payload, field::ORIGIN)?.to_owned(),
        generation: payload::need_text(payload, field::GENERATION)?.to_owned(),
        token: payload::need_text(payload, field::TOKEN)?.to_owned(),
        lease: payload::get_integer(payload, field::LEASE),
        orphans: payload::get_texts(payload, field::ORPHANS)
            .into_iter()
            .filter_map(orphan)
            .collect(),
    })
}

/// Says that nobody migrated where the collection does not exist.
fn unprepared(error: Error) -> Error {
    if error.kind() == ErrorKind::NotFound { never_migrated().with_source(error) } else { error }
}

pub(crate) fn never_migrated() -> Error {
    Error::config("the store was never migrated")
        .with_hint("run `memquill migrate` with a key that may create collections")
}
