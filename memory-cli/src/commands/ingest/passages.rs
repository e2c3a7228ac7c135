//! Files as passages.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use memquill::json::{self, Object};
use memquill::kinds::{Document, strict};
use memquill::text::Language;
use memquill::{Error, Record, Result, content_hash};
use serde::Deserialize;
use serde_json::Value;
use text_splitter::{MarkdownSplitter, TextSplitter};

use super::folder::Folder;
use crate::commands::squad::Squad;
use crate::commands::together::embed_together;
use crate::commands::{read_text, unreadable};

/// The endings of the files that a folder is searched for.
const ENDINGS: [&str; 5] = ["txt", "md", "markdown", "jsonl", "ndjson"];
/// How many equal passages of a file are told from one another once it is gone.
const EQUAL: u64 = 1_000;

/// The files that were named, and those in the folders that were named, in a fixed order. Hidden
/// files and links in folders are left out.
pub(super) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            walk(&plain(path), &mut files)?;
        } else {
            files.push(plain(path));
        }
    }
    if files.is_empty() {
        return Err(Error::invalid_input("there is no file to ingest")
            .with_hint(format!("in a folder, files end in .{}", ENDINGS.join(", ."))));
    }
    Ok(files)
}

/// The path without `.` steps, so that a file has one name however it was reached.
pub(super) fn plain(path: &Path) -> PathBuf {
    let plain: PathBuf =
        path.components().filter(|part| !matches!(part, Component::CurDir)).collect();
    if plain.as_os_str().is_empty() { PathBuf::from(".") } else { plain }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let mut entries = entries.map_err(|error| unreadable(folder, &error))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (plain(&entry.path()), entry.file_name());
        let kind = entry.file_type().map_err(|error| unreadable(&path, &error))?;
        if is_hidden(&name) {
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

/// Whether a search of `folder` finds a file of this name, where there is one and it is no link.
pub(super) fn is_searched_for(folder: &Path, file: &Path) -> bool {
    let within = if folder.as_os_str() == "." { Ok(file) } else { file.strip_prefix(folder) };
    within.is_ok_and(|within| {
        let mut parts = within.components();
        parts.all(|part| matches!(part, Component::Normal(name) if !is_hidden(name)))
            && ENDINGS.contains(&ending(file).as_str())
    })
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

pub(super) fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

/// How files become passages.
pub(super) struct Passages<'a> {
    /// Where relative names of files begin.
    pub(super) folder: &'a Folder,
    /// The most characters of a passage.
    pub(super) size: usize,
    pub(super) language: Option<Language>,
    /// With how many passages on either side one is embedded.
    pub(super) embed_with: usize,
}

/// A line of a JSONL file.
#[derive(Deserialize)]
struct Line {
    content: String,
    id: Option<String>,
    document_type: Option<String>,
    metadata: Option<Object>,
}

impl Passages<'_> {
    /// The passages of a file, in its order.
    pub(super) fn read(&self, file: &Path) -> Result<Vec<Document>> {
        let text = read_text(file)?;
        let place = |error: Error| error.at(file.display());
        let mut documents = match ending(file).as_str() {
            "jsonl" | "ndjson" => return self.lines(file, &text),
            "json" => self.paragraphs(file, &Squad::parse(&text).map_err(place)?),
            "md" | "markdown" => {
                let splitter = MarkdownSplitter::new(self.size);
                self.split(file, "markdown", splitter.chunk_indices(&text))
            }
            _ => {
                let splitter = TextSplitter::new(self.size);
                self.split(file, "text", splitter.chunk_indices(&text))
            }
        };
        embed_together(&mut documents, self.embed_with);
        Ok(documents)
    }

    fn split<'a>(
        &self,
        file: &Path,
        document_type: &str,
        chunks: impl Iterator<Item = (usize, &'a str)>,
    ) -> Vec<Document> {
        let mut source = Source::new(file, self.folder);
        let passage = |(offset, text): (usize, &'a str)| {
            let mut document = source.passage(text);
            document.metadata.insert("offset".to_owned(), offset.into());
            document_type.clone_into(&mut document.document_type);
            document.language = self.language;
            document
        };
        chunks.map(passage).collect()
    }

    fn paragraphs(&self, file: &Path, squad: &Squad) -> Vec<Document> {
        let mut source = Source::new(file, self.folder);
        let mut documents = Vec::new();
        for article in &squad.data {
            for paragraph in &article.paragraphs {
                let mut document = source.passage(&paragraph.context);
                if !article.title.is_empty() {
                    document.metadata.insert("title".to_owned(), article.title.clone().into());
                }
                document.language = self.language;
                documents.push(document);
            }
        }
        documents
    }

    fn lines(&self, file: &Path, text: &str) -> Result<Vec<Document>> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        lines
            .map(|(number, line)| {
                let place = || format!("{}:{}", file.display(), number + 1);
                self.document(line).map_err(|error| error.at(place()))
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

/// A file that is being taken apart.
struct Source<'a> {
    file: &'a Path,
    folder: &'a Folder,
    name: String,
    passages: usize,
    /// How often each text stood in it.
    seen: HashMap<String, u64>,
}

impl<'a> Source<'a> {
    fn new(file: &'a Path, folder: &'a Folder) -> Self {
        Self { file, folder, name: file.display().to_string(), passages: 0, seen: HashMap::new() }
    }

    /// The next passage.
    fn passage(&mut self, text: &str) -> Document {
        let earlier = self.seen.entry(text.to_owned()).or_insert(0);
        let id = passage_id(&self.name, text, *earlier);
        *earlier += 1;
        let mut metadata = Object::from_iter([
            ("source".to_owned(), Value::from(self.name.clone())),
            ("passage".to_owned(), self.passages.into()),
        ]);
        self.folder.mark(self.file, &mut metadata);
        self.passages += 1;
        Document { id: Some(id), metadata, ..Document::new(text) }
    }
}

/// The id of a passage. It is of the file, the text, and which of the equal texts it is, so that it
/// stays the same record while the text around it changes.
fn passage_id(source: &str, text: &str, earlier: u64) -> String {
    content_hash(&format!("{source}\0{text}\0{earlier}"))
}

/// Whether a record is a passage of the file: its id is, whoever else writes the same metadata.
pub(super) fn is_passage(record: &Record, source: &str) -> bool {
    let number = record.metadata.get("passage").and_then(Value::as_u64);
    // Before it stood no more equal passages than passages.
    number.is_some_and(|number| {
        let mut earlier = 0..=number.min(EQUAL);
        earlier.any(|earlier| passage_id(source, &record.content, earlier) == record.id)
    })
}
