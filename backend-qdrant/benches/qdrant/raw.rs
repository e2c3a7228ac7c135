//! What the driver is compared with.

use std::path::Path;
use std::time::Duration;

use qdrant_client::Qdrant;
use qdrant_client::qdrant::{
    CollectionStatus, Condition, CreateCollectionBuilder, CreateFieldIndexCollectionBuilder,
    Distance, FacetCountsBuilder, FieldType, Filter, HnswConfigDiffBuilder,
    KeywordIndexParamsBuilder, NamedVectors, PointStruct, QueryPointsBuilder, UpsertPointsBuilder,
    Value, VectorParamsBuilder, VectorsConfigBuilder, facet_value,
};

use super::{DIMENSIONS, RawPoint, USERS};

/// The name of the vectors.
pub(crate) const VECTOR: &str = "vector";

/// Qdrant by hand.
pub(crate) enum Raw {
    Server {
        client: Box<Qdrant>,
        collection: String,
    },
    #[cfg(feature = "edge")]
    Edge(Box<super::edge::Edge>),
}

impl Raw {
    pub(crate) async fn new(server: Option<&str>, folder: &Path) -> Self {
        let Some(url) = server else {
            #[cfg(feature = "edge")]
            return Self::Edge(Box::new(super::edge::Edge::new(folder)));
            #[cfg(not(feature = "edge"))]
            panic!("without a server and without Edge in {}", folder.display());
        };
        let client = Qdrant::from_url(&url.replace("qdrant://", "http://"))
            .timeout(Duration::from_mins(2))
            .skip_compatibility_check()
            .build()
            .unwrap();
        let collection = format!("bench-raw-{}", std::process::id());
        let hnsw = HnswConfigDiffBuilder::default().m(0).payload_m(16);
        let mut vectors = VectorsConfigBuilder::default();
        let params = VectorParamsBuilder::new(DIMENSIONS as u64, Distance::Dot);
        vectors.add_named_vector_params(VECTOR, params);
        let create =
            CreateCollectionBuilder::new(&collection).vectors_config(vectors).hnsw_config(hnsw);
        client.create_collection(create).await.unwrap();
        let tenant = KeywordIndexParamsBuilder::default().is_tenant(true);
        let index = CreateFieldIndexCollectionBuilder::new(&collection, "user", FieldType::Keyword);
        client.create_field_index(index.field_index_params(tenant).wait(true)).await.unwrap();
        Self::Server { client: Box::new(client), collection }
    }

    pub(crate) async fn upsert(&self, points: Vec<RawPoint>) {
        match self {
            Self::Server { client, collection } => {
                let points: Vec<PointStruct> = points.into_iter().map(point).collect();
                let upsert = UpsertPointsBuilder::new(collection, points).wait(true);
                client.upsert_points(upsert).await.unwrap();
            }
            #[cfg(feature = "edge")]
            Self::Edge(edge) => edge.upsert(points),
        }
    }

    /// Builds indexes, where nobody does so in the background.
    pub(crate) fn settle(&self) {
        match self {
            Self::Server { .. } => {}
            #[cfg(feature = "edge")]
            Self::Edge(edge) => edge.settle(),
        }
    }

    /// Waits until a server no longer builds indexes of these records, or of the driver's, whose
    /// collection is named.
    pub(crate) async fn quiet(&self, drivers: &str) {
        let Self::Server { client, collection } = self else { return };
        for name in [collection, drivers] {
            loop {
                let info = client.collection_info(name).await.unwrap().result.unwrap();
                if info.status() == CollectionStatus::Green {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }

    pub(crate) async fn search(&self, user: usize, query: &[f32]) {
        match self {
            Self::Server { client, collection } => {
                let query = best(collection, VECTOR, query, "user", format!("user-{user}"));
                client.query(query).await.unwrap();
            }
            #[cfg(feature = "edge")]
            Self::Edge(edge) => edge.search(user, query),
        }
    }
}

/// The driver's own records on a server, searched by hand: the same records, index and payloads.
pub(crate) struct Same<'a> {
    client: &'a Qdrant,
    collection: String,
    /// Each user's place.
    places: Vec<String>,
}

impl Same<'_> {
    pub(crate) async fn search(&self, user: usize, query: &[f32]) {
        let place = self.places[user].clone();
        let query = best(&self.collection, "dense", query, "place", place);
        assert!(!self.client.query(query).await.unwrap().result.is_empty());
    }
}

impl Raw {
    /// Finds out where a server has the driver's records, whose collection is named.
    pub(crate) async fn same(&self, drivers: &str) -> Option<Same<'_>> {
        let Self::Server { client, .. } = self else { return None };
        let facets = FacetCountsBuilder::new(drivers, "place").limit(10 * USERS as u64);
        let found = client.facet(facets).await.unwrap().hits.into_iter();
        let found: Vec<String> = found
            .filter_map(|hit| match hit.value?.variant? {
                facet_value::Variant::StringValue(place) => Some(place),
                _ => None,
            })
            .collect();
        let of_user = |user: usize| {
            let user = format!("user-{user}");
            let named = format!(":{}:{user}3:bot1:n", user.len());
            found.iter().find(|place| place.contains(&named)).unwrap().clone()
        };
        let places = (0..USERS).map(of_user).collect();
        Some(Same { client, collection: drivers.to_owned(), places })
    }
}

fn best(
    collection: &str,
    vector: &str,
    query: &[f32],
    field: &str,
    value: String,
) -> QueryPointsBuilder {
    QueryPointsBuilder::new(collection)
        .query(query.to_vec())
        .using(vector)
        .filter(Filter::must([Condition::matches(field, value)]))
        .limit(10)
        .with_payload(true)
}

fn point(RawPoint { number, user, text, vector }: RawPoint) -> PointStruct {
    let payload: [(&str, Value); 2] =
        [("user", format!("user-{user}").into()), ("content", text.into())];
    PointStruct::new(number, NamedVectors::default().add_vector(VECTOR, vector), payload)
}
