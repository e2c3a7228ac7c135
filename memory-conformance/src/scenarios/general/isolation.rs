//! Isolation of scopes (G1).

use memquill_core::{Delete, DeleteRecords, PageRequest, Scope, Selection};

use super::traces::{look, plant, uproot};
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: None, family: Family::Example;
    g1: another_user_sees_nothing;
    g1: another_node_of_the_same_user_sees_nothing;
    g1: user_and_node_are_not_interchangeable;
    g1: a_name_that_begins_alike_is_another_scope;
    g1: a_name_within_another_is_another_scope;
    g1: names_that_differ_in_case_are_different_scopes;
    g1: names_that_differ_in_normal_form_are_different_scopes;
    g1: names_that_differ_in_spaces_are_different_scopes;
    g1: wildcards_in_a_name_are_literal;
    g1: names_that_join_to_one_text_are_different_scopes;
    g1: a_delete_reaches_only_its_scope;
    g1: the_listing_of_scopes_is_of_one_user;
}

fn scope(user: &str, node: &str) -> Scope {
    Scope::new(user, node).unwrap()
}

/// Neither scope sees, changes or removes what is in the other.
async fn apart(test: &Test, mine: Scope, other: Scope) {
    let here = test.backend();
    let there = test.connect().await;
    plant(here, &mine, "alpha").await;
    let seen = look(here, &mine, "alpha beta").await;
    assert!(!seen.is_empty());
    assert!(!seen.iter().any(|line| line.contains("beta")));
    assert_eq!(look(&there, &other, "alpha beta").await, [""; 0], "{other:?} sees {mine:?}");
    plant(&there, &other, "beta").await;
    assert_eq!(look(here, &mine, "alpha beta").await, seen, "{mine:?} after a write to {other:?}");
    let other_seen = look(&there, &other, "alpha beta").await;
    assert!(!other_seen.iter().any(|line| line.contains("alpha")), "{other_seen:?}");
    assert_eq!(other_seen.len(), seen.len());
    uproot(&there, &other).await;
    assert_eq!(look(&there, &other, "alpha beta").await, [""; 0]);
    assert_eq!(look(here, &mine, "alpha beta").await, seen, "{mine:?} after clearing {other:?}");
}

/// As [`apart`], for scopes whose user, and then whose node, are these two names.
async fn names_apart(test: &Test, one: &str, two: &str) {
    let user = test.user();
    apart(test, scope(&format!("{user}{one}"), "node"), scope(&format!("{user}{two}"), "node"))
        .await;
    apart(test, scope(&user, one), scope(&user, two)).await;
}

async fn another_user_sees_nothing(test: Test) {
    apart(&test, test.scope(), test.scope()).await;
}

async fn another_node_of_the_same_user_sees_nothing(test: Test) {
    let user = test.user();
    apart(&test, scope(&user, "one"), scope(&user, "two")).await;
}

async fn user_and_node_are_not_interchangeable(test: Test) {
    let (one, two) = (test.user(), test.user());
    apart(&test, scope(&one, &two), scope(&two, &one)).await;
}

async fn a_name_that_begins_alike_is_another_scope(test: Test) {
    names_apart(&test, "ann", "anna").await;
    names_apart(&test, "anna", "ann").await;
}

/// With a space in it, which some stores take for words to be found anywhere.
async fn a_name_within_another_is_another_scope(test: Test) {
    let backend = test.backend();
    let one = format!("{} b", test.user());
    let as_a_key = format!("{}:{one}4:node", one.len());
    for other in [format!("x{one}y"), format!("{one} c"), as_a_key] {
        let (mine, other) = (scope(&one, "node"), scope(&other, "node"));
        apart(&test, mine.clone(), other.clone()).await;
        plant(backend, &other, "beta").await;
        let seen = look(backend, &other, "alpha beta").await;
        let page = PageRequest::default();
        assert_eq!(backend.control().scopes(&one, &page).await.unwrap().items, [mine]);
        backend.control().erase(&one).await.unwrap();
        assert_eq!(
            look(backend, &other, "alpha beta").await,
            seen,
            "{other:?} after erasing {one}"
        );
        backend.control().erase(other.user()).await.unwrap();
    }
}

async fn names_that_differ_in_case_are_different_scopes(test: Test) {
    for (one, two) in [("anna", "Anna"), ("straße", "STRASSE"), ("ıi", "Iİ"), ("Ω", "ω")] {
        names_apart(&test, one, two).await;
    }
}

async fn names_that_differ_in_normal_form_are_different_scopes(test: Test) {
    for (one, two) in [("\u{e9}", "e\u{301}"), ("\u{212B}", "\u{c5}"), ("ﬁ", "fi"), ("１", "1")]
    {
        names_apart(&test, one, two).await;
    }
}

async fn names_that_differ_in_spaces_are_different_scopes(test: Test) {
    for (one, two) in [("a", "a "), ("a", " a"), ("a b", "a  b"), ("a b", "a\u{a0}b")] {
        names_apart(&test, one, two).await;
    }
}

async fn wildcards_in_a_name_are_literal(test: Test) {
    for wildcard in ["*", "%", "_", "?", "[a-z]", ".*", "a%", "a*"] {
        names_apart(&test, "a", wildcard).await;
    }
}

async fn names_that_join_to_one_text_are_different_scopes(test: Test) {
    for separator in [":", "/", "|", "\\", ".", " ", "_", "-", "}{"] {
        let user = test.user();
        let (one, two) = (format!("{user}{separator}a"), format!("a{separator}b"));
        apart(&test, scope(&one, "b"), scope(&user, &two)).await;
    }
}

async fn a_delete_reaches_only_its_scope(test: Test) {
    let (mine, other) = (test.scope(), test.scope());
    let backend = test.backend();
    plant(backend, &mine, "alpha").await;
    plant(backend, &other, "beta").await;
    let seen = look(backend, &mine, "alpha").await;
    if let Ok(vectors) = backend.vectors() {
        let ids = Selection::Ids(vec!["r".into()]);
        let request = DeleteRecords { namespace: "n".into(), which: ids };
        assert_eq!(vectors.delete(&other, &request).await.unwrap(), 1);
        assert_eq!(vectors.delete(&other, &request).await.unwrap(), 0);
    }
    if let Ok(working) = backend.working() {
        assert!(working.delete(&other, &Delete::new("k")).await.unwrap());
        assert!(!working.delete(&other, &Delete::new("k")).await.unwrap());
    }
    assert_eq!(look(backend, &mine, "alpha").await, seen);
}

async fn the_listing_of_scopes_is_of_one_user(test: Test) {
    let user = test.user();
    let longer = format!("{user}0");
    for scope in [scope(&user, "a"), scope(&user, "b"), scope(&longer, "c")] {
        plant(test.backend(), &scope, "x").await;
    }
    let listed = async |user: &str| {
        let page = PageRequest::default();
        let mut scopes = test.backend().control().scopes(user, &page).await.unwrap().items;
        scopes.sort();
        scopes
    };
    assert_eq!(listed(&user).await, [scope(&user, "a"), scope(&user, "b")]);
    assert_eq!(listed(&longer).await, [scope(&longer, "c")]);
    assert_eq!(listed(&format!("{user}%")).await, []);
}
