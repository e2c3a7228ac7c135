//! V8: the filter language, compared with core's evaluator by every operation that filters.

use memquill_core::{Facet, Feature, Filter, NewRecord, Record, Selection};
use serde_json::{Value, json};

use super::support::{HALF, Namespace, X, Y, filter, ids, object, sorted, tagged};
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: Some(Facet::Vectors), family: Family::Example;
    v8: equality_agrees_with_the_evaluator [Filters];
    v8: numbers_compare_as_numbers [Filters];
    v8: strings_compare_by_code_point [Filters];
    v8: nothing_else_is_greater_or_less [Filters];
    v8: lists_agree_with_the_evaluator [Filters];
    v8: a_present_null_exists [Filters];
    v8: contains_looks_into_lists_and_strings [Filters];
    v8: paths_lead_through_objects_only [Filters];
    v8: connectives_agree_with_the_evaluator [Filters];
    v8: negation_is_exact [Filters];
    v8: the_document_type_is_a_field [Filters];
    v8: the_creation_time_is_a_field [Filters];
    v8: deletion_by_filter_agrees_with_the_evaluator [Filters];
}

/// Values of every type, and of every kind that stores are apt to mix up. Each is the field `v` of
/// a record's metadata; one more record has no such field.
fn values() -> Vec<Value> {
    let mut values: Vec<Value> = vec![
        json!(null),
        json!(true),
        json!(false),
        json!({}),
        json!([]),
        json!([[]]),
        json!([null]),
        json!({"v": 1}),
        json!({"a": {"b": 1}}),
        json!({"a": {"b": null}, "c": [1]}),
        json!([{"a": 1}, 2]),
        json!([1, "1", true]),
        json!(["apple", "pear"]),
    ];
    values.extend(numbers());
    values.extend(strings().into_iter().map(Value::from));
    values
}

fn numbers() -> Vec<Value> {
    vec![
        json!(0),
        json!(0.0),
        json!(-0.0),
        json!(1),
        json!(1.0),
        json!(-1),
        json!(1.5),
        json!(10),
        json!(9),
        json!(9_007_199_254_740_992_u64),
        json!(9_007_199_254_740_993_u64),
        json!(9_007_199_254_740_992.0),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(9_223_372_036_854_775_808_u64),
        json!(u64::MAX),
        json!(18_446_744_073_709_551_616.0),
        json!(5e-324),
        json!(0.1),
        json!(0.300_000_000_000_000_04),
        json!(1e308),
        json!(-1e308),
    ]
}

fn strings() -> Vec<&'static str> {
    vec![
        "",
        " ",
        "1",
        "10",
        "9",
        "a",
        "A",
        "aa",
        "apple",
        "a%",
        "a_",
        "%",
        "_",
        "null",
        "true",
        "é",
        "e\u{301}",
        "\u{FFFD}",
        "\u{FFFF}",
        "🙂",
        "\u{10FFFF}",
        "it's",
        "\"",
        "\\",
        "\n",
        "ß",
        "ss",
    ]
}

fn holding(values: &[Value]) -> Vec<NewRecord> {
    let missing = tagged("missing", X, json!({"w": 1}));
    let with = values.iter().enumerate().map(|(n, value)| {
        tagged(&format!("{n:02} {value}"), [X, Y, HALF][n % 3], json!({"v": value}))
    });
    with.chain([missing]).collect()
}

async fn stored(test: &Test, records: Vec<NewRecord>) -> Namespace {
    let notes = Namespace::new(test);
    notes.store(records).await;
    notes
}

/// Whether scan, count, search and text search select what the evaluator does.
async fn assert_agrees(test: &Test, notes: &Namespace, all: &[Record], filter: &Filter) {
    let expected: Vec<String> = sorted(
        all.iter().filter(|r| filter.matches(r.filter_target())).map(|r| r.id.clone()).collect(),
    );
    let by = |what: &str| format!("{what} by {}", filter.to_json());
    let scanned = notes.scan(Some(filter.clone()), 1_000).await;
    assert_eq!(sorted(scanned.into_iter().map(|r| r.id).collect()), expected, "{}", by("scan"));
    assert_eq!(notes.count(Some(filter.clone())).await, expected.len() as u64, "{}", by("count"));
    let result = notes.search(&notes.query(HALF, 1_000).with_filter(filter.clone())).await;
    assert_eq!(sorted(ids(&result)), expected, "{}", by("search"));
    if test.has(Feature::TextSearch) {
        let mut request = notes.words("common");
        request.filter = Some(filter.clone());
        let result = notes.search_text(&request).await;
        assert_eq!(sorted(ids(&result)), expected, "{}", by("text search"));
    }
}

async fn assert_all_agree(test: &Test, records: Vec<NewRecord>, filters: Vec<Filter>) {
    let notes = stored(test, records).await;
    let all = notes.scan(None, 1_000).await;
    for filter in filters {
        assert_agrees(test, &notes, &all, &filter).await;
    }
}

fn tests(names: &[&str], operands: &[Value]) -> Vec<Filter> {
    names
        .iter()
        .flat_map(|name| operands.iter().map(move |operand| (name, operand)))
        .map(|(name, operand)| filter(json!({"metadata.v": {*name: operand}})))
        .collect()
}

async fn equality_agrees_with_the_evaluator(test: Test) {
    let values = values();
    assert_all_agree(&test, holding(&values), tests(&["eq"], &values)).await;
}

async fn numbers_compare_as_numbers(test: Test) {
    let filters = tests(&["gt", "gte", "lt", "lte"], &numbers());
    assert_all_agree(&test, holding(&values()), filters).await;
}

async fn strings_compare_by_code_point(test: Test) {
    // In UTF-16 the surrogates of 🙂 stand before U+FFFF; in code points after it. In a locale, a
    // stands before B.
    let strings: Vec<Value> = strings().into_iter().map(Value::from).collect();
    assert_all_agree(&test, holding(&values()), tests(&["gt", "lte"], &strings)).await;
}

async fn nothing_else_is_greater_or_less(test: Test) {
    let operands = [json!(null), json!(true), json!([1]), json!({"v": 1}), json!([]), json!({})];
    let filters = tests(&["gt", "gte", "lt", "lte"], &operands);
    assert_all_agree(&test, holding(&values()), filters).await;
}

async fn lists_agree_with_the_evaluator(test: Test) {
    let lists = [
        json!([]),
        json!([null]),
        json!([1, 2, 3]),
        json!(["1", 1.0]),
        json!(["apple", "%", ""]),
        json!([[], {}, {"v": 1.0}, [1, "1", true]]),
        json!([9_007_199_254_740_993_u64, u64::MAX]),
    ];
    assert_all_agree(&test, holding(&values()), tests(&["in", "not_in"], &lists)).await;
}

async fn a_present_null_exists(test: Test) {
    let filters = [
        json!({"metadata.v": {"exists": true}}),
        json!({"metadata.v": {"exists": false}}),
        json!({"metadata.v": null}),
        json!({"metadata.v": {"ne": null}}),
        json!({"metadata.v.a": {"exists": true}}),
        json!({"metadata.v.a.b": null}),
        json!({"metadata.v.a.b": {"exists": false}}),
    ];
    assert_all_agree(&test, holding(&values()), filters.map(filter).into()).await;
}

async fn contains_looks_into_lists_and_strings(test: Test) {
    let operands = [
        json!(1),
        json!("1"),
        json!(true),
        json!(null),
        json!([]),
        json!({"a": 1.0}),
        json!("apple"),
        json!("app"),
        json!("%"),
        json!("_"),
        json!(""),
        json!("A"),
        json!("e"),
        json!("\\"),
        json!("'"),
    ];
    assert_all_agree(&test, holding(&values()), tests(&["contains"], &operands)).await;
}

async fn paths_lead_through_objects_only(test: Test) {
    let records = [
        json!({"a": {"b": {"c": 1}}}),
        json!({"a": [{"b": 1}]}),
        json!({"a.b": 1}),
        json!({"a": {"b": [1, 2], "0": "zero"}}),
        json!({"a": ["zero", "one"]}),
        json!({"a": "b"}),
        json!({"": {"": 1}}),
        json!({"a'b": 1, "a\"b": 1, "$": 1, "*": 1, "a b": 1, "A": {"B": 1}}),
        json!({"and": 1, "v": {"eq": 1}, "metadata": {"a": 1}, "document_type": "faq"}),
        json!({"é": 1, "🙂": {"e\u{301}": 1}}),
        json!({"b": 1, "c": {"b": 1}}),
    ];
    let records = records.into_iter().enumerate();
    let records = records.map(|(n, metadata)| tagged(&n.to_string(), HALF, metadata)).collect();
    let paths = [
        "a",
        "a.b",
        "a.b.c",
        r"a\.b",
        "a.0",
        "a.b.0",
        "a.1",
        "",
        ".",
        "a'b",
        "a\"b",
        "$",
        "*",
        "a b",
        "A.B",
        "and",
        "v.eq",
        "metadata.a",
        "document_type",
        "é",
        "🙂.e\u{301}",
        "e\u{301}",
        "a[0]",
        "$.a",
        "b",
        "b.c",
        "c.b",
        "a..b",
    ];
    let tests = paths.iter().flat_map(|path| {
        let field = format!("metadata.{path}");
        [json!({"exists": true}), json!({"eq": 1}), json!({"ne": 1}), json!({"contains": "zero"})]
            .map(|test| Filter::from_json(&json!({field.clone(): test})))
    });
    assert_all_agree(&test, records, tests.filter_map(Result::ok).collect()).await;
}

fn facts() -> Vec<NewRecord> {
    let mut records = Vec::new();
    for (n, (a, b)) in [
        (json!(1), json!("x")),
        (json!(2), json!("y")),
        (json!("1"), json!(null)),
        (json!(null), json!("x")),
        (json!([1]), json!(true)),
        (json!(1.0), json!({"c": 1})),
    ]
    .into_iter()
    .enumerate()
    {
        records.push(tagged(&format!("ab {n}"), X, json!({"a": a, "b": b})));
        records.push(tagged(&format!("a {n}"), Y, json!({"a": a})));
        records.push(tagged(&format!("b {n}"), HALF, json!({"b": b})));
    }
    records.push(tagged("none", X, json!({})));
    records
}

fn combinations() -> Vec<Value> {
    let (p, q) = (json!({"metadata.a": {"gte": 1}}), json!({"metadata.b": "x"}));
    vec![
        json!({}),
        json!({"and": []}),
        json!({"or": []}),
        json!({"not": {"and": []}}),
        json!({"not": {"or": []}}),
        json!({"and": [p, q]}),
        json!({"or": [p, q]}),
        json!({"not": p}),
        json!({"not": {"not": q}}),
        json!({"not": {"and": [p, q]}}),
        json!({"not": {"or": [p, q]}}),
        json!({"and": [p, {"not": q}]}),
        json!({"or": [{"not": p}, {"and": [q, {"not": {"not": p}}]}]}),
        json!({"and": [{"or": [p, q]}, {"not": {"and": [p, q]}}]}),
        json!({"or": [{"and": []}, p]}),
        json!({"and": [{"or": []}, p]}),
        json!({"metadata.a": {"gte": 1, "lt": 2, "ne": "x"}, "metadata.b": {"ne": null}}),
    ]
}

async fn connectives_agree_with_the_evaluator(test: Test) {
    let filters = combinations().into_iter().map(filter).collect();
    assert_all_agree(&test, facts(), filters).await;
}

async fn negation_is_exact(test: Test) {
    let notes = stored(&test, holding(&values())).await;
    let all = notes.count(None).await;
    for (positive, negative) in [("eq", "ne"), ("in", "not_in")] {
        for operand in [json!(1), json!("a"), json!(null), json!([]), json!({}), json!(true)] {
            let operand = if positive == "in" { json!([operand]) } else { operand };
            let yes = filter(json!({"metadata.v": {positive: operand}}));
            let no = filter(json!({"metadata.v": {negative: operand}}));
            let not = Filter::Not(Box::new(yes.clone()));
            let (yes, no, not) = (
                notes.count(Some(yes)).await,
                notes.count(Some(no)).await,
                notes.count(Some(not)).await,
            );
            assert_eq!((yes + no, yes + not), (all, all), "{positive} {operand}");
        }
    }
    for test in ["gt", "gte", "lt", "lte", "contains"] {
        let yes = filter(json!({"metadata.v": {test: 1}}));
        let not = Filter::Not(Box::new(yes.clone()));
        assert_eq!(notes.count(Some(yes)).await + notes.count(Some(not)).await, all, "{test}");
    }
}

async fn the_document_type_is_a_field(test: Test) {
    let types = ["text", "faq", "FAQ", "fa", "faq%", "手册", "10", "9"];
    let records = types.iter().map(|document_type| NewRecord {
        document_type: (*document_type).into(),
        ..tagged(document_type, HALF, json!({"document_type": "text"}))
    });
    let filters = [
        json!({"document_type": "faq"}),
        json!({"document_type": {"ne": "faq"}}),
        json!({"document_type": {"in": ["faq", "手册", 10]}}),
        json!({"document_type": {"not_in": ["faq"]}}),
        json!({"document_type": {"gt": "9"}}),
        json!({"document_type": {"lte": "FAQ"}}),
        json!({"document_type": {"gt": 9}}),
        json!({"document_type": 10}),
        json!({"document_type": {"contains": "a"}}),
        json!({"document_type": {"contains": "%"}}),
        json!({"document_type": {"exists": true}}),
        json!({"document_type": {"exists": false}}),
        json!({"document_type": null}),
        json!({"metadata.document_type": "text"}),
    ];
    assert_all_agree(&test, records.collect(), filters.map(filter).into()).await;
}

async fn the_creation_time_is_a_field(test: Test) {
    let notes = Namespace::new(&test);
    for n in 0..4 {
        notes.put(tagged(&n.to_string(), HALF, json!({}))).await;
        test.pass(std::time::Duration::from_millis(15)).await;
    }
    let all = notes.scan(None, 100).await;
    for created_at in all.iter().map(|record| record.created_at.to_string()) {
        for name in ["eq", "ne", "gt", "gte", "lt", "lte"] {
            let filter = filter(json!({"created_at": {name: created_at}}));
            assert_agrees(&test, &notes, &all, &filter).await;
        }
        for name in ["in", "not_in"] {
            let filter = filter(json!({"created_at": {name: [created_at]}}));
            assert_agrees(&test, &notes, &all, &filter).await;
        }
    }
    for exists in [true, false] {
        let filter = filter(json!({"created_at": {"exists": exists}}));
        assert_agrees(&test, &notes, &all, &filter).await;
    }
    let ancient = json!({"created_at": {"lt": "1970-01-01T00:00:00Z"}});
    assert_agrees(&test, &notes, &all, &filter(ancient)).await;
}

async fn deletion_by_filter_agrees_with_the_evaluator(test: Test) {
    for which in combinations() {
        let notes = stored(&test, facts()).await;
        let which = filter(which);
        let all = notes.scan(None, 1_000).await;
        let (go, stay): (Vec<Record>, Vec<Record>) =
            all.into_iter().partition(|record| which.matches(record.filter_target()));
        let deleted = notes.delete(Selection::Matching(which.clone())).await;
        assert_eq!(deleted, go.len() as u64, "{}", which.to_json());
        assert_eq!(notes.scan(None, 1_000).await, stay, "{}", which.to_json());
        assert_eq!(notes.nearest(X, 1_000).await.len(), stay.len());
        assert_eq!(notes.delete(Selection::Matching(which)).await, 0);
    }
    let untouched = stored(&test, vec![tagged("a", X, json!({"v": 1}))]).await;
    assert_eq!(untouched.scan(None, 10).await[0].metadata, object(json!({"v": 1})));
}
