//! What was ingested once and is gone from its file, or with its file.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use memquill::driver::{Limits, Predicate, VectorStore, content_hash};
use memquill::kinds::{Document, VectorDatabase};
use memquill::{Field, Filter, PageRequest, Record, Result, ScanRecords, Scope, Selection};
use serde_json::Value;

use super::files::{is_searched_for, plain};
use super::folder::{Folder, source};
use super::passages::is_passage;

/// How many files one filter names.
const FILES: usize = 500;

/// What this run has read, and so what the store should hold of it.
pub(super) struct Sources<'a> {
    /// Where relative names begin.
    folder: &'a Folder,
    /// Files that were read, by the names that passages bear.
    files: HashSet<String>,
    /// Folders that were searched.
    folders: Vec<PathBuf>,
    /// The passages that are there.
    ids: HashSet<String>,
}

impl<'a> Sources<'a> {
    pub(super) fn new(folder: &'a Folder, paths: &[PathBuf]) -> Self {
        Self {
            folder,
            files: HashSet::new(),
            folders: paths.iter().filter(|path| path.is_dir()).map(|path| plain(path)).collect(),
            ids: HashSet::new(),
        }
    }

    /// A file was read: it has the passages that are held, and no others.
    pub(super) fn has_read(&mut self, file: &Path) {
        self.files.insert(file.display().to_string());
    }

    /// A passage is there.
    pub(super) fn holds(&mut self, document: &Document) {
        let id = document.id.clone();
        self.ids.insert(id.unwrap_or_else(|| content_hash(&document.content)));
    }

    /// Removes the passages that are not, and returns how many.
    pub(super) async fn remove_gone(
        &self,
        store: &dyn VectorStore,
        scope: &Scope,
        documents: &VectorDatabase,
        namespace: &str,
    ) -> Result<u64> {
        let mut gone = Vec::new();
        for filter in self.filters() {
            let mut request = ScanRecords {
                namespace: namespace.to_owned(),
                filter: Some(filter),
                with_embeddings: false,
                page: PageRequest::first(Limits::CONTRACT.batch_items),
            };
            loop {
                let page = store.scan(scope, &request).await?;
                gone.extend(page.items.into_iter().filter(|r| self.lacks(r)).map(|r| r.id));
                let Some(next) = page.next else { break };
                request.page = request.page.after(next);
            }
        }
        let mut removed = 0;
        for ids in gone.chunks(Limits::CONTRACT.batch_items) {
            removed += documents.clear(Some(namespace), Selection::Ids(ids.to_vec())).await?;
        }
        Ok(removed)
    }

    /// What may be gone: passages of the files, or of any where a folder was named.
    fn filters(&self) -> Vec<Filter> {
        let there = |key: &str| Filter::Field(Field::metadata([key]), Predicate::Exists(true));
        if !self.folders.is_empty() {
            return vec![Filter::And(vec![there("source"), there("passage")])];
        }
        let mut files: Vec<Value> = self.files.iter().map(|file| file.as_str().into()).collect();
        files.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        let of = |files: &[Value]| {
            Filter::Field(Field::metadata(["source"]), Predicate::In(files.to_vec()))
        };
        files.chunks(FILES).map(|files| Filter::And(vec![of(files), there("passage")])).collect()
    }

    /// Whether the record is certainly a passage that is not there any more.
    fn lacks(&self, record: &Record) -> bool {
        source(&record.metadata).is_some_and(|source| {
            !self.ids.contains(&record.id)
                && (self.files.contains(source) || self.is_gone(source))
                && is_passage(record, source)
                && self.folder.alone_has(record, source)
        })
    }

    /// Whether a file that was not read would have been if it were there, and is not. What else was
    /// not read, such as a link, may well be there.
    fn is_gone(&self, source: &str) -> bool {
        let file = Path::new(source);
        // A name that is not quite the file's says nothing of the file.
        !source.contains(char::REPLACEMENT_CHARACTER)
            && self.folders.iter().any(|folder| is_searched_for(folder, file))
            && matches!(file.try_exists(), Ok(false))
    }
}
