//! What is printed: tables and words for people, JSON for programs.

use std::io::{self, IsTerminal as _, Write};

use agent_memory::{Error, kinds};
use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const CALL: Style = AnsiColor::Cyan.on_default();

/// Where answers go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// JSON where it is asked for or stdout is no terminal.
    pub(crate) fn new(json: bool) -> Self {
        Self { json: json || !io::stdout().is_terminal() }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Prints a command's answer: `value` for programs, else what `people` writes.
    pub(crate) fn answer(
        self,
        value: &Value,
        people: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.json { self.value(value) } else { self.people(people) }
    }

    /// Prints JSON: indented at a terminal, else on a line of its own.
    pub(crate) fn value(self, value: &Value) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let written = if out.is_terminal() {
            serde_json::to_writer_pretty(&mut out, value)
        } else {
            serde_json::to_writer(&mut out, value)
        };
        written?;
        writeln!(out)
    }

    /// Prints words, with colours where the terminal shows them.
    pub(crate) fn people(
        self,
        people: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut out = anstream::AutoStream::auto(io::stdout().lock());
        people(&mut out)?;
        out.flush()
    }

    /// Prints an error: an answer of section M for programs, words on stderr for people.
    pub(crate) fn error(self, error: &Error) -> io::Result<()> {
        if self.json {
            return self.value(&kinds::failure(error));
        }
        let mut out = anstream::AutoStream::auto(io::stderr().lock());
        writeln!(out, "{BAD}error{BAD:#}: {}", error.message())?;
        if let Some(hint) = error.hint() {
            writeln!(out, "{GOOD}hint{GOOD:#}: {hint}")?;
        }
        let place: Vec<_> =
            error.backend().into_iter().chain(error.operation()).chain([error.code()]).collect();
        writeln!(out, "{DIM}{}{DIM:#}", place.join(", "))
    }
}

/// A table with `header`, as wide as the terminal at most.
pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    table
}

/// The beginning of a text, on one line.
pub(crate) fn shortened(text: &str, characters: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut chars = line.chars();
    let mut short: String = chars.by_ref().take(characters).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// Prepares text from a store for the terminal: without control characters, which could command it.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}
