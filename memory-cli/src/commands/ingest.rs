//! `ingest`: files into passages that can be found.

mod files;
mod folder;
mod html;
mod markdown;
mod passages;
mod plain;
mod rows;
mod stale;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use memquill::driver::{VectorStore, content_hash};
use memquill::kinds::{Document, KindName, VectorDatabase};
use memquill::transfer::LeftOut;
use memquill::{Error, ErrorKind, GetRecords, Outcome, Result, Scope};
use serde_json::json;

use self::folder::Folder;
use self::passages::{Contents, Passages};
use self::stale::Sources;
use super::import::forms;
use super::progress;
use super::search::{documents, of_space};
use crate::args::Ingest;
use crate::input::{self, concerns_the_item, leave_out, text};
use crate::output::{BOLD, Output, failure_of, rounded, write_left_out};
use crate::session::Session;
use crate::{Done, Failure};

/// How many passages are embedded and stored at once.
const BATCH: usize = 256;

/// What became of the passages.
#[derive(Default)]
struct Summary {
    files: usize,
    inserted: u64,
    updated: u64,
    unchanged: u64,
    /// Documents that an earlier one of this run equals.
    repeated: u64,
    /// Passages that their files have no more.
    removed: u64,
    left_out: LeftOut,
}

pub(crate) async fn ingest(args: Ingest, session: &Session, output: Output) -> Done {
    let begun = Instant::now();
    let mut summary = Summary::default();
    let mut unread = Vec::new();
    let files = files::files(&args.paths, &mut |path, error| unread.push((path.to_owned(), error)));
    if files.is_empty() && unread.is_empty() {
        return Err(files::none().into());
    }
    let folder = Folder::current()?;
    let passages = Passages {
        folder: &folder,
        size: args.passage,
        language: args.language,
        embed_with: args.embed_with,
    };
    let has_passages =
        |file: &PathBuf| passages.read(file).is_ok_and(|read| !read.documents.is_empty());
    let memory = session.memory_for(async || files.iter().any(has_passages)).await?;
    let mut sources = Sources::new(&folder, &args.paths);
    let mut ingestion = Ingestion {
        store: memory.vectors()?.clone(),
        scope: session.scope(KindName::VectorDatabase)?,
        documents: documents(session, &memory)?,
        namespace: args.namespace,
        options: session.flags(),
        strict: args.strict,
        folder: &folder,
        seen: HashMap::new(),
        waiting: Vec::new(),
    };
    let bar = progress(files.len() as u64, "files");
    for (path, error) in unread {
        ingestion.leave_out(&path, None, error, &mut summary)?;
    }
    for file in &files {
        match passages.read(file) {
            Ok(contents) => {
                summary.files += 1;
                sources.has_read(file);
                ingestion.take(file, contents, &mut sources, &mut summary).await?;
            }
            Err(failed) => ingestion.leave_out(file, failed.line, failed.error, &mut summary)?,
        }
        bar.inc(1);
        bar.set_message(format!("{} passages", summary.stored()));
    }
    ingestion.store_waiting(&mut summary).await?;
    // Last, so that a run that stops half-way has lost nothing.
    let Ingestion { store, scope, documents, namespace, .. } = &ingestion;
    summary.removed = sources.remove_gone(store.as_ref(), scope, documents, namespace).await?;
    bar.finish_and_clear();
    summary.print(begun.elapsed().as_secs_f64(), output)?;
    if summary.left_out.is_empty() { Ok(()) } else { Err(Failure::Answered) }
}

/// The place of a document.
#[derive(Clone)]
struct SourceLocation {
    file: PathBuf,
    line: Option<u64>,
}

struct Ingestion<'a> {
    store: Arc<dyn VectorStore>,
    scope: Scope,
    documents: VectorDatabase,
    namespace: String,
    /// The options that lead to the same store, for hints.
    options: &'a str,
    strict: bool,
    folder: &'a Folder,
    /// The documents of this run that no file's name is part of, by id: what each says, and where.
    seen: HashMap<String, (String, SourceLocation)>,
    waiting: Vec<(SourceLocation, Document)>,
}

impl Ingestion<'_> {
    /// Takes what a file holds.
    async fn take(
        &mut self,
        file: &Path,
        contents: Contents,
        sources: &mut Sources<'_>,
        summary: &mut Summary,
    ) -> Result<()> {
        let mut failed = contents.failed.into_iter().peekable();
        for (line, document) in contents.documents {
            // In the order of the file.
            while let Some(failed) = failed.next_if(|failed| failed.line < line) {
                self.leave_out(file, failed.line, failed.error, summary)?;
            }
            sources.holds(&document);
            match self.is_new(file, line, &document) {
                Ok(true) => {
                    self.waiting.push((SourceLocation { file: file.to_owned(), line }, document));
                }
                Ok(false) => summary.repeated += 1,
                Err(error) => self.leave_out(file, line, error, summary)?,
            }
            if self.waiting.len() == BATCH {
                self.store_waiting(summary).await?;
            }
        }
        for failed in failed {
            self.leave_out(file, failed.line, failed.error, summary)?;
        }
        Ok(())
    }

    /// Reports what is left out, or ends the command with it.
    fn leave_out(
        &self,
        file: &Path,
        line: Option<u64>,
        error: Error,
        summary: &mut Summary,
    ) -> Result<()> {
        let error = forms::complete(error, &text::shown(file), self.options);
        if self.strict {
            return Err(input::at(file, line, error));
        }
        leave_out(&mut summary.left_out, file, line, &error);
        Ok(())
    }

    /// Whether no document of this run, in whatever file, is the same record: the first of equal
    /// ones is kept. Another one of the same id is an error.
    fn is_new(&mut self, file: &Path, line: Option<u64>, document: &Document) -> Result<bool> {
        let content = content_hash(&document.content);
        // Passages have ids of their own.
        let Some(line) = line else { return Ok(true) };
        let (id, says) = match &document.id {
            // Of equal contents the first gives the metadata.
            None => (content, String::new()),
            Some(id) => {
                let Document { document_type, metadata, .. } = document;
                let whole = json!([content, document_type, metadata]).to_string();
                (id.clone(), content_hash(&whole))
            }
        };
        let place = SourceLocation { file: file.to_owned(), line: Some(line) };
        match self.seen.get(&id) {
            Some((said, _)) if *said == says => Ok(false),
            Some((_, earlier)) => {
                let file = earlier.file.display();
                let line = earlier.line.unwrap_or_default();
                Err(Error::conflict(format!(
                    "the document has the id {id:?} of another one, at {file}:{line}"
                ))
                .with_hint("give each document an id of its own, or none"))
            }
            None => {
                self.seen.insert(id, (says, place));
                Ok(true)
            }
        }
    }

    /// Stores what waits.
    async fn store_waiting(&mut self, summary: &mut Summary) -> Result<()> {
        let (places, mut documents): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().unzip();
        if documents.is_empty() {
            return Ok(());
        }
        self.share(&mut documents).await?;
        // Halves of halves, first to last, down to the documents that are refused.
        let mut parts = std::iter::once(0..documents.len()).collect::<Vec<_>>();
        while let Some(part) = parts.pop() {
            match self
                .documents
                .store(Some(&self.namespace), documents[part.clone()].to_vec())
                .await
            {
                Ok(stored) => summary.add(stored.iter().map(|stored| stored.outcome)),
                Err(error) if error.kind() == ErrorKind::Conflict || !concerns_the_item(&error) => {
                    return Err(of_space(error, &self.namespace, self.options));
                }
                Err(error) if part.len() == 1 => {
                    let SourceLocation { file, line } = &places[part.start];
                    self.leave_out(file, *line, error, summary)?;
                }
                Err(_) => {
                    let middle = part.start + part.len() / 2;
                    parts.extend([middle..part.end, part.start..middle]);
                }
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
    fn add(&mut self, outcomes: impl Iterator<Item = Outcome>) {
        for outcome in outcomes {
            match outcome {
                Outcome::Inserted => self.inserted += 1,
                Outcome::Updated => self.updated += 1,
                Outcome::Unchanged => self.unchanged += 1,
            }
        }
    }

    fn stored(&self) -> u64 {
        self.inserted + self.updated + self.unchanged
    }

    fn print(&self, seconds: f64, output: Output) -> io::Result<()> {
        let mut value = json!({
            "success": self.left_out.is_empty(),
            "files": self.files,
            "inserted": self.inserted,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "repeated": self.repeated,
            "removed": self.removed,
            "left_out": self.left_out,
            "seconds": rounded(seconds),
        });
        failure_of(&mut value, &self.left_out);
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
            )?;
            write_left_out(out, &self.left_out)
        })
    }
}
