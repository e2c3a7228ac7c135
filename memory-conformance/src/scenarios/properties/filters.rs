//! Random filters on random records, compared with core's evaluator.

use memquill_core::Predicate;
use memquill_core::json::Object;
use memquill_core::{Facet, Feature, Field, Filter, NewRecord, Selection};
use proptest::collection::{btree_map, vec};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use serde_json::{Value, json};

use super::holds;
use crate::scenario::{Family, Test, scenarios};
use crate::scenarios::vectors::support::{Namespace, X, ids, sorted};

scenarios! {
    facet: Some(Facet::Vectors), family: Family::Property;
    v8: filters_agree_with_the_evaluator [Filters];
}

fn name() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "a.b", "'", ""]).prop_map(String::from)
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => (-2..3_i64).prop_map(Value::from),
        2 => select(vec![
            json!(null), json!(true), json!(false), json!(1.0), json!(-0.0), json!(1.5), json!(1e308),
            json!(u64::MAX), json!(i64::MIN), json!(9_007_199_254_740_993_u64),
            json!(9_007_199_254_740_992.0), json!(18_446_744_073_709_551_616.0),
        ]),
        2 => select(vec!["", "a", "A", "ab", "%", "1", "é", "\u{FFFF}", "🙂", "'", "\\"]).prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_filter_map("finite", |x| serde_json::Number::from_f64(x).map(Value::from)),
        1 => ".{0,3}".prop_filter("no NUL", |text| !text.contains('\0')).prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            btree_map(name(), inner, 0..3)
                .prop_map(|object| Value::Object(object.into_iter().collect())),
        ]
    })
}

/// Metadata of few names, so that filters meet it.
pub(super) fn metadata() -> impl Strategy<Value = Object> {
    btree_map(name(), value(), 0..3).prop_map(|object| object.into_iter().collect())
}

fn check() -> impl Strategy<Value = Predicate> {
    prop_oneof![
        value().prop_map(Predicate::Eq),
        value().prop_map(Predicate::Ne),
        scalar().prop_map(Predicate::Gt),
        scalar().prop_map(Predicate::Gte),
        scalar().prop_map(Predicate::Lt),
        scalar().prop_map(Predicate::Lte),
        vec(value(), 0..3).prop_map(Predicate::In),
        vec(value(), 0..3).prop_map(Predicate::NotIn),
        any::<bool>().prop_map(Predicate::Exists),
        scalar().prop_map(Predicate::Contains),
    ]
}

/// A filter of every connective and test.
pub(super) fn a_filter() -> impl Strategy<Value = Filter> + Clone {
    let path = vec(name(), 1..3).prop_map(Field::Metadata);
    let field = prop_oneof![5 => path, 1 => Just(Field::DocumentType)];
    let leaf = (field, check()).prop_map(|(field, check)| Filter::Field(field, check));
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Filter::And),
            vec(inner.clone(), 0..3).prop_map(Filter::Or),
            inner.prop_map(|filter| Filter::Not(Box::new(filter))),
        ]
    })
    .boxed()
}

async fn filters_agree_with_the_evaluator(test: Test) {
    let cases = |_: &Test| (vec(metadata(), 1..20), vec(a_filter(), 1..10));
    holds(&test, cases, compare).await;
}

async fn compare(test: Test, (all, filters): (Vec<Object>, Vec<Filter>)) -> Result<(), String> {
    let notes = Namespace::new(&test);
    let records = all.into_iter().enumerate().map(|(n, metadata)| NewRecord {
        document_type: ["text", "a", "%"][n % 3].into(),
        ..NewRecord::new("common", X.into()).with_id(format!("{n:02}")).with_metadata(metadata)
    });
    notes.store(records.collect()).await;
    let stored = notes.scan(None, 100).await;
    for filter in &filters {
        let expected: Vec<String> = stored
            .iter()
            .filter(|record| filter.matches(record.filter_target()))
            .map(|record| record.id.clone())
            .collect();
        let agree = |what: &str, selected: Vec<String>| {
            if selected == expected {
                return Ok(());
            }
            let filter = filter.to_json();
            Err(format!("{what} by {filter} selects {selected:?} instead of {expected:?}"))
        };
        let scanned = notes.scan(Some(filter.clone()), 100).await;
        agree("a scan", scanned.into_iter().map(|record| record.id).collect())?;
        let found = notes.search(&notes.query(X, 100).with_filter(filter.clone())).await;
        agree("a search", sorted(ids(&found)))?;
        if test.has(Feature::TextSearch) {
            let mut request = notes.words("common");
            request.filter = Some(filter.clone());
            agree("a text search", sorted(ids(&notes.search_text(&request).await)))?;
        }
        let counted = notes.count(Some(filter.clone())).await;
        if counted != expected.len() as u64 {
            return Err(format!("{} counts {counted}, not {expected:?}", filter.to_json()));
        }
    }
    if let Some(filter) = filters.first() {
        notes.delete(Selection::Matching(filter.clone())).await;
        let left = notes.scan(None, 100).await;
        let stays: Vec<_> =
            stored.into_iter().filter(|record| !filter.matches(record.filter_target())).collect();
        if left != stays {
            return Err(format!("deletion by {} leaves {left:?}", filter.to_json()));
        }
    }
    Ok(())
}
