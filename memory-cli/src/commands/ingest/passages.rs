//! Files as passages.

use std::path::{Path, PathBuf};

use agent_memory::json::{self, Object};
use agent_memory::kinds::{Document, strict};
use agent_memory::text::Language;
use agent_memory::{Error, Result};
use serde::Deserialize;
use serde_json::Value;
use text_splitter::{MarkdownSplitter, TextSplitter};

use crate::commands::{at, read_text, unreadable};

/// The endings of the files that a folder is searched for.
const ENDINGS: [&str; 5] = ["txt", "md", "markdown", "jsonl", "ndjson"];

/// The files that were named, and those in the folders that were named, in a fixed order. Hidden
/// files and links in folders are left out.
pub(super) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            walk(path, &mut files)?;
        } else {
            files.push(path.clone());
        }
    }
    if files.is_empty() {
        return Err(Error::invalid_input("there is no file to ingest")
            .with_hint(format!("in a folder, files end in .{}", ENDINGS.join(", ."))));
    }
    Ok(files)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let mut entries = entries.map_err(|error| unreadable(folder, &error))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        let kind = entry.file_type().map_err(|error| unreadable(&path, &error))?;
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if kind.is_dir() {
            walk(&path, files)?;
        } else if kind.is_file() && ENDINGS.contains(&ending(&path).as_str()) {
            files.push(path);
        }
    }
    Ok(())
}

fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

/// How files become passages.
pub(super) struct Passages {
    /// The most characters of a passage.
    pub(super) size: usize,
    pub(super) language: Option<Language>,
}

/// A line of a JSONL file.
#[derive(Deserialize)]
struct Line {
    content: String,
    id: Option<String>,
    document_type: Option<String>,
    metadata: Option<Object>,
}

impl Passages {
    /// The passages of a file, in its order.
    pub(super) fn read(&self, file: &Path) -> Result<Vec<Document>> {
        let text = read_text(file)?;
        match ending(file).as_str() {
            "jsonl" | "ndjson" => self.lines(file, &text),
            "md" | "markdown" => {
                let passages = MarkdownSplitter::new(self.size);
                let passages = passages.chunk_indices(&text);
                Ok(passages
                    .map(|(at, passage)| self.passage(file, "markdown", at, passage))
                    .collect())
            }
            _ => {
                let passages = TextSplitter::new(self.size);
                let passages = passages.chunk_indices(&text);
                Ok(passages.map(|(at, passage)| self.passage(file, "text", at, passage)).collect())
            }
        }
    }

    fn passage(&self, file: &Path, document_type: &str, offset: usize, text: &str) -> Document {
        let source = Value::from(file.display().to_string());
        Document {
            document_type: document_type.to_owned(),
            metadata: Object::from_iter([
                ("source".to_owned(), source),
                ("offset".to_owned(), offset.into()),
            ]),
            language: self.language,
            ..Document::new(text)
        }
    }

    fn lines(&self, file: &Path, text: &str) -> Result<Vec<Document>> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        lines
            .map(|(number, line)| {
                let place = || format!("{}:{}", file.display(), number + 1);
                self.document(line).map_err(|error| at(&place(), &error))
            })
            .collect()
    }

    fn document(&self, line: &str) -> Result<Document> {
        let Value::Object(object) = json::parse(line)? else {
            return Err(Error::invalid_input("a line is a JSON object")
                .with_hint(r#"write {"content": "…", "metadata": {…}}"#));
        };
        let line: Line = strict::from_object("a document", &object)?;
        let mut document = Document::new(line.content);
        document.id = line.id;
        document.metadata = line.metadata.unwrap_or_default();
        document.language = self.language;
        if let Some(document_type) = line.document_type {
            document.document_type = document_type;
        }
        Ok(document)
    }
}
