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

use indicatif::{ProgressBar, ProgressStyle};

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
