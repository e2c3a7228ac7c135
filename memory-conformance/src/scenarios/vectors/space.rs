//! V3: the embedding space that a namespace is bound to.

use memquill_core::{
    EmbeddingSpace, ErrorKind, Facet, NamespaceSummary, PageRequest, QueryEmbedding, Result,
    Selection,
};

use super::support::{HALF, Namespace, X, Y, record};
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: Some(Facet::Vectors), family: Family::Example;
    v3: the_first_record_binds_the_namespace;
    v3: storing_in_another_space_is_a_conflict_that_names_both;
    v3: searching_in_another_space_is_a_conflict_that_names_both;
    v3: comparing_words_in_another_space_is_a_conflict [TextSearch];
    v3: a_conflict_of_spaces_changes_nothing;
    v3: vectors_without_a_direction_are_refused;
    v3: a_vector_has_its_spaces_dimensions;
    v3: a_namespace_without_records_stays_bound;
    v3: a_deleted_namespace_can_be_bound_again;
    v3: every_namespace_of_every_scope_has_a_space_of_its_own;
    v3: what_does_not_exist_is_bound_to_nothing;
}

/// The same namespace, taken for one of another space.
fn mistaken(notes: &Namespace, model: &str, dimensions: usize) -> Namespace {
    Namespace { space: EmbeddingSpace::new(model, dimensions), ..notes.clone() }
}

fn assert_names_both<T: std::fmt::Debug>(result: Result<T>, names: [&str; 2]) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(!error.is_transient() && !error.maybe_applied(), "{error}");
    for name in names {
        assert!(error.to_string().contains(name), "{error} does not name {name}");
    }
}

async fn summaries(notes: &Namespace) -> Vec<NamespaceSummary> {
    notes.vectors.namespaces(&notes.scope, &PageRequest::default()).await.unwrap().items
}

async fn the_first_record_binds_the_namespace(test: Test) {
    let notes = Namespace::new(&test);
    assert_eq!(summaries(&notes).await, []);
    notes.store(vec![record("a", X), record("b", Y)]).await;
    let expected =
        NamespaceSummary { namespace: "notes".into(), space: notes.space.clone(), records: 2 };
    assert_eq!(summaries(&notes).await, [expected]);
}

async fn storing_in_another_space_is_a_conflict_that_names_both(test: Test) {
    let notes = Namespace::new(&test);
    notes.put(record("a", X)).await;
    let other = mistaken(&notes, "other-model", 4).try_store(vec![record("b", X)]).await;
    assert_names_both(other, ["other-model", "model (4"]);
    let longer = mistaken(&notes, "model", 5).try_store(vec![record("b", [1.0; 5])]).await;
    assert_names_both(longer, ["4", "5"]);
    let cased = mistaken(&notes, "Model", 4).try_store(vec![record("b", X)]).await;
    assert_names_both(cased, ["Model", "model"]);
}

async fn searching_in_another_space_is_a_conflict_that_names_both(test: Test) {
    let notes = Namespace::new(&test);
    notes.put(record("a", X)).await;
    let other = mistaken(&notes, "other-model", 4).query(X, 1);
    let result = notes.vectors.search(&notes.scope, &other).await;
    assert_names_both(result, ["other-model", "model (4"]);
    let longer = mistaken(&notes, "model", 5).query([1.0; 5], 1);
    assert_names_both(notes.vectors.search(&notes.scope, &longer).await, ["4", "5"]);
}

async fn comparing_words_in_another_space_is_a_conflict(test: Test) {
    let notes = Namespace::new(&test);
    notes.put(record("a", X)).await;
    let mut request = notes.words("common");
    request.similarity_to = Some(QueryEmbedding {
        space: EmbeddingSpace::new("other-model", 4),
        embedding: X.into(),
        min_similarity: None,
    });
    let result = notes.vectors.search_text(&notes.scope, &request).await;
    assert_names_both(result, ["other-model", "model (4"]);
}

async fn a_conflict_of_spaces_changes_nothing(test: Test) {
    let notes = Namespace::new(&test);
    notes.put(record("a", X)).await;
    let before = notes.scan(None, 10).await;
    let mistaken = mistaken(&notes, "other-model", 4);
    mistaken.try_store(vec![record("b", Y), record("a", Y)]).await.unwrap_err();
    assert_eq!(notes.scan(None, 10).await, before);
    assert_eq!(summaries(&notes).await[0].space, notes.space);
    assert_eq!(notes.nearest(Y, 10).await, ["a"]);
}

async fn vectors_without_a_direction_are_refused(test: Test) {
    let notes = Namespace::new(&test);
    notes.put(record("a", X)).await;
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let embedding = [1.0, bad, 0.0, 0.0];
        let stored = notes.try_store(vec![record("b", X), record("c", embedding)]).await;
        assert_eq!(stored.unwrap_err().kind(), ErrorKind::InvalidInput, "{bad}");
        let found = notes.vectors.search(&notes.scope, &notes.query(embedding, 1)).await;
        assert_eq!(found.unwrap_err().kind(), ErrorKind::InvalidInput, "{bad}");
    }
    for zero in [[0.0; 4], [-0.0; 4]] {
        let stored = notes.try_store(vec![record("b", X), record("c", zero)]).await;
        assert_eq!(stored.unwrap_err().kind(), ErrorKind::InvalidInput);
        let found = notes.vectors.search(&notes.scope, &notes.query(zero, 1)).await;
        assert_eq!(found.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(notes.count(None).await, 1);
}

async fn a_vector_has_its_spaces_dimensions(test: Test) {
    let notes = Namespace::new(&test);
    for wrong in [vec![1.0; 3], vec![1.0; 5], vec![]] {
        let error = notes.try_store(vec![record("a", wrong.clone())]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let found = notes.vectors.search(&notes.scope, &notes.query(wrong, 1)).await;
        assert_eq!(found.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(summaries(&notes).await, [], "a refused record binds nothing");
}

async fn a_namespace_without_records_stays_bound(test: Test) {
    let notes = Namespace::new(&test);
    notes.put(record("a", X)).await;
    assert_eq!(notes.delete_ids(&["a"]).await, 1);
    let expected =
        NamespaceSummary { namespace: "notes".into(), space: notes.space.clone(), records: 0 };
    assert_eq!(summaries(&notes).await, [expected]);
    let other = mistaken(&notes, "other-model", 4).try_store(vec![record("b", X)]).await;
    assert_names_both(other, ["other-model", "model (4"]);
}

async fn a_deleted_namespace_can_be_bound_again(test: Test) {
    let notes = Namespace::new(&test);
    notes.store(vec![record("a", X), record("b", HALF)]).await;
    assert_eq!(notes.delete(Selection::Namespace).await, 2);
    assert_eq!(summaries(&notes).await, []);
    assert_eq!(notes.delete(Selection::Namespace).await, 0, "it is gone already");
    let again = mistaken(&notes, "other-model", 2);
    again.put(record("a", [0.0, 1.0])).await;
    assert_eq!(again.nearest([0.0, 1.0], 10).await, ["a"]);
    assert_eq!(summaries(&notes).await[0].space, again.space);
}

async fn every_namespace_of_every_scope_has_a_space_of_its_own(test: Test) {
    let notes = Namespace::new(&test);
    notes.put(record("a", X)).await;
    let wide = mistaken(&notes.named("wide"), "other-model", 8);
    wide.put(record("a", [1.0; 8])).await;
    let foreign = mistaken(&notes, "other-model", 2).in_scope(test.scope());
    foreign.put(record("a", [1.0; 2])).await;
    assert_eq!(notes.nearest(X, 10).await, ["a"]);
    assert_eq!(wide.nearest([1.0; 8], 10).await, ["a"]);
    assert_eq!(foreign.nearest([1.0; 2], 10).await, ["a"]);
}

async fn what_does_not_exist_is_bound_to_nothing(test: Test) {
    let notes = Namespace::new(&test);
    notes.assert_empty(&test).await;
    assert_eq!(notes.delete(Selection::Namespace).await, 0);
    assert_eq!(notes.delete_ids(&["a"]).await, 0);
    mistaken(&notes, "other-model", 2).assert_empty(&test).await;
    assert_eq!(summaries(&notes).await, [], "looking at a namespace does not make it");
}
