//! Between Qdrant's messages and Edge's types, as far as the driver uses them.

use std::collections::HashMap;
use std::str::FromStr as _;

use qdrant_client::Payload;
use qdrant_client::qdrant as proto;
use qdrant_client::qdrant::condition::ConditionOneOf;
use qdrant_client::qdrant::r#match::MatchValue as ProtoMatch;
use qdrant_edge as edge;
use qdrant_edge::external::ordered_float::OrderedFloat;
use qdrant_edge::external::uuid::Uuid;
use tonic::Status;

type Result<T> = std::result::Result<T, Status>;

fn unknown(what: &str) -> Status {
    Status::unimplemented(format!("the engine in this process does not know {what}"))
}

fn missing(what: &str) -> Status {
    Status::invalid_argument(format!("the request has no {what}"))
}

pub(super) fn failed(error: edge::OperationError) -> Status {
    Status::internal(error.to_string())
}

pub(super) fn path(key: &str) -> Result<edge::JsonPath> {
    edge::JsonPath::from_str(key)
        .map_err(|()| Status::invalid_argument(format!("{key:?} is not a payload key")))
}

pub(super) fn point_id(id: Option<&proto::PointId>) -> Result<edge::PointId> {
    match id.and_then(|id| id.point_id_options.as_ref()) {
        Some(proto::point_id::PointIdOptions::Num(number)) => Ok(edge::PointId::NumId(*number)),
        Some(proto::point_id::PointIdOptions::Uuid(text)) => Uuid::parse_str(text)
            .map(edge::PointId::Uuid)
            .map_err(|_| Status::invalid_argument(format!("{text:?} is not a point's id"))),
        None => Err(missing("point id")),
    }
}

pub(super) fn point_ids(ids: &[proto::PointId]) -> Result<Vec<edge::PointId>> {
    ids.iter().map(|id| point_id(Some(id))).collect()
}

pub(super) fn to_point_id(id: edge::PointId) -> proto::PointId {
    match id {
        edge::PointId::NumId(number) => proto::PointId::from(number),
        edge::PointId::Uuid(uuid) => proto::PointId::from(uuid.to_string()),
    }
}

pub(super) fn payload(fields: HashMap<String, proto::Value>) -> edge::Payload {
    edge::Payload(Payload::from(fields).into())
}

fn to_payload(payload: Option<edge::Payload>) -> HashMap<String, proto::Value> {
    payload.map(|payload| Payload::from(payload.0).into()).unwrap_or_default()
}

fn vector(vector: proto::Vector) -> Result<edge::VectorPersisted> {
    match vector.vector {
        Some(proto::vector::Vector::Dense(dense)) => Ok(edge::VectorPersisted::Dense(dense.data)),
        Some(proto::vector::Vector::Sparse(sparse)) => {
            Ok(edge::VectorPersisted::Sparse(sparse_vector(sparse)?))
        }
        _ => Err(unknown("this kind of vector")),
    }
}

fn sparse_vector(sparse: proto::SparseVector) -> Result<edge::SparseVector> {
    edge::SparseVector::new(sparse.indices, sparse.values)
        .map_err(|error| Status::invalid_argument(error.to_string()))
}

pub(super) fn point(point: proto::PointStruct) -> Result<edge::PointStructPersisted> {
    let named = match point.vectors.and_then(|vectors| vectors.vectors_options) {
        Some(proto::vectors::VectorsOptions::Vectors(named)) => named.vectors,
        Some(_) => return Err(unknown("vectors without a name")),
        None => return Err(missing("vectors")),
    };
    let named = named.into_iter().map(|(name, v)| Ok((name, vector(v)?))).collect::<Result<_>>()?;
    Ok(edge::PointStructPersisted {
        id: point_id(point.id.as_ref())?,
        vector: edge::VectorStructPersisted::Named(named),
        payload: Some(payload(point.payload)),
    })
}

fn to_vectors(vectors: Option<edge::VectorStructInternal>) -> Option<proto::VectorsOutput> {
    let edge::VectorStructInternal::Named(named) = vectors? else { return None };
    let named = named
        .into_iter()
        .filter_map(|(name, vector)| {
            let vector = match vector {
                edge::VectorInternal::Dense(data) => {
                    proto::vector_output::Vector::Dense(proto::DenseVector { data })
                }
                edge::VectorInternal::Sparse(sparse) => {
                    proto::vector_output::Vector::Sparse(proto::SparseVector {
                        values: sparse.values,
                        indices: sparse.indices,
                    })
                }
                edge::VectorInternal::MultiDense(_) => return None,
            };
            let output =
                proto::VectorOutput { vector: Some(vector), ..proto::VectorOutput::default() };
            Some((name, output))
        })
        .collect();
    let options = proto::NamedVectorsOutput { vectors: named };
    Some(proto::VectorsOutput {
        vectors_options: Some(proto::vectors_output::VectorsOptions::Vectors(options)),
    })
}

pub(super) fn retrieved(record: edge::Record) -> proto::RetrievedPoint {
    proto::RetrievedPoint {
        id: Some(to_point_id(record.id)),
        payload: to_payload(record.payload),
        vectors: to_vectors(record.vector),
        ..proto::RetrievedPoint::default()
    }
}

/// A point as it is stored, to be written again.
pub(super) fn stored(record: edge::Record) -> proto::PointStruct {
    let named = match record.vector {
        Some(edge::VectorStructInternal::Named(named)) => named,
        _ => HashMap::new(),
    };
    let vectors = named.into_iter().filter_map(|(name, vector)| {
        let vector = match vector {
            edge::VectorInternal::Dense(data) => {
                proto::vector::Vector::Dense(proto::DenseVector { data })
            }
            edge::VectorInternal::Sparse(sparse) => {
                proto::vector::Vector::Sparse(proto::SparseVector {
                    values: sparse.values,
                    indices: sparse.indices,
                })
            }
            // None is ever written.
            edge::VectorInternal::MultiDense(_) => return None,
        };
        Some((name, proto::Vector { vector: Some(vector), ..proto::Vector::default() }))
    });
    let named = proto::NamedVectors { vectors: vectors.collect() };
    let named = proto::vectors::VectorsOptions::Vectors(named);
    proto::PointStruct {
        id: Some(to_point_id(record.id)),
        payload: to_payload(record.payload),
        vectors: Some(proto::Vectors { vectors_options: Some(named) }),
    }
}

pub(super) fn scored(point: edge::ScoredPoint) -> proto::ScoredPoint {
    proto::ScoredPoint {
        id: Some(to_point_id(point.id)),
        payload: to_payload(point.payload),
        score: point.score,
        version: point.version,
        vectors: to_vectors(point.vector),
        ..proto::ScoredPoint::default()
    }
}

pub(super) fn with_payload(
    selector: Option<proto::WithPayloadSelector>,
) -> Result<edge::WithPayloadInterface> {
    use proto::with_payload_selector::SelectorOptions;
    match selector.and_then(|selector| selector.selector_options) {
        None => Ok(edge::WithPayloadInterface::Bool(false)),
        Some(SelectorOptions::Enable(flag)) => Ok(edge::WithPayloadInterface::Bool(flag)),
        Some(SelectorOptions::Include(include)) => {
            let keys = include.fields.iter().map(|key| path(key)).collect::<Result<_>>()?;
            Ok(edge::WithPayloadInterface::Fields(keys))
        }
        Some(SelectorOptions::Exclude(_)) => Err(unknown("payloads without some fields")),
    }
}

pub(super) fn with_vectors(selector: Option<proto::WithVectorsSelector>) -> edge::WithVector {
    use proto::with_vectors_selector::SelectorOptions;
    match selector.and_then(|selector| selector.selector_options) {
        None => edge::WithVector::Bool(false),
        Some(SelectorOptions::Enable(flag)) => edge::WithVector::Bool(flag),
        Some(SelectorOptions::Include(include)) => edge::WithVector::Selector(include.names),
    }
}

pub(super) fn query(
    query: Option<proto::Query>,
    using: Option<String>,
) -> Result<edge::ScoringQuery> {
    use proto::query::Variant as Query;
    use proto::vector_input::Variant;
    let input = match query.and_then(|query| query.variant) {
        Some(Query::Nearest(input)) => input,
        Some(Query::Formula(formula)) if formula.defaults.is_empty() => {
            let formula = expression(formula.expression)?;
            let formula = edge::Formula { formula, defaults: HashMap::new() };
            return Ok(edge::ScoringQuery::Formula(formula.try_into().map_err(failed)?));
        }
        _ => return Err(unknown("this kind of query")),
    };
    let vector = match input.variant {
        Some(Variant::Dense(dense)) => edge::VectorInternal::Dense(dense.data),
        Some(Variant::Sparse(sparse)) => edge::VectorInternal::Sparse(sparse_vector(sparse)?),
        _ => return Err(unknown("this kind of query vector")),
    };
    let named = edge::NamedQuery { query: vector, using };
    Ok(edge::ScoringQuery::Vector(edge::QueryEnum::Nearest(named)))
}

fn expression(from: Option<proto::Expression>) -> Result<edge::Expression> {
    use proto::expression::Variant;
    let all = |parts: Vec<proto::Expression>| {
        parts.into_iter().map(|part| expression(Some(part))).collect::<Result<_>>()
    };
    Ok(match from.and_then(|expression| expression.variant) {
        Some(Variant::Constant(number)) => edge::Expression::Constant(number),
        Some(Variant::Variable(name)) => edge::Expression::Variable(name),
        Some(Variant::Mult(product)) => edge::Expression::Mult(all(product.mult)?),
        Some(Variant::Sum(sum)) => edge::Expression::Sum(all(sum.sum)?),
        Some(Variant::Div(quotient)) => edge::Expression::Div {
            left: Box::new(expression(quotient.left.map(|left| *left))?),
            right: Box::new(expression(quotient.right.map(|right| *right))?),
            by_zero_default: quotient.by_zero_default,
        },
        _ => return Err(unknown("this kind of expression")),
    })
}

pub(super) fn prefetch(prefetch: proto::PrefetchQuery) -> Result<edge::Prefetch> {
    Ok(edge::Prefetch {
        prefetches: prefetch.prefetch.into_iter().map(self::prefetch).collect::<Result<_>>()?,
        query: Some(query(prefetch.query, prefetch.using)?),
        limit: size(prefetch.limit, 10),
        params: prefetch.params.map(search_params),
        filter: filter(prefetch.filter)?,
        score_threshold: prefetch.score_threshold.map(Into::into),
    })
}

/// Returns a number of points; `usual` where there is none.
pub(super) fn size(number: Option<u64>, usual: usize) -> usize {
    number.map_or(usual, |number| usize::try_from(number).unwrap_or(usize::MAX))
}

pub(super) fn search_params(params: proto::SearchParams) -> edge::SearchParams {
    edge::SearchParams {
        exact: params.exact.unwrap_or_default(),
        hnsw_ef: params.hnsw_ef.and_then(|ef| usize::try_from(ef).ok()),
        ..edge::SearchParams::default()
    }
}

pub(super) fn filter(filter: Option<proto::Filter>) -> Result<Option<edge::Filter>> {
    filter.map(one_filter).transpose()
}

pub(super) fn one_filter(filter: proto::Filter) -> Result<edge::Filter> {
    if filter.min_should.is_some() {
        return Err(unknown("min_should"));
    }
    let some = |conditions: Vec<proto::Condition>| -> Result<Option<Vec<edge::Condition>>> {
        if conditions.is_empty() {
            return Ok(None);
        }
        conditions.into_iter().map(condition).collect::<Result<_>>().map(Some)
    };
    Ok(edge::Filter {
        should: some(filter.should)?,
        min_should: None,
        must: some(filter.must)?,
        must_not: some(filter.must_not)?,
    })
}

fn condition(condition: proto::Condition) -> Result<edge::Condition> {
    Ok(match condition.condition_one_of {
        Some(ConditionOneOf::Field(field)) => edge::Condition::Field(field_condition(field)?),
        Some(ConditionOneOf::Filter(filter)) => edge::Condition::Filter(one_filter(filter)?),
        Some(ConditionOneOf::HasId(ids)) => {
            let ids = point_ids(&ids.has_id)?;
            edge::Condition::HasId(ids.into_iter().collect::<edge::HasIdCondition>())
        }
        Some(ConditionOneOf::Nested(nested)) => {
            let filter = nested.filter.ok_or_else(|| missing("nested filter"))?;
            let nested = edge::Nested { key: path(&nested.key)?, filter: one_filter(filter)? };
            edge::Condition::Nested(edge::NestedCondition::new(nested))
        }
        Some(_) => return Err(unknown("this kind of condition")),
        None => return Err(missing("condition")),
    })
}

fn field_condition(field: proto::FieldCondition) -> Result<edge::FieldCondition> {
    let key = path(&field.key)?;
    if let Some(found) = field.r#match {
        return Ok(edge::FieldCondition::new_match(key, matching(found)?));
    }
    match field.range {
        Some(range) => {
            let float = |bound: Option<f64>| bound.map(OrderedFloat);
            let range = edge::Range {
                lt: float(range.lt),
                gt: float(range.gt),
                gte: float(range.gte),
                lte: float(range.lte),
            };
            Ok(edge::FieldCondition::new_range(key, range))
        }
        None => Err(unknown("this kind of field condition")),
    }
}

fn matching(found: proto::Match) -> Result<edge::Match> {
    Ok(match found.match_value {
        Some(ProtoMatch::Keyword(text)) => {
            edge::Match::new_value(edge::ValueVariants::String(text))
        }
        Some(ProtoMatch::Integer(number)) => {
            edge::Match::new_value(edge::ValueVariants::Integer(number))
        }
        Some(ProtoMatch::Keywords(texts)) => {
            edge::Match::new_any(edge::AnyVariants::Strings(texts.strings.into_iter().collect()))
        }
        Some(ProtoMatch::Integers(numbers)) => edge::Match::new_any(edge::AnyVariants::Integers(
            numbers.integers.into_iter().collect(),
        )),
        Some(ProtoMatch::Text(text)) => edge::Match::new_text(&text),
        _ => return Err(unknown("this kind of match")),
    })
}

pub(super) fn facet_hit(hit: edge::FacetValueHit) -> proto::FacetHit {
    let variant = match hit.value {
        edge::FacetValue::Keyword(text) => proto::facet_value::Variant::StringValue(text.clone()),
        edge::FacetValue::Int(number) => proto::facet_value::Variant::IntegerValue(number),
        edge::FacetValue::Uuid(uuid) => {
            proto::facet_value::Variant::StringValue(Uuid::from_u128(uuid).to_string())
        }
        edge::FacetValue::Bool(flag) => proto::facet_value::Variant::BoolValue(flag),
    };
    proto::FacetHit {
        value: Some(proto::FacetValue { variant: Some(variant) }),
        count: hit.count as u64,
    }
}

/// How a collection is kept.
pub(super) fn config(request: &proto::CreateCollection) -> Result<edge::EdgeConfig> {
    use proto::vectors_config::Config;
    let mut builder = edge::EdgeConfig::builder();
    match request.vectors_config.clone().and_then(|config| config.config) {
        Some(Config::ParamsMap(named)) => {
            for (name, params) in named.map {
                if params.distance() != proto::Distance::Dot {
                    return Err(unknown("distances but dot"));
                }
                let dense = edge::EdgeVectorParams::builder(
                    size(Some(params.size), 0),
                    edge::Distance::Dot,
                );
                builder = builder.vector(name, dense.build());
            }
        }
        Some(Config::Params(_)) => return Err(unknown("vectors without a name")),
        None => {}
    }
    for name in request.sparse_vectors_config.iter().flat_map(|sparse| sparse.map.keys()) {
        let sparse = edge::EdgeSparseVectorParams::default();
        builder = builder.sparse_vector(name.clone(), sparse);
    }
    if let Some(hnsw) = &request.hnsw_config {
        let usual = edge::HnswIndexConfig::default();
        builder = builder.hnsw_config(edge::HnswIndexConfig {
            m: size(hnsw.m, usual.m),
            ef_construct: size(hnsw.ef_construct, usual.ef_construct),
            full_scan_threshold: size(hnsw.full_scan_threshold, usual.full_scan_threshold),
            payload_m: hnsw.payload_m.map(|m| size(Some(m), 0)),
            ..usual
        });
    }
    Ok(builder.build())
}

/// An index's kind and parameters.
pub(super) fn index(
    request: &proto::CreateFieldIndexCollection,
) -> Result<edge::PayloadFieldSchema> {
    use proto::payload_index_params::IndexParams;
    let params = request.field_index_params.as_ref().and_then(|p| p.index_params.as_ref());
    let params = match params {
        Some(IndexParams::KeywordIndexParams(keyword)) => {
            edge::PayloadSchemaParams::Keyword(edge::KeywordIndexParams {
                is_tenant: keyword.is_tenant,
                enable_hnsw: keyword.enable_hnsw,
                ..edge::KeywordIndexParams::default()
            })
        }
        Some(IndexParams::IntegerIndexParams(integer)) => {
            edge::PayloadSchemaParams::Integer(edge::IntegerIndexParams {
                lookup: integer.lookup,
                range: integer.range,
                enable_hnsw: integer.enable_hnsw,
                ..edge::IntegerIndexParams::default()
            })
        }
        Some(IndexParams::FloatIndexParams(float)) => {
            edge::PayloadSchemaParams::Float(edge::FloatIndexParams {
                enable_hnsw: float.enable_hnsw,
                ..edge::FloatIndexParams::default()
            })
        }
        _ => return Err(unknown("this kind of index")),
    };
    Ok(edge::PayloadFieldSchema::FieldParams(params))
}
