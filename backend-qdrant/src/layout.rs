//! How the store is laid out: collections, places, ids, fields.

use std::collections::BTreeSet;

use memquill_core::Scope;
use qdrant_client::qdrant::payload_index_params::IndexParams;
use qdrant_client::qdrant::vectors_config::Config as Vectors;
use qdrant_client::qdrant::{
    CollectionInfo, CreateCollection, CreateFieldIndexCollection, Distance, FieldType,
    FloatIndexParams, HnswConfigDiff, IntegerIndexParams, KeywordIndexParams, PayloadIndexParams,
    PointId, SparseVectorConfig, SparseVectorParams, VectorParams, VectorParamsMap, VectorsConfig,
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::config::Cluster;

/// The version of this layout.
pub(crate) const VERSION: i64 = 1;

/// Records in a namespace up to which a search is exact (V7).
pub(crate) const EXACT_SEARCH_LIMIT: u64 = 20_000;

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
    /// The versions that a record's version replaced, the newest first, a few of them.
    pub(crate) const BEFORE: &str = "before";
    pub(crate) const FINGERPRINT: &str = "fingerprint";
    pub(crate) const RAW: &str = "raw";
    pub(crate) const FACTS: &str = "facts";
    pub(crate) const ORDER: &str = "order";
    pub(crate) const WORDS: &str = "words";
    pub(crate) const LENGTH: &str = "length";
    /// When a record was claimed, in milliseconds: by a deleter, which moves it to nobody's place
    /// besides, or by a rebinding, so that nobody deletes it meanwhile.
    pub(crate) const CLAIMED: &str = "claimed";

    // In the collection that the prefix names:
    pub(crate) const KIND: &str = "kind";
    pub(crate) const USER: &str = "user";
    pub(crate) const NODE: &str = "node";
    pub(crate) const SCOPE: &str = "scope";
    pub(crate) const NAMESPACE: &str = "namespace";
    pub(crate) const MODEL: &str = "model";
    pub(crate) const DIMENSIONS: &str = "dimensions";
    pub(crate) const ORIGIN: &str = "origin";
    pub(crate) const GENERATION: &str = "generation";
    /// Differs between a binding and what it was before or becomes later.
    pub(crate) const TOKEN: &str = "token";
    /// The lease of whoever rebinds the namespace.
    pub(crate) const LEASE: &str = "lease";
    /// Places that may hold records of the namespace which nobody reads.
    pub(crate) const ORPHANS: &str = "orphans";

    /// What makes a record, its embedding's bits aside, and whether it is claimed.
    pub(crate) const RECORD: [&str; 11] =
        [PLACE, ID, CONTENT, HASH, TYPE, METADATA, LANGUAGE, CREATED, UPDATED, EXPIRES, CLAIMED];
    /// What a writer must know of a record that exists.
    pub(crate) const HEAD: [&str; 9] =
        [PLACE, ID, CREATED, UPDATED, EXPIRES, VERSION, BEFORE, FINGERPRINT, CLAIMED];
}

/// Joins parts so that different parts give different texts (G1).
fn joined(parts: &[&str]) -> String {
    let mut out = String::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        out.push_str(&part.len().to_string());
        out.push(':');
        out.push_str(part);
    }
    out
}

/// Joins a scope to one text.
pub(crate) fn scope_text(scope: &Scope) -> String {
    joined(&[scope.user(), scope.node()])
}

/// A namespace of a scope: user, node and name as one text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Namespace(String);

impl Namespace {
    pub(crate) fn of(scope: &Scope, name: &str) -> Self {
        Self(joined(&[scope.user(), scope.node(), name]))
    }

    /// The point that binds the namespace to its space.
    pub(crate) fn binding_point(&self) -> PointId {
        point(digest("binding", &[&self.0]))
    }
}

/// Where a namespace's records are: a collection, and a text by which every request filters. It
/// holds the namespace and a generation, which no other binding of the namespace has: so no request
/// finds the records of a former binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) collection: String,
    namespace: Namespace,
    generation: String,
    text: String,
}

impl Place {
    pub(crate) fn new(collection: String, namespace: &Namespace, generation: &str) -> Self {
        Self {
            collection,
            namespace: namespace.clone(),
            generation: generation.to_owned(),
            text: joined(&[&namespace.0, generation]),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn generation(&self) -> &str {
        &self.generation
    }

    /// The point of the record with this id. Its first half is the same in every generation, so
    /// that a walk goes on where it was after the namespace was rebound (G11).
    pub(crate) fn point(&self, id: &str) -> PointId {
        let mut bytes = digest("record", &[&self.namespace.0, id]);
        bytes[8..].copy_from_slice(&digest("generation", &[&self.generation, id])[..8]);
        point(bytes)
    }
}

/// The least point id whose first half is that of this one.
pub(crate) fn first_of_all_generations(point: &str) -> PointId {
    match point.get(..18) {
        Some(half) => PointId::from(format!("{half}-0000-000000000000")),
        None => PointId::from(point),
    }
}

/// The point that says which version the layout has.
pub(crate) fn schema_point() -> PointId {
    point(digest("schema", &[]))
}

/// The point that records a collection for these dimensions.
pub(crate) fn collection_point(dimensions: usize) -> PointId {
    point(digest("collection", &[&dimensions.to_string()]))
}

/// The first 16 bytes of SHA-256.
fn digest(kind: &str, parts: &[&str]) -> [u8; 16] {
    let digest = Sha256::digest(joined(&[kind, &joined(parts)]));
    std::array::from_fn(|at| digest[at])
}

fn point(bytes: [u8; 16]) -> PointId {
    PointId::from(Uuid::from_bytes(bytes).to_string())
}

/// Makes a text that no other call of any process has, so that writers differ.
pub(crate) fn token() -> String {
    Uuid::new_v4().simple().to_string()
}

/// Names the collection of all records whose embeddings have this number of dimensions. No prefix has
/// a dot in it, so that no two stores share one.
pub(crate) fn collection(prefix: &str, dimensions: usize) -> String {
    format!("{prefix}.{dimensions}")
}

/// Describes the collection that the prefix names. It has no vectors and one shard, so that what
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

/// Describes a collection of records. There is no graph over all users' records, only one for each
/// large place.
pub(crate) fn records(name: &str, dimensions: usize, cluster: Cluster) -> CreateCollection {
    let dimensions = dimensions as u64;
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
            full_scan_threshold: Some((EXACT_SEARCH_LIMIT * dimensions * 4).div_ceil(1_000) + 1),
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

/// Whether a collection has the vectors of the one that was to be created.
pub(crate) fn is_like(info: &CollectionInfo, wanted: &CreateCollection) -> bool {
    let params = info.config.as_ref().and_then(|config| config.params.as_ref());
    let dense_of = |config: Option<&VectorsConfig>| -> Vec<(String, u64, i32)> {
        let one =
            |name: &str, params: &VectorParams| (name.to_owned(), params.size, params.distance);
        let mut dense = match config.and_then(|config| config.config.as_ref()) {
            None => Vec::new(),
            Some(Vectors::Params(params)) => vec![one("", params)],
            Some(Vectors::ParamsMap(named)) => {
                named.map.iter().map(|(name, params)| one(name, params)).collect()
            }
        };
        dense.sort_unstable();
        dense
    };
    let sparse_of = |config: Option<&SparseVectorConfig>| -> BTreeSet<String> {
        config.iter().flat_map(|config| config.map.keys().cloned()).collect()
    };
    let dense = dense_of(params.and_then(|params| params.vectors_config.as_ref()));
    let sparse = sparse_of(params.and_then(|params| params.sparse_vectors_config.as_ref()));
    dense == dense_of(wanted.vectors_config.as_ref())
        && sparse == sparse_of(wanted.sparse_vectors_config.as_ref())
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
    [field::KIND, field::USER, field::NODE, field::SCOPE, field::TOKEN]
        .map(|field| keyword(name, field, false))
        .into()
}

/// The indexes of a collection of records: every field that any request filters by, so that a server
/// in strict mode accepts them.
pub(crate) fn record_indexes(name: &str) -> Vec<CreateFieldIndexCollection> {
    let float = FloatIndexParams { enable_hnsw: Some(false), ..FloatIndexParams::default() };
    vec![
        keyword(name, field::PLACE, true),
        keyword(name, field::VERSION, false),
        keyword(name, field::FACTS, false),
        keyword(name, field::WORDS, false),
        keyword(name, "order[].k", false),
        index(name, "order[].v", FieldType::Float, IndexParams::FloatIndexParams(float)),
        whole(name, field::CREATED),
        whole(name, field::EXPIRES),
        whole(name, field::LENGTH),
        whole(name, field::CLAIMED),
    ]
}

#[cfg(test)]
mod tests {
    use qdrant_client::qdrant::point_id::PointIdOptions;

    use super::*;

    fn namespace(user: &str, node: &str, name: &str) -> Namespace {
        Namespace::of(&Scope::new(user, node).unwrap(), name)
    }

    fn text(point: &PointId) -> &str {
        let Some(PointIdOptions::Uuid(text)) = &point.point_id_options else { unreachable!() };
        text
    }

    #[test]
    fn g1_different_parts_are_different_places() {
        let of = |user: &str, node: &str, name: &str, generation: &str| {
            Place::new("c".into(), &namespace(user, node, name), generation)
        };
        let places = [
            of("a", "b", "c", "g"),
            of("a", "bc", "c", "g"),
            of("ab", "c", "c", "g"),
            of("1:a", "b", "c", "g"),
            of("a1:b", "c", "c", "g"),
            of("a", "b1:c", "c", "g"),
            of("A", "b", "c", "g"),
            of("a", "b", "c", "h"),
            of("a", "b", "c1:g", ""),
        ];
        for (at, place) in places.iter().enumerate() {
            let same = |other: &Place| other.as_str() == place.as_str();
            assert_eq!(places.iter().position(same), Some(at));
            assert_ne!(place.point("x"), place.point("X"));
            let points = places.iter().filter(|other| other.point("x") == place.point("x"));
            assert_eq!(points.count(), 1);
        }
    }

    #[test]
    fn g11_a_records_point_keeps_its_order_in_every_generation() {
        let namespace = namespace("a", "b", "c");
        let [old, new] = ["g", "h"].map(|g| Place::new("c".into(), &namespace, g));
        let order = |place: &Place| {
            let mut ids: Vec<String> = (0..50).map(|id| id.to_string()).collect();
            ids.sort_unstable_by_key(|id| text(&place.point(id)).to_owned());
            ids
        };
        assert_eq!(order(&old), order(&new));
        let (old, new) = (old.point("x"), new.point("x"));
        let first = first_of_all_generations(text(&old));
        assert_eq!(first, first_of_all_generations(text(&new)));
        assert!(text(&first) <= text(&old) && text(&first) <= text(&new));
        assert_eq!(text(&first).len(), text(&old).len());
    }
}
