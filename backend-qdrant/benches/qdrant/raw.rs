//! What the driver is compared with.

use std::path::Path;
use std::time::Duration;

use qdrant_client::Qdrant;
use qdrant_client::qdrant::{
    CollectionStatus, Condition, CreateCollectionBuilder, CreateFieldIndexCollectionBuilder,
    Distance, FieldType, Filter, HnswConfigDiffBuilder, KeywordIndexParamsBuilder, NamedVectors,
    PointStruct, QueryPointsBuilder, UpsertPointsBuilder, Value, VectorParamsBuilder,
    VectorsConfigBuilder,
};

use super::{DIMENSIONS, RawPoint, TEXT};

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
                let own = Filter::must([Condition::matches("user", format!("user-{user}"))]);
                let query = QueryPointsBuilder::new(collection)
                    .query(query.to_vec())
                    .using(VECTOR)
                    .filter(own)
                    .limit(10)
                    .with_payload(true);
                client.query(query).await.unwrap();
            }
            #[cfg(feature = "edge")]
            Self::Edge(edge) => edge.search(user, query),
        }
    }
}

fn point((number, user, vector): RawPoint) -> PointStruct {
    let payload: [(&str, Value); 2] =
        [("user", format!("user-{user}").into()), ("content", TEXT.into())];
    PointStruct::new(number, NamedVectors::default().add_vector(VECTOR, vector), payload)
}
