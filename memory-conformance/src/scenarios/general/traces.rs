//! Leaving something in every facet of a scope, and looking for it in every way of reading.

use memquill_core::{
    Append, Backend, ConversationStore, CountRecords, DeleteRecords, EmbeddingSpace, Feature, Get,
    GetMany, GetRecords, ListConversations, ListEntries, Message, NewRecord, PageRequest, Put,
    ReadMessages, Result, ScanRecords, Scope, Selection, StoreRecords, TextSearch, VectorSearch,
    VectorStore,
};

/// The space of the records that scenarios of this section store.
pub(super) fn space() -> EmbeddingSpace {
    EmbeddingSpace::new("conformance", 2)
}

/// A batch of records for the namespace `n`.
pub(super) fn records(records: Vec<NewRecord>) -> StoreRecords {
    StoreRecords { namespace: "n".into(), space: space(), records }
}

/// A record with some embedding.
pub(super) fn record(id: &str, content: &str) -> NewRecord {
    NewRecord::new(content, vec![0.6, 0.8]).with_id(id)
}

/// Leaves a message, a record and an entry that say `label`, in the facets that there are.
pub(crate) async fn plant(backend: &Backend, scope: &Scope, label: &str) {
    if let Ok(conversations) = backend.conversations() {
        let append = Append::new("c", vec![Message::user(label)]);
        conversations.append(scope, &append).await.unwrap();
    }
    if let Ok(vectors) = backend.vectors() {
        vectors.store(scope, &records(vec![record("r", label)])).await.unwrap();
    }
    if let Ok(working) = backend.working() {
        working.put(scope, &Put::new("k", label)).await.unwrap();
    }
}

/// Removes what [`plant`] left.
pub(super) async fn uproot(backend: &Backend, scope: &Scope) {
    if let Ok(conversations) = backend.conversations() {
        conversations.clear(scope, "c").await.unwrap();
    }
    if let Ok(vectors) = backend.vectors() {
        let request = DeleteRecords { namespace: "n".into(), which: Selection::Namespace };
        vectors.delete(scope, &request).await.unwrap();
    }
    if let Ok(working) = backend.working() {
        working.clear(scope).await.unwrap();
    }
}

/// What every way of reading shows of a scope, a line for each thing seen; `text` is searched for.
pub(super) async fn look(backend: &Backend, scope: &Scope, text: &str) -> Vec<String> {
    let mut seen = messages(backend, scope).await;
    seen.extend(stored_records(backend, scope, text).await);
    seen.extend(entries(backend, scope).await);
    seen
}

async fn messages(backend: &Backend, scope: &Scope) -> Vec<String> {
    let Ok(conversations) = backend.conversations() else { return Vec::new() };
    let mut seen = Vec::new();
    let listed = conversations.list(scope, &ListConversations::default()).await.unwrap();
    for summary in listed.items.iter().filter(|s| s.statistics.message_count > 0) {
        seen.push(format!("conversation {} {:?}", summary.conversation, summary.statistics));
    }
    let statistics = conversations.statistics(scope, "c").await.unwrap();
    if statistics.message_count > 0 {
        seen.push(format!("statistics {statistics:?}"));
    }
    let read = conversations.read(scope, &ReadMessages::all("c")).await.unwrap();
    seen.extend(read.messages.iter().map(|m| format!("message {m:?}")));
    seen
}

async fn stored_records(backend: &Backend, scope: &Scope, text: &str) -> Vec<String> {
    let Ok(vectors) = backend.vectors() else { return Vec::new() };
    let mut seen = Vec::new();
    let namespaces = vectors.namespaces(scope, &PageRequest::default()).await.unwrap();
    seen.extend(namespaces.items.iter().map(|n| format!("namespace {n:?}")));
    let count = CountRecords { namespace: "n".into(), filter: None };
    let counted = vectors.count(scope, &count).await.unwrap();
    seen.extend((counted > 0).then(|| format!("count {counted}")));
    let get = GetRecords { namespace: "n".into(), ids: vec!["r".into()], with_embeddings: true };
    let found = vectors.get(scope, &get).await.unwrap();
    seen.extend(found.iter().map(|r| format!("record {r:?}")));
    let scan = ScanRecords {
        namespace: "n".into(),
        filter: None,
        with_embeddings: false,
        page: PageRequest::default(),
    };
    let scanned = vectors.scan(scope, &scan).await.unwrap();
    seen.extend(scanned.items.iter().map(|r| format!("scanned {r:?}")));
    let search = VectorSearch::new("n", space(), vec![1.0, 0.0], 10);
    let found = vectors.search(scope, &search).await.unwrap();
    seen.extend(found.hits.iter().map(|h| format!("near {}", h.record.content)));
    if backend.capabilities().has(Feature::TextSearch) {
        let search = TextSearch::new("n", text, 10);
        let found = vectors.search_text(scope, &search).await.unwrap();
        seen.extend(found.hits.iter().map(|h| format!("worded {}", h.record.content)));
    }
    seen
}

async fn entries(backend: &Backend, scope: &Scope) -> Vec<String> {
    let Ok(working) = backend.working() else { return Vec::new() };
    let mut seen = Vec::new();
    let found = working.get(scope, &Get::new("k")).await.unwrap();
    seen.extend(found.iter().map(|entry| format!("entry {entry:?}")));
    let many = GetMany { keys: vec!["k".into()], extend: None };
    let found = working.get_many(scope, &many).await.unwrap();
    seen.extend(found.iter().map(|entry| format!("one of many {entry:?}")));
    let listed = working.list(scope, &ListEntries::default()).await.unwrap();
    seen.extend(listed.items.iter().map(|entry| format!("listed {entry:?}")));
    let statistics = working.statistics(scope).await.unwrap();
    seen.extend((statistics.entries > 0).then(|| format!("statistics {statistics:?}")));
    seen
}

/// Reads, one in each facet that the backend offers, and whether they find what [`plant`] left.
pub(crate) async fn reads(backend: &Backend, scope: &Scope) -> Vec<Result<bool>> {
    let mut answers = Vec::new();
    if let Ok(conversations) = backend.conversations() {
        let read = conversations.read(scope, &ReadMessages::all("c")).await;
        answers.push(read.map(|read| !read.messages.is_empty()));
    }
    if let Ok(vectors) = backend.vectors() {
        let count = CountRecords { namespace: "n".into(), filter: None };
        answers.push(vectors.count(scope, &count).await.map(|count| count > 0));
    }
    if let Ok(working) = backend.working() {
        answers.push(working.get(scope, &Get::new("k")).await.map(|entry| entry.is_some()));
    }
    answers
}

/// Stores the text wherever content is kept, and gives what comes back, with the place.
pub(super) async fn keep_content(
    backend: &Backend,
    scope: &Scope,
    text: &str,
) -> Vec<(&'static str, Result<String>)> {
    let mut back = Vec::new();
    if let Ok(conversations) = backend.conversations() {
        back.push(("a message", keep_in_message(&**conversations, scope, text).await));
    }
    if let Ok(vectors) = backend.vectors() {
        back.push(("a record", keep_in_record(&**vectors, scope, text).await));
    }
    back
}

pub(super) async fn keep_in_message(
    conversations: &dyn ConversationStore,
    scope: &Scope,
    text: &str,
) -> Result<String> {
    let append = Append::new("c", vec![Message::user(text)]);
    conversations.append(scope, &append).await?;
    let read = conversations.read(scope, &ReadMessages::newest("c", 1)).await?;
    Ok(read.messages[0].message.text().to_owned())
}

pub(super) async fn keep_in_record(
    vectors: &dyn VectorStore,
    scope: &Scope,
    text: &str,
) -> Result<String> {
    vectors.store(scope, &records(vec![record("r", text)])).await?;
    let ids = vec!["r".into()];
    let get = GetRecords { namespace: "n".into(), ids, with_embeddings: false };
    Ok(vectors.get(scope, &get).await?.remove(0).content)
}
