//! Records as points.

pub(crate) mod payload;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use memquill_core::json::Object;
use memquill_core::text::{Language, Terms, bm25, terms};
use memquill_core::{Error, NewRecord, Record, Result, Timestamp, content_hash, json, normalize};
use qdrant_client::qdrant::vectors::VectorsOptions;
use qdrant_client::qdrant::vectors_output::VectorsOptions as OutputOptions;
use qdrant_client::qdrant::{
    DenseVector, NamedVectors, PointStruct, RetrievedPoint, SparseVector, Vector, Vectors,
    VectorsOutput, vector, vector_output,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use self::payload::Payload;
use crate::facts::{self, Facts};
use crate::layout::{DENSE, Place, SPARSE, field};

/// The length in words that texts are weighed against before the namespace's own mean is known.
pub(crate) const USUAL_LENGTH: f64 = 64.0;

/// What a record is to be, its times aside.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) id: String,
    pub(crate) content_hash: String,
    /// The same exactly for what [`NewRecord::is_unchanged`] calls so.
    pub(crate) fingerprint: String,
    content: &'a str,
    document_type: &'a str,
    language: Option<Language>,
    metadata: &'a Object,
    embedding: &'a [f32],
}

impl<'a> Draft<'a> {
    /// A record that is new here.
    pub(crate) fn new(record: &'a NewRecord) -> Self {
        let content_hash = content_hash(&record.content);
        Self {
            id: record.id.clone().unwrap_or_else(|| content_hash.clone()),
            content_hash,
            fingerprint: STANDARD_NO_PAD.encode(record.digest()),
            content: &record.content,
            document_type: &record.document_type,
            language: record.language,
            metadata: &record.metadata,
            embedding: &record.embedding,
        }
    }

    /// A record as it was elsewhere.
    pub(crate) fn restored(record: &'a Record) -> Self {
        Self {
            id: record.id.clone(),
            content_hash: record.content_hash.clone(),
            fingerprint: STANDARD_NO_PAD.encode(record.digest()),
            content: &record.content,
            document_type: &record.document_type,
            language: record.language,
            metadata: &record.metadata,
            embedding: record.embedding.as_deref().unwrap_or_default(),
        }
    }
}

/// The times of a record: when it was created and changed, and when it expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    pub(crate) expires: Option<Timestamp>,
}

/// Scales an embedding to the vector of length 1 that is searched for or among.
pub(crate) fn direction(embedding: &[f32]) -> Vec<f32> {
    if is_unit(embedding) { embedding.to_vec() } else { normalize(embedding.to_vec()) }
}

/// Whether it is a direction as it is: its length is 1 but for what rounding does.
fn is_unit(embedding: &[f32]) -> bool {
    let square: f64 = embedding.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    (square - 1.0).abs() < 1e-6
}

/// A word's number in sparse vectors. Two words may share one; the field `words` keeps them apart.
pub(crate) fn dimension(word: &str) -> u32 {
    let digest = Sha256::digest(word);
    u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// Makes the point of a user's record. `version` is that of the call alone.
pub(crate) fn point(
    place: &Place,
    user: &str,
    draft: &Draft<'_>,
    times: Times,
    version: &str,
) -> PointStruct {
    let metadata = Value::Object(draft.metadata.clone()).to_string();
    let mut fields = payload::payload([
        (field::PLACE, payload::text(place.as_str())),
        (field::ID, payload::text(&*draft.id)),
        (field::CONTENT, payload::text(draft.content)),
        (field::HASH, payload::text(&*draft.content_hash)),
        (field::TYPE, payload::text(draft.document_type)),
        (field::METADATA, payload::text(metadata)),
        (field::CREATED, payload::moment(times.created)),
        (field::UPDATED, payload::moment(times.updated)),
        (field::VERSION, payload::text(version)),
        (field::FINGERPRINT, payload::text(&*draft.fingerprint)),
    ]);
    let mut put = |key: &str, value| drop(fields.insert(key.to_owned(), value));
    if let Some(language) = draft.language {
        put(field::LANGUAGE, payload::text(language.code()));
    }
    if let Some(expires) = times.expires {
        put(field::EXPIRES, payload::moment(expires));
    }
    if !is_unit(draft.embedding) {
        let bits: Vec<u8> = draft.embedding.iter().flat_map(|x| x.to_le_bytes()).collect();
        put(field::RAW, payload::text(STANDARD_NO_PAD.encode(bits)));
    }
    let Facts { mut keywords, numbers, texts } = Facts::of(draft.document_type, draft.metadata);
    keywords.insert(facts::of_user(user));
    put(field::FACTS, payload::texts(keywords));
    let numbers = numbers.into_iter().map(|(key, number)| {
        payload::object([("k", payload::text(key)), ("v", payload::float(number))])
    });
    let texts = texts.into_iter().map(|(key, text)| {
        payload::object([("k", payload::text(key)), ("s", payload::text(text))])
    });
    let order: Vec<_> = numbers.chain(texts).collect();
    if !order.is_empty() {
        put(field::ORDER, payload::list(order));
    }
    let Terms { frequencies, length, .. } = terms(draft.content, draft.language);
    put(field::LENGTH, payload::integer(length.into()));
    let sparse = sparse(frequencies.iter().map(|(word, frequency)| {
        (dimension(word), bm25::weight(*frequency, length, USUAL_LENGTH))
    }));
    put(field::WORDS, payload::texts(frequencies.into_keys()));
    PointStruct {
        id: Some(place.point(&draft.id)),
        payload: fields,
        vectors: Some(vectors(direction(draft.embedding), sparse)),
    }
}

/// Makes the point at `target` of a record that takes the embedding, and what is derived from the
/// content, of its counterpart's point.
pub(crate) fn moved(
    counterpart: RetrievedPoint,
    record: &Record,
    target: &Place,
    version: &str,
) -> PointStruct {
    let RetrievedPoint { mut payload, vectors: output, .. } = counterpart;
    for field in [field::CLAIMED, field::EXPIRES] {
        payload.remove(field);
    }
    payload.extend(payload::payload([
        (field::PLACE, payload::text(target.as_str())),
        (field::CREATED, payload::moment(record.created_at)),
        (field::UPDATED, payload::moment(record.updated_at)),
        (field::VERSION, payload::text(version)),
    ]));
    payload.extend(
        record.expires_at.map(|expires| (field::EXPIRES.to_owned(), payload::moment(expires))),
    );
    let embedding = dense(output.clone()).unwrap_or_default();
    PointStruct {
        id: Some(target.point(&record.id)),
        payload,
        vectors: Some(vectors(embedding, weights(output).unwrap_or_default())),
    }
}

fn vectors(embedding: Vec<f32>, words: SparseVector) -> Vectors {
    let mut vectors = NamedVectors::default();
    let dense = DenseVector { data: embedding };
    vectors.vectors.insert(DENSE.to_owned(), named(vector::Vector::Dense(dense)));
    if !words.indices.is_empty() {
        vectors.vectors.insert(SPARSE.to_owned(), named(vector::Vector::Sparse(words)));
    }
    Vectors { vectors_options: Some(VectorsOptions::Vectors(vectors)) }
}

fn named(vector: vector::Vector) -> Vector {
    Vector { vector: Some(vector), ..Vector::default() }
}

/// Makes a sparse vector; weights of one dimension are added up.
pub(crate) fn sparse(weights: impl Iterator<Item = (u32, f64)>) -> SparseVector {
    let mut all: Vec<(u32, f64)> = weights.collect();
    all.sort_unstable_by_key(|(dimension, _)| *dimension);
    all.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
    #[expect(clippy::cast_possible_truncation, reason = "what the store keeps")]
    let values = all.iter().map(|(_, weight)| *weight as f32).collect();
    SparseVector { values, indices: all.into_iter().map(|(dimension, _)| dimension).collect() }
}

/// Reads the record of a point.
pub(crate) fn record(mut fields: Payload, embedding: Option<Vec<f32>>) -> Result<Record> {
    let language = match payload::get_text(&fields, field::LANGUAGE) {
        None => None,
        Some(code) => Some(Language::from_code(code).ok_or_else(|| {
            Error::corrupted(format!("a record is in a language {code:?} that is not known"))
        })?),
    };
    let metadata = payload::take_text(&mut fields, field::METADATA)?;
    Ok(Record {
        id: payload::take_text(&mut fields, field::ID)?,
        content: payload::take_text(&mut fields, field::CONTENT)?,
        content_hash: payload::take_text(&mut fields, field::HASH)?,
        document_type: payload::take_text(&mut fields, field::TYPE)?,
        metadata: json::parse(&metadata).map_err(|error| {
            Error::corrupted("a record's metadata is not JSON").with_source(error)
        })?,
        language,
        created_at: payload::need_moment(&fields, field::CREATED)?,
        updated_at: payload::need_moment(&fields, field::UPDATED)?,
        expires_at: payload::get_moment(&fields, field::EXPIRES)?,
        embedding,
    })
}

/// Reads the embedding's own bits: those kept apart, or the vector's.
pub(crate) fn embedding(fields: &Payload, vectors: Option<VectorsOutput>) -> Result<Vec<f32>> {
    let lost = || Error::corrupted("a record has no readable embedding");
    match payload::get_text(fields, field::RAW) {
        None => dense(vectors).ok_or_else(lost),
        Some(raw) => {
            let bits = STANDARD_NO_PAD.decode(raw).map_err(|_| lost())?;
            let (numbers, rest) = bits.as_chunks::<4>();
            if !rest.is_empty() {
                return Err(lost());
            }
            Ok(numbers.iter().map(|bits| f32::from_le_bytes(*bits)).collect())
        }
    }
}

fn output(vectors: Option<VectorsOutput>, name: &str) -> Option<vector_output::Vector> {
    match vectors?.vectors_options? {
        OutputOptions::Vectors(mut named) => {
            let output = named.vectors.remove(name)?;
            // Servers before 1.16 answer in fields that were deprecated then.
            output.vector
        }
        OutputOptions::Vector(_) => None,
    }
}

/// Reads the vector of length 1.
pub(crate) fn dense(vectors: Option<VectorsOutput>) -> Option<Vec<f32>> {
    match output(vectors, DENSE)? {
        vector_output::Vector::Dense(dense) => Some(dense.data),
        _ => None,
    }
}

/// Reads the words' weights.
pub(crate) fn weights(vectors: Option<VectorsOutput>) -> Option<SparseVector> {
    match output(vectors, SPARSE)? {
        vector_output::Vector::Sparse(sparse) => Some(sparse),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::layout::Namespace;

    #[test]
    fn v1_what_differs_in_a_bit_has_another_fingerprint() {
        let fingerprint = |record: &NewRecord| Draft::new(record).fingerprint;
        let base = || NewRecord::new("text", vec![1.0, 0.0]);
        let with = |metadata: Value| {
            let Value::Object(metadata) = metadata else { unreachable!() };
            fingerprint(&base().with_metadata(metadata))
        };
        assert_eq!(with(json!({"a": 1, "b": 2})), with(json!({"b": 2, "a": 1})));
        assert_ne!(with(json!({"a": 1})), with(json!({"a": 1.0})));
        let signed = NewRecord::new("text", vec![1.0, -0.0]);
        assert_ne!(fingerprint(&base()), fingerprint(&signed));
        let moved =
            NewRecord { document_type: "texttext".into(), content: String::new(), ..base() };
        assert_ne!(fingerprint(&base()), fingerprint(&moved));
    }

    #[test]
    fn g3_an_embedding_keeps_its_bits() {
        let scope = memquill_core::Scope::new("u", "n").unwrap();
        let place = Place::new("c".into(), &Namespace::of(&scope, "x"), "g");
        let now = Timestamp::default();
        let times = Times { created: now, updated: now, expires: None };
        for embedding_of in [vec![3.0, -0.0], vec![f32::MAX, f32::MIN_POSITIVE], vec![1.0, 1e-30]] {
            let new = NewRecord::new("", embedding_of.clone());
            let stored = point(&place, "u", &Draft::new(&new), times, "v");
            let unit = is_unit(&embedding_of);
            assert_eq!(stored.payload.contains_key(field::RAW), !unit);
            if !unit {
                assert_eq!(embedding(&stored.payload, None).unwrap(), embedding_of);
            }
        }
    }
}
