//! Listings (W5).

use memquill_core::{Entry, Facet, ListEntries, PageRequest};

use crate::scenario::{Family, Test, scenarios};
use crate::support::{AFTER_SHORT, LONG, SHORT, Working};

scenarios! {
    facet: Some(Facet::Working), family: Family::Example;
    w5: a_prefix_is_literal;
    w5: keys_ascend_by_their_bytes;
    w5: an_empty_prefix_lists_all;
    w5: pages_of_a_prefix_follow_each_other;
    w5: a_listing_gives_whole_entries;
    w5: an_expired_entry_takes_no_place_on_a_page;
    w5: a_prefix_may_end_inside_a_grapheme;
}

async fn a_prefix_is_literal(test: Test) {
    let working = Working::new(&test);
    let keys =
        ["%", "%a", "*", "*a", "[a]", "\\", "\\%", "_", "_a", "a", "a%b", "a*b", "a_b", "ab"];
    for key in keys {
        working.put(key, key).await;
    }
    for prefix in ["%", "*", "_", "\\", "[a", "a", "a%", "a_", "a*", "ab", "A", "b", "a]"] {
        let expected: Vec<&str> = keys.into_iter().filter(|key| key.starts_with(prefix)).collect();
        assert_eq!(working.keys(prefix).await, expected, "{prefix:?}");
    }
}

async fn keys_ascend_by_their_bytes(test: Test) {
    let working = Working::new(&test);
    // UTF-16 and most collations order some of these otherwise.
    let mut keys = [
        "b",
        "B",
        "a",
        "A",
        "aa",
        "a b",
        "a-b",
        "a_b",
        "ab",
        "10",
        "9",
        "é",
        "e\u{301}",
        "z",
        "ß",
        "ss",
        "Ω",
        "中",
        "\u{FFFD}",
        "\u{FFFF}",
        "\u{10000}",
        "😀",
        "~",
        " ",
        "ﬀ",
        "ı",
        "İ",
    ];
    for key in keys {
        working.put(key, 1).await;
    }
    keys.sort_unstable_by_key(|key| key.as_bytes());
    assert_eq!(working.keys("").await, keys);
}

async fn an_empty_prefix_lists_all(test: Test) {
    let working = Working::new(&test);
    assert!(working.keys("").await.is_empty());
    for key in ["a", "b/c", " "] {
        working.put(key, 1).await;
    }
    assert_eq!(working.keys("").await, [" ", "a", "b/c"]);
}

async fn pages_of_a_prefix_follow_each_other(test: Test) {
    let working = Working::new(&test);
    let keys: Vec<String> = (0..25).map(|n| format!("p%{n:02}é")).collect();
    for key in keys.iter().map(String::as_str).chain(["p", "p%", "p&", "o", "q"]) {
        working.put(key, 1).await;
    }
    for limit in [1, 4, 5, 25, 26] {
        let mut found = Vec::new();
        let mut page = PageRequest::first(limit);
        loop {
            let request = ListEntries { prefix: "p%".into(), page: page.clone() };
            let answer = working.store().list(working.scope(), &request).await.unwrap();
            assert!(answer.items.len() <= limit);
            found.extend(answer.items.into_iter().map(|entry| entry.key));
            let Some(next) = answer.next else { break };
            page = page.after(next);
        }
        assert_eq!(found[0], "p%");
        assert_eq!(found[1..], keys, "pages of {limit}");
    }
}

async fn a_listing_gives_whole_entries(test: Test) {
    let working = Working::new(&test);
    working.put_for("a", "x", LONG).await;
    working.put("b", 2).await;
    let request = ListEntries::default();
    let listed: Vec<Entry> = working.store().list(working.scope(), &request).await.unwrap().items;
    assert_eq!(listed, [working.get("a").await.unwrap(), working.get("b").await.unwrap()]);
}

async fn an_expired_entry_takes_no_place_on_a_page(test: Test) {
    let working = Working::new(&test);
    for key in ["a", "b", "d", "e", "f"] {
        working.put_for(key, 1, SHORT).await;
    }
    for key in ["c", "g"] {
        working.put(key, 1).await;
    }
    test.pass(AFTER_SHORT).await;
    let page = |limit| ListEntries { prefix: String::new(), page: PageRequest::first(limit) };
    let listed = working.store().list(working.scope(), &page(2)).await.unwrap();
    let keys: Vec<&str> = listed.items.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!((keys, listed.next), (vec!["c", "g"], None));
    let first = working.store().list(working.scope(), &page(1)).await.unwrap();
    assert_eq!(first.items[0].key, "c");
    let rest = ListEntries { page: page(1).page.after(first.next.unwrap()), ..page(1) };
    let second = working.store().list(working.scope(), &rest).await.unwrap();
    assert_eq!((second.items[0].key.as_str(), second.next), ("g", None));
}

async fn a_prefix_may_end_inside_a_grapheme(test: Test) {
    let working = Working::new(&test);
    for key in ["e", "e\u{301}", "é", "👩", "👩\u{200D}🚀"] {
        working.put(key, 1).await;
    }
    assert_eq!(working.keys("e").await, ["e", "e\u{301}"]);
    assert_eq!(working.keys("👩").await, ["👩", "👩\u{200D}🚀"]);
    assert_eq!(working.keys("é").await, ["é"]);
}
