//! The files to ingest, by name.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use memquill::Error;

use crate::input::text::unreadable;

/// The endings of the files that a folder is searched for.
const ENDINGS: [&str; 9] =
    ["txt", "md", "markdown", "jsonl", "ndjson", "html", "htm", "csv", "tsv"];
/// The endings of documents that are found in a folder, too, and refused by name: whoever has them
/// there expects them to be read.
const REFUSED: [&str; 12] =
    ["pdf", "docx", "doc", "odt", "rtf", "epub", "pptx", "ppt", "odp", "xlsx", "xls", "ods"];

/// The files that were named, and those in the folders that were named, in a fixed order. Hidden
/// files and links in folders are left out. A folder that cannot be read is passed to `failed`.
pub(super) fn files(paths: &[PathBuf], failed: &mut impl FnMut(&Path, Error)) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            walk(&plain(path), &mut files, failed);
        } else {
            files.push(plain(path));
        }
    }
    files
}

/// The error where there is no file.
pub(super) fn none() -> Error {
    Error::invalid_input("there is no file to ingest").with_hint(format!(
        "name a file, or a folder of files that end in .{}",
        ENDINGS.join(", .")
    ))
}

/// The path without `.` steps, so that a file has one name however it was reached.
pub(super) fn plain(path: &Path) -> PathBuf {
    let plain: PathBuf =
        path.components().filter(|part| !matches!(part, Component::CurDir)).collect();
    if plain.as_os_str().is_empty() { PathBuf::from(".") } else { plain }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>, failed: &mut impl FnMut(&Path, Error)) {
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => return failed(folder, unreadable(&error)),
    };
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (plain(&entry.path()), entry.file_name());
        if is_hidden(&name) {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&path, files, failed),
            Ok(kind) if kind.is_file() && is_wanted(&path) => files.push(path),
            Ok(_) => {}
            Err(error) => failed(&path, unreadable(&error)),
        }
    }
}

/// Whether a search of `folder` finds a file of this name, where there is one and it is no link.
pub(super) fn is_searched_for(folder: &Path, file: &Path) -> bool {
    let within = if folder.as_os_str() == "." { Ok(file) } else { file.strip_prefix(folder) };
    within.is_ok_and(|within| {
        let mut parts = within.components();
        parts.all(|part| matches!(part, Component::Normal(name) if !is_hidden(name)))
            && is_wanted(file)
    })
}

fn is_wanted(file: &Path) -> bool {
    let ending = ending(file);
    ENDINGS.contains(&ending.as_str()) || REFUSED.contains(&ending.as_str())
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

pub(super) fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}
