//! What was ingested once and is gone from its file, or with its file.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use agent_memory::kinds::{Document, VectorDatabase};
use agent_memory::{
    Field, Filter, Limits, PageRequest, Record, Result, ScanRecords, Scope, Selection, Test,
    VectorStore, content_hash,
};
use serde_json::Value;

use super::passages::plain;

/// How many files one filter names.
const FILES: usize = 500;

/// What this run has read, and so what the store should hold of it.
pub(super) struct Sources {
    /// Files that were read, by the names that passages bear.
    files: HashSet<String>,
    /// Folders that were searched: a file of theirs that was not read is gone.
    folders: Vec<PathBuf>,
    /// The passages that are there.
    ids: HashSet<String>,
}

impl Sources {
    pub(super) fn new(paths: &[PathBuf], files: &[PathBuf]) -> Self {
        Self {
            files: files.iter().map(|file| file.display().to_string()).collect(),
            folders: paths.iter().filter(|path| path.is_dir()).map(|path| plain(path)).collect(),
            ids: HashSet::new(),
        }
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
        let source = || Field::metadata(["source"]);
        let there = |key: &str| Filter::Field(Field::metadata([key]), Test::Exists(true));
        let passages = || Filter::Or(vec![there("passage"), there("offset")]);
        if !self.folders.is_empty() {
            return vec![Filter::And(vec![there("source"), passages()])];
        }
        let mut files: Vec<Value> = self.files.iter().map(|file| file.as_str().into()).collect();
        files.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        let of = |files: &[Value]| Filter::Field(source(), Test::In(files.to_vec()));
        files.chunks(FILES).map(|files| Filter::And(vec![of(files), passages()])).collect()
    }

    /// Whether the passage was of something that was read, and is not there any more.
    fn lacks(&self, record: &Record) -> bool {
        let Some(source) = record.metadata.get("source").and_then(Value::as_str) else {
            return false;
        };
        let within = |folder: &PathBuf| {
            folder.as_os_str() == "." && Path::new(source).is_relative()
                || Path::new(source).starts_with(folder)
        };
        let read = self.files.contains(source) || self.folders.iter().any(within);
        read && !self.ids.contains(&record.id)
    }
}
