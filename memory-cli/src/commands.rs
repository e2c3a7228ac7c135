//! The commands, a module for each or for a few that are alike.

pub(crate) mod capabilities;
pub(crate) mod chat;
pub(crate) mod eval;
pub(crate) mod import;
pub(crate) mod ingest;
pub(crate) mod quickstart;
pub(crate) mod reembed;
pub(crate) mod run;
pub(crate) mod search;
mod squad;
pub(crate) mod store;
mod together;
pub(crate) mod transfer;

use std::io::Read as _;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use memquill::{Error, Result};

/// Reads a file, or stdin for `-`.
fn read_text(path: &Path) -> Result<String> {
    let read = if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    read.map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::invalid_input(format!("cannot read {}: {error}", path.display()))
        .with_hint("check the path; text must be UTF-8")
}

/// A bar on stderr, where that is a terminal.
fn progress(total: u64, unit: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let template = if unit == "bytes" {
        "{bar:30} {bytes}/{total_bytes} {msg} {eta}"
    } else {
        "{bar:30} {pos}/{len} {msg} {eta}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
