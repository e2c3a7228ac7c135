//! Files as passages.

use std::collections::HashMap;
use std::path::Path;

use memquill::driver::content_hash;
use memquill::json::Object;
use memquill::kinds::{Document, strict};
use memquill::text::Language;
use memquill::transfer::items::{self, Item, Items};
use memquill::{Error, Record, Result};
use serde::Deserialize;
use serde_json::Value;

use super::files::ending;
use super::folder::Folder;
use super::markdown::{self, Part};
use super::{html, plain, rows};
use crate::commands::import::forms;
use crate::commands::squad::Squad;
use crate::commands::together::{HEADINGS, TITLE, embed_together};
use crate::input::text::{self, AtLine};

/// How many equal passages of a file are told from one another once it is gone.
const EQUAL: u64 = 1_000;

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

/// What a file holds.
#[derive(Default)]
pub(super) struct Contents {
    /// Documents, each with its line where a line is one.
    pub(super) documents: Vec<(Option<u64>, Document)>,
    /// Lines that hold none.
    pub(super) failed: Vec<AtLine>,
}

impl From<Vec<Document>> for Contents {
    fn from(documents: Vec<Document>) -> Self {
        let documents = documents.into_iter().map(|document| (None, document)).collect();
        Self { documents, failed: Vec::new() }
    }
}

/// A document as an object of JSON.
#[derive(Deserialize)]
struct Line {
    content: String,
    id: Option<String>,
    document_type: Option<String>,
    metadata: Option<Object>,
}

impl Passages<'_> {
    /// Takes a file apart, in its order.
    pub(super) fn read(&self, file: &Path) -> Result<Contents, AtLine> {
        let ending = ending(file);
        match ending.as_str() {
            "jsonl" | "ndjson" => return self.objects(file),
            "json" => {
                let text = text::read_lines(file)?;
                // Only a whole file is in that form; what is not is told as documents.
                return match Squad::of(&text) {
                    Some(squad) => Ok(self.embedded(self.paragraphs(file, &squad)).into()),
                    None => self.objects(file),
                };
            }
            _ => {}
        }
        let text = text::read_lines(file)?.replace("\r\n", "\n");
        let no_headings = |(offset, text)| Part { offset, text, headings: Vec::new() };
        let (document_type, title, parts) = match ending.as_str() {
            "md" | "markdown" => ("markdown", None, markdown::split(&text, self.size)),
            "html" | "htm" => {
                let page = html::read(&text)?;
                ("html", page.title, markdown::split(&page.markdown, self.size))
            }
            "csv" | "tsv" => {
                let passages = rows::split_csv(&text, ending == "tsv", self.size)?;
                ("csv", None, passages.into_iter().map(no_headings).collect())
            }
            _ => {
                let passages = plain::split(&text, self.size).into_iter();
                let owned = passages.map(|(at, text)| no_headings((at, text.to_owned())));
                ("text", None, owned.collect())
            }
        };
        Ok(self.embedded(self.parts(file, document_type, title.as_deref(), parts)).into())
    }

    fn embedded(&self, mut documents: Vec<Document>) -> Vec<Document> {
        embed_together(&mut documents, self.embed_with);
        documents
    }

    fn parts(
        &self,
        file: &Path,
        document_type: &str,
        title: Option<&str>,
        parts: Vec<Part>,
    ) -> Vec<Document> {
        let mut source = Source::new(file, self.folder);
        let passage = |part: Part| {
            let mut document = source.passage(&part.text);
            document.metadata.insert("offset".to_owned(), part.offset.into());
            if let Some(title) = title {
                document.metadata.insert(TITLE.to_owned(), title.into());
            }
            if !part.headings.is_empty() {
                document.metadata.insert(HEADINGS.to_owned(), part.headings.into());
            }
            document_type.clone_into(&mut document.document_type);
            document.language = self.language;
            document
        };
        parts.into_iter().map(passage).collect()
    }

    fn paragraphs(&self, file: &Path, squad: &Squad) -> Vec<Document> {
        let mut source = Source::new(file, self.folder);
        let mut documents = Vec::new();
        for article in &squad.data {
            for paragraph in &article.paragraphs {
                let mut document = source.passage(&paragraph.context);
                if !article.title.is_empty() {
                    document.metadata.insert(TITLE.to_owned(), article.title.clone().into());
                }
                document.language = self.language;
                documents.push(document);
            }
        }
        documents
    }

    /// Objects of JSON, each a document.
    fn objects(&self, file: &Path) -> Result<Contents, AtLine> {
        let (reader, _) = text::open(file)?;
        let mut items = Items::new(reader);
        let mut contents = Contents::default();
        while let Some(Item { line, text, .. }) = items.next()? {
            match text.and_then(|text| self.document(&text, line)) {
                Ok(document) => contents.documents.push((Some(line), document)),
                // The first item of a file in another form speaks for all.
                Err(error) if forms::is_named(&error) && contents.documents.is_empty() => {
                    return Err(AtLine { line: Some(line), error });
                }
                Err(error) => contents.failed.push(AtLine { line: Some(line), error }),
            }
        }
        Ok(contents)
    }

    fn document(&self, text: &str, line: u64) -> Result<Document> {
        let value: Value = items::parse(text, line)?;
        if let Some(error) = forms::instead_of_document(&value) {
            return Err(error);
        }
        let Value::Object(object) = value else {
            return Err(Error::invalid_input("a document is a JSON object")
                .with_hint(r#"write {"content": "…", "metadata": {…}}"#));
        };
        let line: Line = strict::from_object("a document", &object)?;
        if line.content.trim().is_empty() {
            return Err(Error::invalid_input("the content is empty")
                .with_hint("give the document a content, or take it out of the file"));
        }
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
