//! Whose passages are whose: a relative name is a file of one folder, and another folder's file of
//! that name is another file.

use std::collections::HashMap;
use std::path::Path;

use memquill::json::Object;
use memquill::kinds::Document;
use memquill::{Record, Result};
use serde_json::Value;

use super::files::ending;
use crate::input::text::{self, unreadable};

/// The metadata that lists the folders whose file has the passage, each with its whole path.
const INGESTED_IN: &str = "ingested_in";

/// The folder that the program runs in, where relative names begin.
pub(super) struct Folder(String);

impl Folder {
    pub(super) fn current() -> Result<Self> {
        let here = Path::new(".");
        let whole = here.canonicalize().map_err(|error| unreadable(&error))?;
        Ok(Self(whole.display().to_string()))
    }

    /// Marks a passage of a file as this folder's, unless the file's name says it all.
    pub(super) fn mark(&self, file: &Path, metadata: &mut Object) {
        if file.is_relative() {
            metadata.insert(INGESTED_IN.to_owned(), Value::from(vec![self.0.as_str()]));
        }
    }

    /// Whether a passage has this folder's mark, and no metadata of its own in its place.
    pub(super) fn is_marked(&self, document: &Document) -> bool {
        document.metadata.get(INGESTED_IN) == Some(&Value::from(vec![self.0.as_str()]))
    }

    /// Leaves passages that are stored already to the other folders, too, whose file is still there.
    pub(super) fn share(&self, documents: &mut [Document], stored: &[Record]) {
        let stored: HashMap<&str, &Record> = stored.iter().map(|r| (r.id.as_str(), r)).collect();
        for document in documents.iter_mut().filter(|document| self.is_marked(document)) {
            let record = document.id.as_deref().and_then(|id| stored.get(id));
            let Some((record, source)) = record.and_then(|r| Some((r, source(&r.metadata)?)))
            else {
                continue;
            };
            // Others that are gone must not pile up.
            let is_there =
                |folder: &str| !matches!(Path::new(folder).join(source).try_exists(), Ok(false));
            let mut all: Vec<&str> =
                folders(record).filter(|folder| *folder == self.0 || is_there(folder)).collect();
            if !all.contains(&self.0.as_str()) {
                all.push(&self.0);
            }
            document.metadata.insert(INGESTED_IN.to_owned(), Value::from(all));
        }
    }

    /// Whether the passage is this folder's, and certainly no other's as well.
    pub(super) fn alone_has(&self, record: &Record, source: &str) -> bool {
        Path::new(source).is_absolute()
            || folders(record).any(|folder| folder == self.0)
                && folders(record)
                    .filter(|folder| *folder != self.0)
                    .all(|other| lost(&Path::new(other).join(source), &record.content))
    }
}

/// The file that a passage is of.
pub(super) fn source(metadata: &Object) -> Option<&str> {
    metadata.get("source").and_then(Value::as_str)
}

fn folders(record: &Record) -> impl Iterator<Item = &str> {
    let listed = record.metadata.get(INGESTED_IN).and_then(Value::as_array);
    listed.into_iter().flatten().filter_map(Value::as_str)
}

/// Whether a file certainly does not have the text any more.
fn lost(file: &Path, text: &str) -> bool {
    if matches!(file.try_exists(), Ok(false)) {
        return true;
    }
    // These have a text in more forms than one.
    if matches!(ending(file).as_str(), "json" | "html" | "htm") {
        return false;
    }
    // A passage may have the header of its table, and fences around its code.
    text::read_text(file).is_ok_and(|whole| {
        !text.lines().map(str::trim).all(|line| line.starts_with("```") || whole.contains(line))
    })
}
