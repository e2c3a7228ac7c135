//! Walking everything that a side holds, page by page.

use std::collections::BTreeMap;

use async_trait::async_trait;
use memquill_core::{
    Administrator, Backend, ConversationStatistics, ConversationSummary, EmbeddingSpace, Error,
    Facet, Lineage, ListConversations, ListEntries, NamespaceSummary, PageRequest, RestoreEntries,
    RestoreMessages, RestoreRecords, Result, ScanRecords, Scope, StoredMessage, WorkingStatistics,
};

use crate::batch::{Batch, Counts, Sizes, batches, entry_bytes, message_bytes, record_bytes};
use crate::endpoint::{Endpoint, UserSelection};
use crate::messages::Reading;

/// Names on a page.
const NAMES: usize = 1_000;

/// What items stand in.
#[derive(Debug, Clone)]
pub(crate) enum Container {
    Conversation(ConversationSummary),
    Namespace(NamespaceSummary),
    Working(WorkingStatistics),
}

impl Container {
    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        match self {
            Self::Conversation(summary) => counts.messages = summary.statistics.message_count,
            Self::Namespace(summary) => counts.records = summary.records,
            Self::Working(statistics) => counts.entries = statistics.entries,
        }
        counts
    }
}

/// Is shown what a walk comes by.
#[async_trait]
pub(crate) trait Visitor: Send {
    /// A container, before its items. Says whether to read them.
    async fn container(&mut self, scope: &Scope, container: &Container) -> Result<bool>;

    /// Items of the container before. The last batch of a conversation, which may hold no message,
    /// says its last number; the others, that of their last message.
    async fn batch(&mut self, scope: &Scope, batch: Batch) -> Result<()>;
}

/// Shows everything to the visitor.
pub(crate) async fn walk(
    side: &Endpoint,
    whose: &UserSelection,
    visitor: &mut dyn Visitor,
) -> Result<()> {
    for (facet, backend) in side.backends() {
        match whose {
            UserSelection::User(user) => walk_user(facet, backend, user, visitor).await?,
            UserSelection::All(admins) => {
                let Some(admin) = admins.get(&facet) else { continue };
                walk_users(facet, backend, admin, visitor).await?;
            }
        }
    }
    Ok(())
}

async fn walk_users(
    facet: Facet,
    backend: &Backend,
    admin: &Administrator,
    visitor: &mut dyn Visitor,
) -> Result<()> {
    let mut page = PageRequest::first(NAMES);
    loop {
        let users = admin.users(&page).await?;
        for user in &users.items {
            walk_user(facet, backend, user, visitor).await?;
        }
        let Some(next) = users.next else { return Ok(()) };
        page = page.after(next);
    }
}

async fn walk_user(
    facet: Facet,
    backend: &Backend,
    user: &str,
    visitor: &mut dyn Visitor,
) -> Result<()> {
    let mut page = PageRequest::first(NAMES);
    loop {
        let scopes = backend.control().scopes(user, &page).await?;
        for scope in &scopes.items {
            match facet {
                Facet::Conversations => conversations(backend, scope, visitor).await?,
                Facet::Vectors => namespaces(backend, scope, visitor).await?,
                Facet::Working => entries(backend, scope, visitor).await?,
            }
        }
        let Some(next) = scopes.next else { return Ok(()) };
        page = page.after(next);
    }
}

async fn conversations(backend: &Backend, scope: &Scope, visitor: &mut dyn Visitor) -> Result<()> {
    let store = backend.conversations()?;
    let mut request = ListConversations::by_name(PageRequest::first(NAMES));
    loop {
        let part = store.list(scope, &request).await?;
        for summary in part.items {
            let name = summary.conversation.clone();
            let ConversationStatistics { last_seq, lineage, .. } = summary.statistics;
            if visitor.container(scope, &Container::Conversation(summary)).await? {
                let reading =
                    Reading { store: store.as_ref(), scope, conversation: &name, last_seq };
                messages(&reading, lineage, visitor).await?;
            }
        }
        let Some(next) = part.next else { return Ok(()) };
        request.page = request.page.after(next);
    }
}

async fn messages(
    reading: &Reading<'_>,
    lineage: Lineage,
    visitor: &mut dyn Visitor,
) -> Result<()> {
    let mut sizes = Sizes::new();
    let mut after = 0;
    loop {
        let messages = reading.next(after, sizes.items() as u64).await?;
        let bytes = |stored: &StoredMessage| message_bytes(&stored.message);
        sizes.learn(messages.len(), messages.iter().map(bytes).sum());
        for messages in batches(messages, bytes) {
            let last = messages.last().map(|stored| stored.seq);
            after = last.unwrap_or(reading.last_seq);
            let conversation = reading.conversation.to_owned();
            let request = RestoreMessages { conversation, messages, last_seq: after, lineage };
            visitor.batch(reading.scope, Batch::Messages(request)).await?;
        }
        if after >= reading.last_seq {
            return Ok(());
        }
    }
}

async fn namespaces(backend: &Backend, scope: &Scope, visitor: &mut dyn Visitor) -> Result<()> {
    let store = backend.vectors()?;
    let mut page = PageRequest::first(NAMES);
    loop {
        let part = store.namespaces(scope, &page).await?;
        let mut read = BTreeMap::new();
        for summary in part.items {
            if visitor.container(scope, &Container::Namespace(summary.clone())).await? {
                records(backend, scope, &summary, visitor).await?;
                read.insert(summary.namespace, summary.space);
            }
        }
        if !read.is_empty() {
            kept(&read, &store.namespaces(scope, &page).await?.items)?;
        }
        let Some(next) = part.next else { return Ok(()) };
        page = page.after(next);
    }
}

/// A namespace that changed its space while it was read (V13) was told with the wrong one.
fn kept(read: &BTreeMap<String, EmbeddingSpace>, now: &[NamespaceSummary]) -> Result<()> {
    let changed =
        |now: &&NamespaceSummary| read.get(&now.namespace).is_some_and(|space| *space != now.space);
    now.iter().find(changed).map_or(Ok(()), |now| {
        let message = format!("the namespace {:?} changed its space meanwhile", now.namespace);
        Err(Error::conflict(message).with_hint("delete it in the target, and copy or export again"))
    })
}

async fn records(
    backend: &Backend,
    scope: &Scope,
    summary: &NamespaceSummary,
    visitor: &mut dyn Visitor,
) -> Result<()> {
    let store = backend.vectors()?;
    let mut sizes = Sizes::new();
    let mut cursor = None;
    loop {
        let request = ScanRecords {
            namespace: summary.namespace.clone(),
            filter: None,
            with_embeddings: true,
            page: PageRequest { limit: sizes.items(), cursor },
        };
        let part = store.scan(scope, &request).await?;
        sizes.learn(part.items.len(), part.items.iter().map(record_bytes).sum());
        for records in batches(part.items, record_bytes) {
            let request = RestoreRecords {
                namespace: summary.namespace.clone(),
                space: summary.space.clone(),
                records,
                overwrite: false,
            };
            visitor.batch(scope, Batch::Records(request)).await?;
        }
        let Some(next) = part.next else { return Ok(()) };
        cursor = Some(next);
    }
}

async fn entries(backend: &Backend, scope: &Scope, visitor: &mut dyn Visitor) -> Result<()> {
    let store = backend.working()?;
    let statistics = store.statistics(scope).await?;
    if statistics.entries == 0 || !visitor.container(scope, &Container::Working(statistics)).await?
    {
        return Ok(());
    }
    let mut sizes = Sizes::new();
    let mut cursor = None;
    loop {
        let page = PageRequest { limit: sizes.items(), cursor };
        let part = store.list(scope, &ListEntries { prefix: String::new(), page }).await?;
        sizes.learn(part.items.len(), part.items.iter().map(entry_bytes).sum());
        for entries in batches(part.items, entry_bytes) {
            if !entries.is_empty() {
                let request = RestoreEntries { entries, overwrite: false };
                visitor.batch(scope, Batch::Entries(request)).await?;
            }
        }
        let Some(next) = part.next else { return Ok(()) };
        cursor = Some(next);
    }
}

/// How many items a side holds, by its own figures.
pub async fn count(side: &Endpoint, whose: &UserSelection) -> Result<Counts> {
    struct Counting(Counts);

    #[async_trait]
    impl Visitor for Counting {
        async fn container(&mut self, _: &Scope, container: &Container) -> Result<bool> {
            self.0.add(container.counts());
            Ok(false)
        }

        async fn batch(&mut self, _: &Scope, _: Batch) -> Result<()> {
            Ok(())
        }
    }

    let mut counting = Counting(Counts::default());
    walk(side, whose, &mut counting).await?;
    Ok(counting.0)
}
