//! Records compared with the model.

use std::sync::Arc;
use std::time::Duration;

use memquill_core::text::Language;
use memquill_core::{
    CountRecords, DeleteRecords, EmbeddingSpace, Facet, Feature, GetRecords, Hit, ManualClock,
    NewRecord, Outcome, PageRequest, QueryEmbedding, Rebind, Result, ScanRecords, Scope,
    SearchResult, Selection, StoreRecords, TextSearch, Timestamp, VectorSearch, VectorStore,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::sample::select;

use super::filters::{a_filter, metadata};
use super::{aging, align, holds, maybe, same};
use crate::model::{Vectors, follow};
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: Some(Facet::Vectors), family: Family::Property;
    v1: records_answer_as_the_model_does;
    v11: records_that_expire_answer_as_the_model_does [RecordExpiry];
}

/// Ends within the sequence, but only when it is waited for.
const SHORT: Duration = Duration::from_millis(40);

#[derive(Debug, Clone)]
enum Op {
    Store(StoreRecords),
    /// Stores records that expire, and waits until they have.
    Expire(StoreRecords),
    Get(GetRecords),
    Delete(DeleteRecords),
    Search(VectorSearch),
    SearchText(TextSearch),
    Scan(ScanRecords),
    Count(CountRecords),
    Namespaces(usize),
    Rebind(Rebind),
}

fn namespace() -> impl Strategy<Value = String> {
    select(vec!["n", "N"]).prop_map(String::from)
}

/// Nearly always the same, so that conflicts happen but do not prevail.
fn space() -> impl Strategy<Value = EmbeddingSpace> {
    prop_oneof![20 => Just("model"), 1 => Just("other")].prop_map(|m| EmbeddingSpace::new(m, 4))
}

/// Vectors whose similarities to each other are exactly -1, -0.5, 0, 0.5 or 1.
fn embedding() -> impl Strategy<Value = Vec<f32>> {
    prop_oneof![
        (0..4_usize, select(vec![2.0, -2.0])).prop_map(|(axis, x)| {
            let mut vector = vec![0.0; 4];
            vector[axis] = x;
            vector
        }),
        vec(select(vec![1.0, -1.0]), 4),
    ]
}

fn id() -> impl Strategy<Value = String> {
    select(vec!["a", "A", "b", "é", "10", "9"]).prop_map(String::from)
}

fn content() -> impl Strategy<Value = String> {
    let words = select(vec!["apple", "Apples", "quince", "東京塔", "the", "!", "naïve", "running"]);
    vec(words, 1..6).prop_map(|words| words.join(" "))
}

fn language() -> impl Strategy<Value = Option<Language>> {
    option::weighted(0.3, Just(Language::English))
}

fn record(ttl: Option<Duration>) -> impl Strategy<Value = NewRecord> {
    let kind = select(vec!["text", "faq"]);
    (option::weighted(0.8, id()), content(), kind, metadata(), embedding(), language()).prop_map(
        move |(id, content, document_type, metadata, embedding, language)| NewRecord {
            id,
            document_type: document_type.into(),
            metadata,
            language,
            ttl,
            ..NewRecord::new(content, embedding)
        },
    )
}

fn records(ttl: Option<Duration>) -> impl Strategy<Value = StoreRecords> {
    (namespace(), space(), vec(record(ttl), 1..5)).prop_map(|(namespace, space, all)| {
        let mut records: Vec<NewRecord> = Vec::new();
        for record in all {
            if records.iter().all(|earlier| earlier.identity() != record.identity()) {
                records.push(record);
            }
        }
        StoreRecords { namespace, space, records }
    })
}

fn op(test: &Test) -> impl Strategy<Value = Op> + use<> {
    let filters = test.has(Feature::Filters);
    let chance = if filters { 0.5 } else { 0.0 };
    let filter = move || maybe(chance, a_filter());
    let min = || option::of(select(vec![-1.0_f32, -0.5, -0.25, 0.0, 0.5, 0.75, 1.0]));
    let search = (namespace(), space(), embedding(), 1..8_usize, min(), filter()).prop_map(
        |(namespace, space, embedding, limit, min_similarity, filter)| {
            let search = VectorSearch::new(namespace, space, embedding, limit);
            Op::Search(VectorSearch { min_similarity, filter, ..search })
        },
    );
    let compared =
        option::of((space(), embedding(), min()).prop_map(|(space, embedding, min_similarity)| {
            QueryEmbedding { space, embedding, min_similarity }
        }));
    let text = (namespace(), content(), language(), 1..8_usize, filter(), compared).prop_map(
        |(namespace, text, language, limit, filter, similarity_to)| {
            let search = TextSearch::new(namespace, text, limit);
            Op::SearchText(TextSearch { language, filter, similarity_to, ..search })
        },
    );
    let which = prop_oneof![
        6 => vec(id(), 1..3).prop_map(Selection::Ids),
        3 * u32::from(filters) => a_filter().prop_map(Selection::Matching),
        1 => Just(Selection::Namespace),
    ];
    let get = (namespace(), id(), id(), proptest::bool::ANY).prop_map(|(namespace, a, b, with)| {
        let ids = if a == b { vec![a] } else { vec![a, b] };
        Op::Get(GetRecords { namespace, ids, with_embeddings: with })
    });
    let scan = (namespace(), filter(), proptest::bool::ANY, 1..5_usize).prop_map(
        |(namespace, filter, with_embeddings, limit)| {
            let page = PageRequest::first(limit);
            Op::Scan(ScanRecords { namespace, filter, with_embeddings, page })
        },
    );
    prop_oneof![
        10 => records(None).prop_map(Op::Store),
        3 => get,
        3 => (namespace(), which)
            .prop_map(|(namespace, which)| Op::Delete(DeleteRecords { namespace, which })),
        6 => search,
        6 * u32::from(test.has(Feature::TextSearch)) => text,
        2 => scan,
        2 => (namespace(), filter())
            .prop_map(|(namespace, filter)| Op::Count(CountRecords { namespace, filter })),
        1 => (1..3_usize).prop_map(Op::Namespaces),
        u32::from(test.has(Feature::Rebinding)) => proptest::bool::ANY.prop_map(|to| {
            let (namespace, from) = if to { ("n", "N") } else { ("N", "n") };
            Op::Rebind(Rebind { namespace: namespace.into(), from: from.into() })
        }),
    ]
}

async fn records_answer_as_the_model_does(test: Test) {
    holds(&test, |test| vec(op(test), 1..40), compare).await;
}

async fn records_that_expire_answer_as_the_model_does(test: Test) {
    let sequence = |test: &Test| aging(op(test), records(Some(SHORT)).prop_map(Op::Expire).boxed());
    holds(&test, sequence, compare).await;
}

/// The store and the model, side by side.
struct Pair {
    store: Arc<dyn VectorStore>,
    model: Vectors,
    clock: Arc<ManualClock>,
    scope: Scope,
}

type Compared = std::result::Result<(), String>;

async fn compare(test: Test, ops: Vec<Op>) -> Compared {
    let clock = Arc::new(ManualClock::new(Timestamp::MIN));
    let pair = Pair {
        store: Arc::clone(test.vectors()),
        model: Vectors::new(Arc::clone(&clock) as _),
        clock,
        scope: test.scope(),
    };
    let (store, model, scope) = (&pair.store, &pair.model, &pair.scope);
    for op in ops {
        match &op {
            Op::Store(request) => pair.store(request).await?,
            Op::Expire(request) => {
                pair.store(request).await?;
                test.pass(SHORT).await;
                pair.clock.advance(SHORT);
            }
            Op::Get(request) => {
                let read = store.get(scope, request).await;
                same(request, &read, &model.get(scope, request).await)?;
            }
            Op::Delete(request) => {
                let deleted = store.delete(scope, request).await;
                same(request, &deleted, &model.delete(scope, request).await)?;
            }
            Op::Search(request) => {
                let found = store.search(scope, request).await;
                same_hits(request, found, model.search(scope, request).await)?;
            }
            Op::SearchText(request) => pair.search_text(request).await?,
            Op::Scan(request) => pair.scan(request).await?,
            Op::Count(request) => {
                let counted = store.count(scope, request).await;
                same(request, &counted, &model.count(scope, request).await)?;
            }
            Op::Rebind(request) => {
                let rebound = store.rebind(scope, request).await;
                same(request, &rebound, &model.rebind(scope, request).await)?;
            }
            Op::Namespaces(limit) => pair.namespaces(*limit).await?,
        }
    }
    Ok(())
}

impl Pair {
    async fn store(&self, request: &StoreRecords) -> Compared {
        let mut stored = self.store.store(&self.scope, request).await;
        for record in stored.iter().flatten().filter(|r| r.outcome != Outcome::Unchanged) {
            follow(&self.clock, record.updated_at);
        }
        let expected = self.model.store(&self.scope, request).await;
        if let (Ok(stored), Ok(expected)) = (&mut stored, &expected) {
            for (stored, expected) in stored.iter_mut().zip(expected) {
                align(&mut stored.expires_at, expected.expires_at);
            }
        }
        same(request, &stored, &expected)
    }

    async fn scan(&self, request: &ScanRecords) -> Compared {
        let mut walked = Vec::new();
        let mut next = request.clone();
        loop {
            let part = self.store.scan(&self.scope, &next).await;
            let part = part.map_err(|error| format!("{error:?}"))?;
            walked.extend(part.items);
            let Some(cursor) = part.next else { break };
            next.page = next.page.after(cursor);
        }
        walked.sort_by(|a, b| a.id.cmp(&b.id));
        let all = ScanRecords { page: PageRequest::first(10_000), ..request.clone() };
        let expected = self.model.scan(&self.scope, &all).await.map(|page| page.items);
        same(request, &Ok(walked), &expected)
    }

    async fn namespaces(&self, limit: usize) -> Compared {
        let mut listed = Vec::new();
        let mut page = PageRequest::first(limit);
        loop {
            let part = self.store.namespaces(&self.scope, &page).await;
            let part = part.map_err(|error| format!("{error:?}"))?;
            listed.extend(part.items);
            let Some(next) = part.next else { break };
            page = page.after(next);
        }
        listed.sort_by(|a, b| a.namespace.cmp(&b.namespace));
        let expected = self.model.namespaces(&self.scope, &PageRequest::first(100)).await;
        same(&"namespaces", &Ok(listed), &expected.map(|page| page.items))
    }

    /// The hits must be the model's but for the order of what is as relevant up to rounding.
    async fn search_text(&self, request: &TextSearch) -> Compared {
        let found = self.store.search_text(&self.scope, request).await;
        let all = TextSearch { limit: 10_000, ..request.clone() };
        let expected = self.model.search_text(&self.scope, &all).await;
        let (Ok(found), Ok(expected)) = (&found, &expected) else {
            return same(request, &found, &expected);
        };
        let fail = |why: &str| {
            Err(format!("{request:?}\nanswered {found:?}\n{why} by the model {expected:?}"))
        };
        if found.hits.len() != expected.hits.len().min(request.limit) || !found.complete {
            return fail("not as many as");
        }
        for (hit, best) in found.hits.iter().zip(&expected.hits) {
            let Some(known) = expected.hits.iter().find(|e| e.record.id == hit.record.id) else {
                return fail("not found");
            };
            if known.score < best.score * (1.0 - 1e-6) {
                return fail("not in the order");
            }
            if !same_hit(hit, known) {
                return fail("not the same");
            }
        }
        Ok(())
    }
}

fn same_hit(a: &Hit, b: &Hit) -> bool {
    let near = match (a.similarity, b.similarity) {
        (Some(a), Some(b)) => (a - b).abs() <= 2e-4,
        (None, None) => true,
        _ => false,
    };
    near && a.record == b.record
}

fn same_hits(
    request: &VectorSearch,
    found: Result<SearchResult>,
    expected: Result<SearchResult>,
) -> Compared {
    if let (Ok(found), Ok(expected)) = (&found, &expected) {
        let same = found.complete
            && found.hits.len() == expected.hits.len()
            && found.hits.iter().zip(&expected.hits).all(|(a, b)| same_hit(a, b));
        if same {
            return Ok(());
        }
    }
    same(request, &found, &expected)
}
