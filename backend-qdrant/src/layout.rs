//! How the store is laid out: collections, places, ids, fields.

use memory_core::{EmbeddingSpace, Scope};
use qdrant_client::qdrant::payload_index_params::IndexParams;
use qdrant_client::qdrant::vectors_config::Config as Vectors;
use qdrant_client::qdrant::{
    CreateCollection, CreateFieldIndexCollection, Distance, FieldType, FloatIndexParams,
    HnswConfigDiff, IntegerIndexParams, KeywordIndexParams, PayloadIndexParams, PointId,
    SparseVectorConfig, SparseVectorParams, VectorParams, VectorParamsMap, VectorsConfig,
};
use sha2::{Digest as _, Sha256};

use crate::config::Cluster;

/// The version of this layout.
pub(crate) const VERSION: i64 = 1;

/// Up to so many records in a namespace a search is exact (V7).
pub(crate) const EXACT_UP_TO: u64 = 20_000;

/// The vectors of a record.
pub(crate) const DENSE: &str = "dense";
pub(crate) const SPARSE: &str = "words";

/// The fields of a payload.
pub(crate) mod field {
    pub(crate) const PLACE: &str = "place";
    pub(crate) const ID: &str = "id";
    pub(crate) const CONTENT: &str = "content";
    pub(crate) const HASH: &str = "hash";
    pub(crate) const TYPE: &str = "type";
    pub(crate) const METADATA: &str = "metadata";
    pub(crate) const LANGUAGE: &str = "language";
    pub(crate) const CREATED: &str = "created";
    pub(crate) const UPDATED: &str = "updated";
    pub(crate) const EXPIRES: &str = "expires";
    pub(crate) const VERSION: &str = "version";
    pub(crate) const BINDING: &str = "binding";
    pub(crate) const FINGERPRINT: &str = "fingerprint";
    pub(crate) const RAW: &str = "raw";
    pub(crate) const FACTS: &str = "facts";
    pub(crate) const ORDER: &str = "order";
    pub(crate) const WORDS: &str = "words";
    pub(crate) const LENGTH: &str = "length";
    /// When a record was marked as deleted, in milliseconds.
    pub(crate) const TAKEN: &str = "taken";

    // In the collection that the prefix names:
    pub(crate) const KIND: &str = "kind";
    pub(crate) const USER: &str = "user";
    pub(crate) const NODE: &str = "node";
    pub(crate) const SCOPE: &str = "scope";
    pub(crate) const NAMESPACE: &str = "namespace";
    pub(crate) const MODEL: &str = "model";
    pub(crate) const DIMENSIONS: &str = "dimensions";
    pub(crate) const COLLECTION: &str = "collection";

    /// What makes a record, its embedding's bits aside.
    pub(crate) const RECORD: [&str; 10] =
        [PLACE, ID, CONTENT, HASH, TYPE, METADATA, LANGUAGE, CREATED, UPDATED, EXPIRES];
    /// What a writer must know of a record that is there.
    pub(crate) const HEAD: [&str; 9] =
        [PLACE, ID, CREATED, UPDATED, EXPIRES, VERSION, BINDING, FINGERPRINT, TAKEN];
}

/// Parts as one text, from which they can be told again: different parts, different texts (G1).
fn joined(parts: &[&str]) -> String {
    let mut out = String::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        out.push_str(&part.len().to_string());
        out.push(':');
        out.push_str(part);
    }
    out
}

/// A scope as one text.
pub(crate) fn scope_text(scope: &Scope) -> String {
    joined(&[scope.user(), scope.node()])
}

/// Where a record belongs: user, node and namespace as one text, by which every request filters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place(String);

impl Place {
    pub(crate) fn of(scope: &Scope, namespace: &str) -> Self {
        Self(joined(&[scope.user(), scope.node(), namespace]))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The point of the record with this id.
    pub(crate) fn point(&self, id: &str) -> PointId {
        derived("record", &[&self.0, id])
    }

    /// The point that binds the namespace to its space.
    pub(crate) fn binding_point(&self) -> PointId {
        derived("binding", &[&self.0])
    }
}

/// The point that says which version the layout has.
pub(crate) fn schema_point() -> PointId {
    derived("schema", &[])
}

/// The point that says that a space has a collection.
pub(crate) fn space_point(space: &EmbeddingSpace) -> PointId {
    derived("space", &[&space.model, &space.dimensions.to_string()])
}

/// A point's id from 128 bits of SHA-256.
fn derived(kind: &str, parts: &[&str]) -> PointId {
    let digest = Sha256::digest(joined(&[kind, &joined(parts)]));
    uuid(&digest)
}

fn uuid(bytes: &[u8]) -> PointId {
    let hex = hex(&bytes[..16]);
    let text = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    PointId::from(text)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| char::from_digit(nibble.into(), 16).unwrap_or('0'))
        .collect()
}

/// A text that no other call of any process has: it tells writers apart.
pub(crate) fn token() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    use std::sync::atomic::{AtomicU64, Ordering};
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    // Both halves are keyed anew by the system's randomness.
    let half = || RandomState::new().hash_one((std::process::id(), call));
    format!("{:016x}{:016x}{call:x}", half(), half())
}

/// The collection of a space's records.
pub(crate) fn collection(prefix: &str, space: &EmbeddingSpace) -> String {
    let dimensions = space.dimensions.to_string();
    let digest = Sha256::digest(joined(&[&space.model, &dimensions]));
    format!("{prefix}-{}", hex(&digest[..16]))
}

/// How the collection that the prefix names is made. It has no vectors and one shard, so that what
/// decides between writers is in one place.
pub(crate) fn registry(prefix: &str, cluster: Cluster) -> CreateCollection {
    CreateCollection {
        collection_name: prefix.to_owned(),
        shard_number: Some(1),
        replication_factor: cluster.replicas,
        write_consistency_factor: cluster.write_consistency,
        vectors_config: Some(VectorsConfig {
            config: Some(Vectors::ParamsMap(VectorParamsMap::default())),
        }),
        ..CreateCollection::default()
    }
}

/// How a space's collection is made. There is no graph over all users' records, only one for each
/// large place.
pub(crate) fn records(name: &str, space: &EmbeddingSpace, cluster: Cluster) -> CreateCollection {
    let dimensions = space.dimensions as u64;
    let dense = VectorParams {
        size: dimensions,
        // Vectors are of length 1, so this is the cosine, and the store keeps them bit for bit.
        distance: Distance::Dot.into(),
        ..VectorParams::default()
    };
    let vectors = VectorParamsMap { map: [(DENSE.to_owned(), dense)].into() };
    let sparse =
        SparseVectorConfig { map: [(SPARSE.to_owned(), SparseVectorParams::default())].into() };
    CreateCollection {
        collection_name: name.to_owned(),
        hnsw_config: Some(HnswConfigDiff {
            m: Some(0),
            payload_m: Some(16),
            // In kilobytes of vectors, rounded up.
            full_scan_threshold: Some((EXACT_UP_TO * dimensions * 4).div_ceil(1_000) + 1),
            ..HnswConfigDiff::default()
        }),
        shard_number: cluster.shards,
        replication_factor: cluster.replicas,
        write_consistency_factor: cluster.write_consistency,
        vectors_config: Some(VectorsConfig { config: Some(Vectors::ParamsMap(vectors)) }),
        sparse_vectors_config: Some(sparse),
        ..CreateCollection::default()
    }
}

fn index(
    collection: &str,
    field: &str,
    kind: FieldType,
    params: IndexParams,
) -> CreateFieldIndexCollection {
    CreateFieldIndexCollection {
        collection_name: collection.to_owned(),
        wait: Some(true),
        field_name: field.to_owned(),
        field_type: Some(kind.into()),
        field_index_params: Some(PayloadIndexParams { index_params: Some(params) }),
        ..CreateFieldIndexCollection::default()
    }
}

/// A keyword index. Only a tenant's has a graph of its own.
fn keyword(collection: &str, field: &str, tenant: bool) -> CreateFieldIndexCollection {
    let params = KeywordIndexParams {
        is_tenant: tenant.then_some(true),
        enable_hnsw: (!tenant).then_some(false),
        ..KeywordIndexParams::default()
    };
    index(collection, field, FieldType::Keyword, IndexParams::KeywordIndexParams(params))
}

fn whole(collection: &str, field: &str) -> CreateFieldIndexCollection {
    let params = IntegerIndexParams {
        lookup: Some(true),
        range: Some(true),
        enable_hnsw: Some(false),
        ..IntegerIndexParams::default()
    };
    index(collection, field, FieldType::Integer, IndexParams::IntegerIndexParams(params))
}

/// The indexes of the collection that the prefix names.
pub(crate) fn registry_indexes(name: &str) -> Vec<CreateFieldIndexCollection> {
    [field::KIND, field::USER, field::NODE, field::SCOPE, field::BINDING]
        .map(|field| keyword(name, field, false))
        .into()
}

/// The indexes of a space's collection: every field that any request filters by, so that a server
/// in strict mode takes them.
pub(crate) fn record_indexes(name: &str) -> Vec<CreateFieldIndexCollection> {
    let float = FloatIndexParams { enable_hnsw: Some(false), ..FloatIndexParams::default() };
    vec![
        keyword(name, field::PLACE, true),
        keyword(name, field::VERSION, false),
        keyword(name, field::BINDING, false),
        keyword(name, field::FACTS, false),
        keyword(name, field::WORDS, false),
        keyword(name, "order[].k", false),
        index(name, "order[].v", FieldType::Float, IndexParams::FloatIndexParams(float)),
        whole(name, field::CREATED),
        whole(name, field::EXPIRES),
        whole(name, field::LENGTH),
        whole(name, field::TAKEN),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g1_different_parts_are_different_places() {
        let of = |user: &str, node: &str, namespace: &str| {
            Place::of(&Scope::new(user, node).unwrap(), namespace)
        };
        let places = [
            of("a", "b", "c"),
            of("a", "bc", "c"),
            of("ab", "c", "c"),
            of("1:a", "b", "c"),
            of("a1:b", "c", "c"),
            of("a", "b1:c", "c"),
            of("A", "b", "c"),
        ];
        for (at, place) in places.iter().enumerate() {
            assert_eq!(places.iter().position(|other| other == place), Some(at));
            assert_ne!(place.point("x"), place.point("X"));
        }
        assert_ne!(of("a", "b", "c").point("d"), of("a", "b", "c1:d").point(""));
    }

    #[test]
    fn tokens_differ() {
        let tokens: std::collections::HashSet<String> = (0..1_000).map(|_| token()).collect();
        assert_eq!(tokens.len(), 1_000);
    }

    #[test]
    fn a_space_has_a_collection_of_its_own() {
        let name =
            |model, dimensions| collection("memory", &EmbeddingSpace::new(model, dimensions));
        assert_ne!(name("m", 4), name("m", 5));
        assert_ne!(name("m", 4), name("M", 4));
        assert_eq!(name("m", 4).len(), "memory-".len() + 32);
    }
}
