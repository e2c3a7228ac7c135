//! Qdrant Edge by hand.

use std::path::Path;

use qdrant_edge::{
    Condition, CreateIndex, Distance, EdgeConfig, EdgeShard, EdgeVectorParams, FieldCondition,
    FieldIndexOperations, Filter, HnswIndexConfig, KeywordIndexParams, Match, NamedQuery, Payload,
    PayloadFieldSchema, PayloadSchemaParams, PointId, PointInsertOperations, PointOperations,
    PointStructPersisted, QueryEnum, QueryRequest, ScoringQuery, UpdateOperation, ValueVariants,
    VectorInternal, VectorPersisted, VectorStructPersisted, WithPayloadInterface, WithVector,
};
use serde_json::json;

use super::raw::VECTOR;
use super::{DIMENSIONS, RawPoint};

/// A shard.
pub(crate) struct Edge(EdgeShard);

impl Edge {
    pub(crate) fn new(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let usual = HnswIndexConfig::default();
        let config = EdgeConfig::builder()
            .vector(VECTOR, EdgeVectorParams::builder(DIMENSIONS, Distance::Dot).build())
            .hnsw_config(HnswIndexConfig { m: 0, payload_m: Some(16), ..usual })
            .build();
        let shard = EdgeShard::new(folder, config).unwrap();
        let tenant = KeywordIndexParams { is_tenant: Some(true), ..KeywordIndexParams::default() };
        let index = CreateIndex {
            field_name: "user".parse().unwrap(),
            field_schema: Some(PayloadFieldSchema::FieldParams(PayloadSchemaParams::Keyword(
                tenant,
            ))),
        };
        let index = FieldIndexOperations::CreateIndex(index);
        shard.update(UpdateOperation::FieldIndexOperation(index)).unwrap();
        Self(shard)
    }

    pub(crate) fn upsert(&self, points: Vec<RawPoint>) {
        let points = points.into_iter().map(point).collect();
        let points = PointInsertOperations::PointsList(points);
        let upsert = UpdateOperation::PointOperation(PointOperations::UpsertPoints(points));
        self.0.update(upsert).unwrap();
    }

    /// What the driver does in the background after 2,000 points.
    pub(crate) fn settle(&self) {
        self.0.optimize().unwrap();
        self.0.flush();
    }

    pub(crate) fn search(&self, user: usize, query: &[f32]) {
        let user = Match::new_value(ValueVariants::String(format!("user-{user}")));
        let user = FieldCondition::new_match("user".parse().unwrap(), user);
        let filter = Filter { must: Some(vec![Condition::Field(user)]), ..Filter::default() };
        let query = NamedQuery {
            query: VectorInternal::Dense(query.to_vec()),
            using: Some(VECTOR.to_owned()),
        };
        self.0
            .query(QueryRequest {
                prefetches: Vec::new(),
                query: Some(ScoringQuery::Vector(QueryEnum::Nearest(query))),
                filter: Some(filter),
                score_threshold: None,
                limit: 10,
                offset: 0,
                params: None,
                with_vector: WithVector::Bool(false),
                with_payload: WithPayloadInterface::Bool(true),
            })
            .unwrap();
    }
}

fn point(RawPoint { number, user, text, vector }: RawPoint) -> PointStructPersisted {
    let payload = json!({"user": format!("user-{user}"), "content": text});
    let serde_json::Value::Object(payload) = payload else { unreachable!() };
    let vector = [(VECTOR.to_owned(), VectorPersisted::Dense(vector))];
    PointStructPersisted {
        id: PointId::NumId(number),
        vector: VectorStructPersisted::Named(vector.into_iter().collect()),
        payload: Some(Payload(payload)),
    }
}
