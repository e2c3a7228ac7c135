//! V9: in what order a text finds records.

use memquill_core::{Facet, TextSearch};

use super::support::{Namespace, X, ids, text};
use crate::model;
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: Some(Facet::Vectors), family: Family::Example;
    v9: a_rarer_word_ranks_higher [TextSearch];
    v9: a_word_that_occurs_more_often_ranks_higher [TextSearch];
    v9: a_shorter_record_ranks_higher [TextSearch];
    v9: more_of_the_words_rank_higher [TextSearch];
    v9: equal_relevance_stands_in_the_order_of_ids [TextSearch];
    v9: the_order_is_that_of_bm25 [TextSearch];
    v9: changes_leave_the_order_that_of_bm25 [TextSearch];
    v9: a_namespace_is_a_corpus_of_its_own [TextSearch];
}

async fn a_rarer_word_ranks_higher(test: Test) {
    let notes = Namespace::new(&test);
    let mut records = vec![text("common", "apple stone"), text("rare", "quince stone")];
    records.extend((0..20).map(|n| text(&format!("filler {n}"), "apple water")));
    notes.store(records).await;
    let found = notes.found("apple quince").await;
    assert_eq!(found[0], "rare");
    assert_eq!(found.len(), 22);
}

async fn a_word_that_occurs_more_often_ranks_higher(test: Test) {
    let notes = Namespace::new(&test);
    notes
        .store(vec![
            text("once", "apple water stone"),
            text("twice", "apple apple stone"),
            text("thrice", "apple apple apple"),
        ])
        .await;
    assert_eq!(notes.found("apple").await, ["thrice", "twice", "once"]);
}

async fn a_shorter_record_ranks_higher(test: Test) {
    let notes = Namespace::new(&test);
    notes
        .store(vec![
            text("long", "apple water stone fire wind earth wood metal"),
            text("middle", "apple water stone fire"),
            text("short", "apple"),
        ])
        .await;
    assert_eq!(notes.found("apple").await, ["short", "middle", "long"]);
}

async fn more_of_the_words_rank_higher(test: Test) {
    let notes = Namespace::new(&test);
    notes
        .store(vec![
            text("one", "apple water stone"),
            text("two", "apple quince stone"),
            text("three", "apple quince pear"),
        ])
        .await;
    assert_eq!(notes.found("pear quince apple").await, ["three", "two", "one"]);
}

async fn equal_relevance_stands_in_the_order_of_ids(test: Test) {
    let notes = Namespace::new(&test);
    for id in ["z", "🙂", "9", "é", "10", "B", "a"] {
        notes.put(text(id, "the very same words")).await;
    }
    let order = ["10", "9", "B", "a", "z", "é", "🙂"];
    assert_eq!(notes.found("same words").await, order);
    let request = TextSearch { limit: 3, ..notes.words("words") };
    assert_eq!(ids(&notes.search_text(&request).await), order[..3]);
}

const WORDS: [&str; 12] = [
    "apple", "quince", "pear", "water", "stone", "fire", "wind", "earth", "wood", "metal", "salt",
    "the",
];

/// A text of up to 30 words, the first ones of the list more often, the same for the same `n`.
fn prose(n: usize) -> String {
    let length = 1 + (n * 7) % 30;
    let word = |i: usize| WORDS[(n * 31 + i * i * 17 + i * n) % 97 % WORDS.len()];
    (0..length).map(word).collect::<Vec<_>>().join(" ")
}

/// Checks a result against BM25 over what the namespace holds; what is as relevant but for rounding
/// may change places.
async fn assert_bm25(notes: &Namespace, text: &str, limit: usize) {
    let request = TextSearch { limit, ..notes.words(text) };
    let hits = notes.search_text(&request).await.hits;
    let records = notes.scan(None, 1_000).await;
    let scores = model::relevance(&records, &request);
    let score = |id: &str| {
        let at = records.iter().position(|record| record.id == id).expect("a stored record");
        scores[at].unwrap_or_else(|| panic!("{id} has no word of {text:?}"))
    };
    let mut exact: Vec<f64> = scores.iter().flatten().copied().collect();
    exact.sort_by(|a, b| b.total_cmp(a));
    exact.truncate(limit);
    let found: Vec<f64> = hits.iter().map(|hit| score(&hit.record.id)).collect();
    assert_eq!(found.len(), exact.len(), "{text:?}");
    for (at, (found, exact)) in found.iter().zip(&exact).enumerate() {
        assert!((found - exact).abs() < 1e-6 * exact, "{text:?}: place {at} of {hits:?}");
    }
}

async fn the_order_is_that_of_bm25(test: Test) {
    let notes = Namespace::new(&test);
    notes.store((0..120).map(|n| text(&format!("{n:03}"), &prose(n))).collect()).await;
    for query in ["apple", "quince pear", "the metal the metal", "salt wood wind nothing", "stone"]
    {
        assert_bm25(&notes, query, 1_000).await;
        assert_bm25(&notes, query, 7).await;
    }
}

async fn changes_leave_the_order_that_of_bm25(test: Test) {
    let notes = Namespace::new(&test);
    notes.store((0..90).map(|n| text(&format!("{n:03}"), &prose(n))).collect()).await;
    let gone: Vec<String> = (0..90).step_by(3).map(|n| format!("{n:03}")).collect();
    notes.delete_ids(&gone.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let changed = (0..90).step_by(4).map(|n| text(&format!("{n:03}"), &prose(n + 500)));
    notes.store(changed.collect()).await;
    let unchanged = (0..90).step_by(8).map(|n| text(&format!("{n:03}"), &prose(n + 500)));
    notes.store(unchanged.collect()).await;
    for query in ["apple", "quince pear", "the metal", "salt wood wind nothing", "stone"] {
        assert_bm25(&notes, query, 1_000).await;
    }
}

async fn a_namespace_is_a_corpus_of_its_own(test: Test) {
    let notes = Namespace::new(&test);
    notes.store(vec![text("rare", "quince"), text("common", "apple")]).await;
    notes.store((0..5).map(|n| text(&format!("{n}"), "apple")).collect()).await;
    // Everywhere else it is the other way round.
    let flood = || (0..200).map(|n| text(&format!("{n}"), "quince")).collect();
    notes.named("other").store(flood()).await;
    notes.in_scope(test.scope()).store(flood()).await;
    assert_eq!(notes.found("apple quince").await[0], "rare");
    assert_bm25(&notes, "apple quince", 10).await;
    assert_eq!(notes.nearest(X, 100).await.len(), 7);
}
