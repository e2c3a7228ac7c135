//! Hostile records, filters and queries.

use memquill_core::{
    EmbeddingSpace, Facet, Feature, Field, Filter, NewRecord, PageRequest, Predicate, Selection,
    text,
};
use serde_json::{Value, json};

use super::strings;
use crate::scenario::{Family, Test, scenarios};
use crate::scenarios::vectors::support::{Namespace, X, ids, object, record, sorted};

scenarios! {
    facet: Some(Facet::Vectors), family: Family::Hostile;
    g2: hostile_record_ids_are_literal_and_apart;
    g2: hostile_namespaces_are_literal_and_apart;
    g2: hostile_model_names_are_literal;
    g3: hostile_records_come_back_unchanged;
    v8: hostile_filter_values_are_data [Filters];
    v8: hostile_filter_paths_are_data [Filters];
    v8: hostile_document_types_are_data [Filters];
    v8: a_hostile_filter_deletes_only_what_matches [Filters];
    v9: hostile_queries_are_plain_text [TextSearch];
}

async fn hostile_record_ids_are_literal_and_apart(test: Test) {
    let notes = Namespace::new(&test);
    let names = strings();
    notes.store(names.iter().map(|id| record(id, X)).collect()).await;
    let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
    let read = notes.get(&borrowed).await;
    assert!(read.iter().map(|record| &record.id).eq(&names));
    assert_eq!(notes.nearest(X, 1_000).await, sorted(names.clone()));
    let walked: Vec<String> = notes.scan(None, 11).await.into_iter().map(|r| r.id).collect();
    assert_eq!(walked, sorted(names.clone()));
    for (deleted, id) in (1..).zip(borrowed.iter().step_by(4)) {
        assert_eq!(notes.delete_ids(&[id]).await, 1, "{id:?}");
        assert_eq!(notes.count(None).await, (names.len() - deleted) as u64, "after {id:?}");
    }
}

async fn hostile_namespaces_are_literal_and_apart(test: Test) {
    let notes = Namespace::new(&test);
    let names = strings();
    for name in &names {
        notes.named(name).put(record(name, X)).await;
    }
    for name in &names {
        assert_eq!(notes.named(name).nearest(X, 1_000).await, [name.as_str()]);
    }
    let listed = notes.vectors.namespaces(&notes.scope, &PageRequest::first(1_000)).await.unwrap();
    let listed: Vec<String> = listed.items.into_iter().map(|summary| summary.namespace).collect();
    assert_eq!(sorted(listed), sorted(names.clone()));
    for (deleted, name) in (1..).zip(names.iter().step_by(10)) {
        assert_eq!(notes.named(name).delete(Selection::Namespace).await, 1, "{name:?}");
        let left = notes.vectors.namespaces(&notes.scope, &PageRequest::first(1_000)).await;
        assert_eq!(left.unwrap().items.len(), names.len() - deleted, "after {name:?}");
    }
}

async fn hostile_model_names_are_literal(test: Test) {
    let notes = Namespace::new(&test);
    for model in strings() {
        let space = EmbeddingSpace::new(model.clone(), 4);
        let bound = Namespace { space: space.clone(), ..notes.named(&model) };
        bound.put(record("a", X)).await;
        assert_eq!(bound.nearest(X, 1).await, ["a"], "{model:?}");
        let mistaken = Namespace { space: EmbeddingSpace::new("model", 4), ..bound.clone() };
        let error = mistaken.try_store(vec![record("b", X)]).await.unwrap_err();
        assert!(error.message().contains(&space.to_string()), "{error}");
    }
}

/// The text as a content, which must say something: white space gets a mark that is not a word.
fn content(text: &str) -> String {
    if text.trim().is_empty() { format!("{text}!") } else { text.to_owned() }
}

fn hostile_record(text: &str) -> NewRecord {
    let mut new = record(text, X);
    new.content = content(text);
    new.document_type = text.into();
    new.metadata = object(json!({"text": text, "list": [text, 1], text: {text: text}}));
    new
}

async fn hostile_records_come_back_unchanged(test: Test) {
    let notes = Namespace::new(&test);
    let strings = strings();
    notes.store(strings.iter().map(|text| hostile_record(text)).collect()).await;
    for text in &strings {
        let read = notes.get(&[text]).await.remove(0);
        assert!(hostile_record(text).is_unchanged(&read), "{read:?}");
    }
}

/// Whether a search by the filter finds exactly the records that it should.
async fn assert_finds(notes: &Namespace, filter: Filter, expected: &[String]) {
    let form = filter.to_json();
    let found = notes.search(&notes.query(X, 1_000).with_filter(filter)).await;
    assert_eq!(ids(&found), expected, "{form}");
}

/// Whether the filter selects exactly the records that it should, in every way there is.
async fn assert_selects(test: &Test, notes: &Namespace, filter: Filter, expected: &[String]) {
    let form = filter.to_json();
    assert_finds(notes, filter.clone(), expected).await;
    assert_eq!(notes.count(Some(filter.clone())).await, expected.len() as u64, "{form}");
    if test.has(Feature::TextSearch) {
        let mut request = notes.words("common");
        request.filter = Some(filter);
        assert_eq!(sorted(ids(&notes.search_text(&request).await)), expected, "{form}");
    }
}

/// The ids of the strings that pass, in their order.
fn of(strings: &[String], pass: impl Fn(&str) -> bool) -> Vec<String> {
    sorted(strings.iter().filter(|text| pass(text)).cloned().collect())
}

async fn tagged_by_strings(test: &Test) -> (Namespace, Vec<String>) {
    let notes = Namespace::new(test);
    let strings = strings();
    let records = strings.iter().map(|text| {
        let mut new = hostile_record(text);
        new.content = "common".into();
        new
    });
    notes.store(records.collect()).await;
    (notes, strings)
}

async fn hostile_filter_values_are_data(test: Test) {
    let (notes, strings) = tagged_by_strings(&test).await;
    let field = || Field::metadata(["text"]);
    for text in &strings {
        let value = || Value::from(text.as_str());
        let eq = Filter::Field(field(), Predicate::Eq(value()));
        assert_selects(&test, &notes, eq, &of(&strings, |s| s == text)).await;
        let contains = Filter::Field(field(), Predicate::Contains(value()));
        assert_finds(&notes, contains, &of(&strings, |s| s.contains(text))).await;
        let in_list = Filter::Field(Field::metadata(["list"]), Predicate::Contains(value()));
        assert_finds(&notes, in_list, &of(&strings, |s| s == text)).await;
        let greater = Filter::Field(field(), Predicate::Gt(value()));
        assert_finds(&notes, greater, &of(&strings, |s| s > text.as_str())).await;
        let one_of = Filter::Field(field(), Predicate::In(vec![value(), json!("' OR 1=1 --")]));
        assert_finds(&notes, one_of, &of(&strings, |s| s == text)).await;
    }
}

async fn hostile_filter_paths_are_data(test: Test) {
    let (notes, strings) = tagged_by_strings(&test).await;
    for text in &strings {
        let path = Field::metadata([text.as_str(), text.as_str()]);
        let exists = Filter::Field(path.clone(), Predicate::Exists(true));
        assert_finds(&notes, exists, &of(&strings, |s| s == text)).await;
        let eq = Filter::Field(path, Predicate::Eq(text.as_str().into()));
        assert_selects(&test, &notes, eq, &of(&strings, |s| s == text)).await;
        let lone = Filter::Field(Field::metadata([text.as_str()]), Predicate::Exists(true));
        assert_finds(&notes, lone, &of(&strings, |s| s == text)).await;
    }
}

async fn hostile_document_types_are_data(test: Test) {
    let (notes, strings) = tagged_by_strings(&test).await;
    for text in &strings {
        let value = || Value::from(text.as_str());
        let eq = Filter::Field(Field::DocumentType, Predicate::Eq(value()));
        assert_selects(&test, &notes, eq, &of(&strings, |s| s == text)).await;
        let contains = Filter::Field(Field::DocumentType, Predicate::Contains(value()));
        assert_finds(&notes, contains, &of(&strings, |s| s.contains(text))).await;
    }
}

async fn a_hostile_filter_deletes_only_what_matches(test: Test) {
    let (notes, strings) = tagged_by_strings(&test).await;
    for (deleted, text) in (1..).zip(&strings) {
        let eq = Filter::eq(Field::metadata(["text"]), text.as_str());
        assert_eq!(notes.delete(Selection::Matching(eq)).await, 1, "{text:?}");
        let left = notes.count(None).await;
        assert_eq!(left, (strings.len() - deleted) as u64, "after {text:?}");
    }
}

async fn hostile_queries_are_plain_text(test: Test) {
    let notes = Namespace::new(&test);
    let strings = strings();
    let records = strings.iter().map(|text| {
        let mut new = record(text, X);
        new.content = content(text);
        new
    });
    notes.store(records.collect()).await;
    for query in &strings {
        let words = text::query_words(query, None);
        let expected = of(&strings, |content| {
            let terms = text::terms(content, None).frequencies;
            words.iter().any(|word| terms.contains_key(word))
        });
        assert_eq!(sorted(notes.found(query).await), expected, "{query:?}");
    }
}
