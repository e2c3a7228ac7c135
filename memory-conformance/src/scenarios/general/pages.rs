//! Listings, page by page (G11).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use memquill_core::{
    Append, Backend, ConversationOrder, Cursor, Delete, DeleteRecords, ErrorKind,
    ListConversations, ListEntries, Message, Page, PageRequest, Put, Result, ScanRecords, Scope,
    Selection, StoreRecords,
};

use super::traces::{plant, record, records};
use crate::scenario::{Family, Test, scenarios};
use crate::support::refused;

scenarios! {
    facet: None, family: Family::Concurrency;
    g11: every_item_stands_on_one_page;
    g11: a_walk_while_others_write_finds_what_stays_exactly_once;
    g11: a_cursor_outlives_the_item_it_points_at;
    g11: a_cursor_serves_another_connection;
    g11: a_cursor_of_another_listing_is_refused;
    g11: a_damaged_cursor_is_refused;
    g11: a_listing_of_nothing_is_one_empty_page;
}

/// Everything that lists a scope's things, but for scopes: a user's.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Listing {
    Conversations(ConversationOrder),
    Records,
    Namespaces,
    Entries,
    Scopes,
}

impl Listing {
    fn offered(backend: &Backend) -> Vec<Self> {
        let mut offered = vec![Self::Scopes];
        if backend.conversations().is_ok() {
            let orders = [ConversationOrder::Name, ConversationOrder::Activity];
            offered.extend(orders.map(Self::Conversations));
        }
        offered.extend(backend.working().is_ok().then_some(Self::Entries));
        if backend.vectors().is_ok() {
            offered.extend([Self::Records, Self::Namespaces]);
        }
        offered
    }

    /// Whether an item can go.
    fn removes(self) -> bool {
        self != Self::Scopes
    }

    /// Adds the item `name`, or writes it again.
    async fn add(self, backend: &Backend, scope: &Scope, name: &str) {
        match self {
            Self::Conversations(_) => {
                let append = Append::new(name, vec![Message::user("x")]);
                backend.conversations().unwrap().append(scope, &append).await.map(drop)
            }
            Self::Records => {
                let request = records(vec![record(name, "x")]);
                backend.vectors().unwrap().store(scope, &request).await.map(drop)
            }
            Self::Namespaces => {
                let request = records(vec![record("r", "x")]);
                let request = StoreRecords { namespace: name.into(), ..request };
                backend.vectors().unwrap().store(scope, &request).await.map(drop)
            }
            Self::Entries => {
                backend.working().unwrap().put(scope, &Put::new(name, 1)).await.map(drop)
            }
            Self::Scopes => {
                plant(backend, &Scope::new(scope.user(), name).unwrap(), "x").await;
                Ok(())
            }
        }
        .unwrap();
    }

    async fn remove(self, backend: &Backend, scope: &Scope, name: &str) {
        let delete = async |namespace: &str, which| {
            let request = DeleteRecords { namespace: namespace.into(), which };
            backend.vectors().unwrap().delete(scope, &request).await.unwrap();
        };
        match self {
            Self::Records => delete("n", Selection::Ids(vec![name.into()])).await,
            Self::Namespaces => delete(name, Selection::Namespace).await,
            Self::Entries => {
                backend.working().unwrap().delete(scope, &Delete::new(name)).await.unwrap();
            }
            Self::Conversations(_) => {
                backend.conversations().unwrap().delete(scope, name).await.unwrap();
            }
            Self::Scopes => {}
        }
    }

    /// One page, of the items' names.
    async fn page(
        self,
        backend: &Backend,
        scope: &Scope,
        page: &PageRequest,
    ) -> Result<Page<String>> {
        fn names<T>(page: Page<T>, name: impl Fn(T) -> String) -> Page<String> {
            Page { items: page.items.into_iter().map(name).collect(), next: page.next }
        }
        Ok(match self {
            Self::Conversations(order) => {
                let request = ListConversations { order, page: page.clone() };
                let listed = backend.conversations()?.list(scope, &request).await?;
                names(listed, |summary| summary.conversation)
            }
            Self::Records => {
                let scan = ScanRecords {
                    namespace: "n".into(),
                    filter: None,
                    with_embeddings: false,
                    page: page.clone(),
                };
                names(backend.vectors()?.scan(scope, &scan).await?, |record| record.id)
            }
            Self::Namespaces => {
                let listed = backend.vectors()?.namespaces(scope, page).await?;
                names(listed, |summary| summary.namespace)
            }
            Self::Entries => {
                let list = ListEntries { prefix: String::new(), page: page.clone() };
                names(backend.working()?.list(scope, &list).await?, |entry| entry.key)
            }
            Self::Scopes => {
                let listed = backend.control().scopes(scope.user(), page).await?;
                names(listed, |scope| scope.node().to_owned())
            }
        })
    }

    /// Walks all pages.
    async fn walk(self, backend: &Backend, scope: &Scope, limit: usize) -> Vec<String> {
        let mut found = Vec::new();
        let mut request = PageRequest::first(limit);
        for _ in 0..10_000 {
            let page = self.page(backend, scope, &request).await.unwrap();
            assert!(page.items.len() <= limit, "{self:?}: {} items", page.items.len());
            found.extend(page.items);
            match page.next {
                Some(next) => request = request.after(next),
                None => return found,
            }
        }
        panic!("{self:?}: the walk does not end");
    }
}

/// Names whose order differs between bytes, collations and insertion.
fn mixed_names() -> Vec<String> {
    ["b", "B", "a", "ä", "10", "9", "%", "_", "a b", "😀", "\u{FFFF}", "中", "~", " "]
        .map(String::from)
        .to_vec()
}

async fn every_item_stands_on_one_page(test: Test) {
    for listing in Listing::offered(test.backend()) {
        let scope = test.scope();
        let mut names = mixed_names();
        for name in &names {
            listing.add(test.backend(), &scope, name).await;
        }
        names.sort();
        for limit in [1, 2, 3, names.len() - 1, names.len(), names.len() + 1, 10_000] {
            let mut found = listing.walk(test.backend(), &scope, limit).await;
            found.sort();
            assert_eq!(found, names, "{listing:?} by {limit}");
        }
    }
}

async fn a_walk_while_others_write_finds_what_stays_exactly_once(test: Test) {
    // Writing again is activity, which moves what stays to the front (C12).
    let steady =
        |listing: &Listing| *listing != Listing::Conversations(ConversationOrder::Activity);
    for listing in Listing::offered(test.backend()).into_iter().filter(steady) {
        let scope = test.scope();
        let stays: Vec<String> = (0..40).map(|n| format!("{n:02} stays")).collect();
        for name in &stays {
            listing.add(test.backend(), &scope, name).await;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let others = tokio::spawn({
            let (connection, scope, stop) =
                (test.connect().await, scope.clone(), Arc::clone(&stop));
            async move { write_around(listing, &connection, &scope, &stop).await }
        });
        for limit in [3, 7, 1, 19] {
            let mut times: HashMap<String, usize> = HashMap::new();
            for name in listing.walk(test.backend(), &scope, limit).await {
                *times.entry(name).or_default() += 1;
            }
            for name in &stays {
                assert_eq!(times.get(name), Some(&1), "{listing:?} by {limit}: {name}");
            }
        }
        stop.store(true, Ordering::Relaxed);
        others.await.unwrap();
    }
}

/// Adds items all over the order, writes old ones again, and removes what it added.
async fn write_around(listing: Listing, backend: &Backend, scope: &Scope, stop: &AtomicBool) {
    // Bounded, so that a walk with small pages ends although items are added after it.
    for n in 0..60 {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let (old, new) = (n * 7 % 40, format!("{:02} goes {n}", n * 13 % 40));
        listing.add(backend, scope, &new).await;
        listing.add(backend, scope, &format!("{old:02} stays")).await;
        if n % 3 > 0 {
            listing.remove(backend, scope, &new).await;
        }
    }
}

async fn a_cursor_outlives_the_item_it_points_at(test: Test) {
    let backend = test.backend();
    for listing in Listing::offered(backend).into_iter().filter(|listing| listing.removes()) {
        let scope = test.scope();
        for name in ["a", "b", "c", "d"] {
            listing.add(backend, &scope, name).await;
        }
        let first = listing.page(backend, &scope, &PageRequest::first(2)).await.unwrap();
        for name in &first.items {
            listing.remove(backend, &scope, name).await;
        }
        let rest = PageRequest::first(10).after(first.next.expect("a next page"));
        let mut found = listing.page(backend, &scope, &rest).await.unwrap().items;
        found.extend(first.items);
        found.sort();
        assert_eq!(found, ["a", "b", "c", "d"], "{listing:?}");
    }
}

async fn a_cursor_serves_another_connection(test: Test) {
    for listing in Listing::offered(test.backend()) {
        let scope = test.scope();
        for name in ["a", "b", "c"] {
            listing.add(test.backend(), &scope, name).await;
        }
        let first = listing.page(test.backend(), &scope, &PageRequest::first(2)).await.unwrap();
        // As text, as between two requests to a web service.
        let cursor: Cursor = first.next.expect("a next page").to_string().parse().unwrap();
        let there = test.connect().await;
        let rest = PageRequest::first(2).after(cursor);
        let second = listing.page(&there, &scope, &rest).await.unwrap();
        let mut found = [first.items, second.items].concat();
        found.sort();
        assert_eq!((found, second.next), (vec!["a".into(), "b".into(), "c".into()], None));
    }
}

async fn a_cursor_of_another_listing_is_refused(test: Test) {
    let backend = test.backend();
    let mut cursors = Vec::new();
    let scope = test.scope();
    for listing in Listing::offered(backend) {
        for name in ["a", "b"] {
            listing.add(backend, &scope, name).await;
        }
        let page = listing.page(backend, &scope, &PageRequest::first(1)).await.unwrap();
        cursors.push((listing, page.next.expect("a next page")));
    }
    for (listing, _) in &cursors {
        for (other, cursor) in &cursors {
            let page = PageRequest::first(1).after(cursor.clone());
            let answer = listing.page(backend, &scope, &page).await;
            if other == listing {
                answer.unwrap();
            } else {
                let error = refused(answer, ErrorKind::InvalidInput);
                assert!(error.hint().is_some(), "{error}");
            }
        }
    }
}

async fn a_damaged_cursor_is_refused(test: Test) {
    let backend = test.backend();
    let scope = test.scope();
    for listing in Listing::offered(backend) {
        for name in ["a", "b"] {
            listing.add(backend, &scope, name).await;
        }
        let page = listing.page(backend, &scope, &PageRequest::first(1)).await.unwrap();
        let text = page.next.expect("a next page").to_string();
        let mut damaged = vec![String::new(), "x".into(), format!("{text}A"), text[1..].to_owned()];
        damaged.extend((0..text.len()).map(|at| {
            let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
            format!("{}{other}{}", &text[..at], &text[at + 1..])
        }));
        for text in damaged {
            refused(text.parse::<Cursor>(), ErrorKind::InvalidInput);
        }
    }
}

async fn a_listing_of_nothing_is_one_empty_page(test: Test) {
    for listing in Listing::offered(test.backend()) {
        let scope = test.scope();
        let page = listing.page(test.backend(), &scope, &PageRequest::default()).await.unwrap();
        assert_eq!((page.items, page.next), (vec![], None), "{listing:?}");
    }
}
