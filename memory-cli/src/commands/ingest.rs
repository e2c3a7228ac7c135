//! `ingest`: files into passages that can be found.

mod folder;
mod passages;
mod stale;

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use memquill::kinds::{Document, KindName, VectorDatabase};
use memquill::{GetRecords, Outcome, Result, Scope, VectorStore, content_hash};
use serde_json::json;

use self::folder::Folder;
use self::passages::{Passages, files};
use self::stale::Sources;
use super::progress;
use super::search::documents;
use crate::Done;
use crate::args::Ingest;
use crate::output::{BOLD, Output};
use crate::session::Session;

/// How many passages are embedded and stored at once.
const BATCH: usize = 256;

/// What became of the passages.
#[derive(Default)]
struct Summary {
    files: usize,
    inserted: u64,
    updated: u64,
    unchanged: u64,
    /// Documents of JSONL without an id whose content an earlier one of this run has.
    repeated: u64,
    /// Passages that their files have no more.
    removed: u64,
}

pub(crate) async fn ingest(args: Ingest, session: &Session, output: Output) -> Done {
    let begun = Instant::now();
    let files = files(&args.paths)?;
    let memory = session.memory().await?;
    let folder = Folder::current()?;
    let mut ingestion = Ingestion {
        store: memory.vectors()?.clone(),
        scope: session.scope(KindName::VectorDatabase)?,
        documents: documents(session, &memory)?,
        namespace: args.namespace,
        folder: &folder,
        seen: HashSet::new(),
    };
    let bar = progress(files.len() as u64, "files");
    let mut summary = Summary { files: files.len(), ..Summary::default() };
    let passages = Passages {
        folder: &folder,
        size: args.passage,
        language: args.language,
        embed_with: args.embed_with,
    };
    let mut sources = Sources::new(&folder, &args.paths, &files);
    let mut waiting = Vec::new();
    for file in &files {
        for document in passages.read(file)? {
            sources.holds(&document);
            if ingestion.is_new(&document) {
                waiting.push(document);
            } else {
                summary.repeated += 1;
            }
            if waiting.len() == BATCH {
                ingestion.store(std::mem::take(&mut waiting), &mut summary).await?;
            }
        }
        bar.inc(1);
        bar.set_message(format!("{} passages", summary.stored()));
    }
    ingestion.store(waiting, &mut summary).await?;
    // Last, so that a run that stops half-way has lost nothing.
    let Ingestion { store, scope, documents, namespace, .. } = &ingestion;
    summary.removed = sources.remove_gone(store.as_ref(), scope, documents, namespace).await?;
    bar.finish_and_clear();
    Ok(summary.print(begun.elapsed().as_secs_f64(), output)?)
}

struct Ingestion<'a> {
    store: Arc<dyn VectorStore>,
    scope: Scope,
    documents: VectorDatabase,
    namespace: String,
    folder: &'a Folder,
    seen: HashSet<String>,
}

impl Ingestion<'_> {
    /// Whether no passage before it was the same record: the first of equal passages is kept, with
    /// its source.
    fn is_new(&mut self, document: &Document) -> bool {
        document.id.is_some() || self.seen.insert(content_hash(&document.content))
    }

    async fn store(&self, mut documents: Vec<Document>, summary: &mut Summary) -> Result<()> {
        if documents.is_empty() {
            return Ok(());
        }
        self.share(&mut documents).await?;
        for stored in self.documents.store(Some(&self.namespace), documents).await? {
            match stored.outcome {
                Outcome::Inserted => summary.inserted += 1,
                Outcome::Updated => summary.updated += 1,
                Outcome::Unchanged => summary.unchanged += 1,
            }
        }
        Ok(())
    }

    /// Leaves to other folders what they have as well.
    async fn share(&self, documents: &mut [Document]) -> Result<()> {
        let marked = documents.iter().filter(|document| self.folder.is_marked(document));
        let ids: Vec<String> = marked.filter_map(|document| document.id.clone()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let namespace = self.namespace.clone();
        let request = GetRecords { namespace, ids, with_embeddings: false };
        let stored = self.store.get(&self.scope, &request).await?;
        self.folder.share(documents, &stored);
        Ok(())
    }
}

impl Summary {
    fn stored(&self) -> u64 {
        self.inserted + self.updated + self.unchanged
    }

    fn print(&self, seconds: f64, output: Output) -> io::Result<()> {
        let value = json!({
            "success": true,
            "files": self.files,
            "inserted": self.inserted,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "repeated": self.repeated,
            "removed": self.removed,
            "seconds": (seconds * 1000.0).round() / 1000.0,
        });
        output.answer(&value, |out| {
            writeln!(
                out,
                "{BOLD}{}{BOLD:#} passages of {} files: {} inserted, {} updated, {} unchanged, \
                 {} repeated, {} removed, in {seconds:.1} s",
                self.stored() + self.repeated,
                self.files,
                self.inserted,
                self.updated,
                self.unchanged,
                self.repeated,
                self.removed
            )
        })
    }
}
