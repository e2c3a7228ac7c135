//! `reembed`: a namespace moves to the space of another embedder.

use std::collections::HashMap;
use std::sync::Arc;

use indicatif::ProgressBar;
use memquill::driver::{Feature, Limits, Rebind, RestoreRecords, VectorStore, content_hash};
use memquill::embed::{Embedder, EmbeddingSpace, embed_documents};
use memquill::kinds::{KindName, VectorDatabase};
use memquill::{
    Error, ErrorKind, Facet, GetRecords, Memory, NamespaceSummary, PageRequest, Record, Result,
    ScanRecords, Scope,
};
use serde_json::json;

use super::progress;
use super::search::documents;
use super::together::{embedded_text, reach};
use crate::Done;
use crate::args::Reembed;
use crate::output::{BOLD, Output};
use crate::session::Session;

/// How many records are embedded and stored at once.
const BATCH: usize = 256;
/// How often the walk is repeated for what was written meanwhile.
const WALKS: usize = 20;

pub(crate) async fn reembed(args: Reembed, session: &Session, output: Output) -> Done {
    let memory = session.existing_memory().await?;
    let capabilities = memory.backend(Facet::Vectors)?.capabilities();
    let needed = [Feature::Rebinding, Feature::Restoring];
    if let Some(missing) = needed.into_iter().find(|feature| !capabilities.has(*feature)) {
        return Err(Error::unsupported(format!("the store cannot move a namespace ({missing})"))
            .with_hint(
                "ingest the texts again into another namespace: memquill ingest --namespace NEW …",
            )
            .into());
    }
    let moving = Moving::new(&args.namespace, session, &memory)?;
    let from = moving.summary(&args.namespace).await?.ok_or_else(|| {
        Error::not_found(format!("there is no namespace {:?}", args.namespace))
            .with_hint("check --namespace, --user and --node")
    })?;
    let to = memory.embedder().space().clone();
    let (records, embedded) = if from.space == to {
        (from.records, 0)
    } else {
        let bar = progress(from.records, "records");
        let moved = moving.run(&bar).await;
        bar.finish_and_clear();
        moved?
    };
    let value = json!({
        "success": true,
        "namespace": args.namespace,
        "from": from.space,
        "to": to,
        "records": records,
        "embedded": embedded,
    });
    Ok(output.answer(&value, |out| {
        writeln!(
            out,
            "{BOLD}{records}{BOLD:#} records of {:?} are in the space {to}; {embedded} were \
             embedded in this run",
            args.namespace
        )
    })?)
}

/// A namespace, and the one beside it that is filled and then takes its place.
struct Moving {
    store: Arc<dyn VectorStore>,
    embedder: Arc<dyn Embedder>,
    scope: Scope,
    documents: VectorDatabase,
    namespace: String,
    beside: String,
}

impl Moving {
    fn new(namespace: &str, session: &Session, memory: &Memory) -> Result<Self> {
        Ok(Self {
            store: memory.vectors()?.clone(),
            embedder: memory.embedder().clone(),
            scope: session.scope(KindName::VectorDatabase)?,
            documents: documents(session, memory)?,
            namespace: namespace.to_owned(),
            beside: beside(namespace, memory.embedder().space()),
        })
    }

    /// Embeds what is not embedded yet and switches; says how many records there are, and how many
    /// were embedded.
    async fn run(&self, bar: &ProgressBar) -> Result<(u64, u64)> {
        let mut embedded = 0;
        let mut walks = 0;
        loop {
            embedded += self.walk(bar).await?;
            // It has to be there, also where there is nothing to put into it.
            self.put_beside(Vec::new()).await?;
            let rebind = Rebind { namespace: self.namespace.clone(), from: self.beside.clone() };
            walks += 1;
            match self.store.rebind(&self.scope, &rebind).await {
                Ok(records) => return Ok((records, embedded)),
                // Somebody wrote since the walk passed.
                Err(error) if error.kind() == ErrorKind::Conflict && walks < WALKS => {
                    bar.set_position(0);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Embeds every record that has no counterpart, and says how many.
    async fn walk(&self, bar: &ProgressBar) -> Result<u64> {
        let mut embedded = 0;
        let mut page = PageRequest::first(BATCH);
        loop {
            let request = ScanRecords {
                namespace: self.namespace.clone(),
                filter: None,
                with_embeddings: false,
                page: page.clone(),
            };
            let part = self.store.scan(&self.scope, &request).await?;
            let count = part.items.len() as u64;
            let missing = self.without_counterpart(part.items).await?;
            embedded += missing.len() as u64;
            self.copy(missing).await?;
            bar.inc(count);
            let Some(next) = part.next else { return Ok(embedded) };
            page = page.after(next);
        }
    }

    async fn without_counterpart(&self, records: Vec<Record>) -> Result<Vec<Record>> {
        if records.is_empty() {
            return Ok(records);
        }
        let request = GetRecords {
            namespace: self.beside.clone(),
            ids: records.iter().map(|record| record.id.clone()).collect(),
            with_embeddings: false,
        };
        let there = self.store.get(&self.scope, &request).await?;
        let there: HashMap<&str, &Record> = there.iter().map(|r| (r.id.as_str(), r)).collect();
        let lacks = |record: &Record| {
            there.get(record.id.as_str()).is_none_or(|there| {
                !there.is_counterpart_of(record) || there.expires_at != record.expires_at
            })
        };
        Ok(records.into_iter().filter(lacks).collect())
    }

    async fn copy(&self, records: Vec<Record>) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let texts = self.texts(&records).await?;
        let texts = records.iter().zip(&texts);
        let texts: Vec<&str> =
            texts.map(|(record, text)| text.as_ref().unwrap_or(&record.content).as_str()).collect();
        let embeddings = embed_documents(&*self.embedder, &texts).await?.into_iter().map(Some);
        let copies = records.into_iter().zip(embeddings);
        let copies = copies.map(|(record, embedding)| Record { embedding, ..record }).collect();
        self.put_beside(copies).await
    }

    /// Puts copies into the namespace beside. They expire with their originals, to the millisecond
    /// of the store's clock: none is left over where the move is given up, and none is missed.
    async fn put_beside(&self, records: Vec<Record>) -> Result<()> {
        let request = RestoreRecords {
            namespace: self.beside.clone(),
            space: self.embedder.space().clone(),
            records,
            overwrite: true,
        };
        self.store.restore(&self.scope, &request).await.map(drop)
    }

    /// The texts that are embedded in place of contents, as when the records were ingested.
    async fn texts(&self, records: &[Record]) -> Result<Vec<Option<String>>> {
        let text = |record: &Record, together: &[&str]| {
            embedded_text(&record.content, &record.metadata, together.iter().copied())
        };
        let mut texts: Vec<_> =
            records.iter().map(|record| text(record, &[&record.content])).collect();
        let mut by_reach: HashMap<usize, Vec<usize>> = HashMap::new();
        for (at, record) in records.iter().enumerate() {
            by_reach.entry(reach(&record.metadata)).or_default().push(at);
        }
        by_reach.remove(&0);
        for (reach, positions) in by_reach {
            let wanted: Vec<&Record> = positions.iter().map(|at| &records[*at]).collect();
            let beside = self.documents.neighbours(Some(&self.namespace), &wanted, reach).await?;
            for (at, beside) in positions.into_iter().zip(beside) {
                let passage = beside.before.iter().chain([&records[at]]).chain(&beside.after);
                let together: Vec<&str> = passage.map(|record| record.content.as_str()).collect();
                texts[at] = text(&records[at], &together);
            }
        }
        Ok(texts)
    }

    async fn summary(&self, namespace: &str) -> Result<Option<NamespaceSummary>> {
        let mut page = PageRequest::first(Limits::CONTRACT.batch_items);
        loop {
            let part = self.store.namespaces(&self.scope, &page).await?;
            if let Some(found) = part.items.into_iter().find(|s| s.namespace == namespace) {
                return Ok(Some(found));
            }
            let Some(next) = part.next else { return Ok(None) };
            page = page.after(next);
        }
    }
}

/// The name of the namespace beside: always the same for the same move, so that a run finds what
/// another one left.
fn beside(namespace: &str, space: &EmbeddingSpace) -> String {
    let hash = content_hash(&format!("{namespace}\0{}\0{}", space.model, space.dimensions));
    format!("reembed-{}", &hash[..32])
}
