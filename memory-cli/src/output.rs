//! What is printed: tables and words for people, JSON for programs.

use std::io::{self, IsTerminal as _, Write};

use anstyle::{AnsiColor, Style};
pub(crate) use comfy_table::Color;
use comfy_table::{Cell, ContentArrangement, LineStyle, Row, Table, TableStyle};
use memquill::transfer::LeftOut;
use memquill::{Error, kinds};
use serde_json::{Value, json};

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const CALL: Style = AnsiColor::Cyan.on_default();

/// Tables have a line under the header, and no others.
const TABLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

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

    /// Prints a command's answer: `answer` for programs, else what `words` writes.
    pub(crate) fn answer(
        self,
        answer: &Value,
        words: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.json { value(answer) } else { people(words) }
    }

    /// Prints an error: an answer of section M for programs, words on stderr for people.
    pub(crate) fn error(self, error: &Error) -> io::Result<()> {
        if self.json {
            return value(&kinds::failure(error));
        }
        let mut out = anstream::AutoStream::auto(io::stderr().lock());
        writeln!(out, "{BAD}error{BAD:#}: {}", error.message())?;
        for (key, value) in error.context() {
            writeln!(out, "  {key}: {}", printable(value))?;
        }
        if let Some(hint) = error.hint() {
            writeln!(out, "{GOOD}hint{GOOD:#}: {hint}")?;
        }
        let place: Vec<_> =
            error.backend().into_iter().chain(error.operation()).chain([error.code()]).collect();
        writeln!(out, "{DIM}{}{DIM:#}", place.join(", "))
    }
}

/// Prints JSON: indented at a terminal, else on a line of its own.
pub(crate) fn value(value: &Value) -> io::Result<()> {
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
pub(crate) fn people(words: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = anstream::AutoStream::auto(io::stdout().lock());
    words(&mut out)?;
    out.flush()
}

/// A table with `header`, as wide as the terminal at most, unless that is too narrow for any.
pub(crate) fn table<H: Into<Row>>(header: H) -> Table {
    let mut table = Table::new();
    table.load_style(TABLE).set_header(header);
    if table.width().is_some_and(|width| width >= 40) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table
}

/// How many omissions are listed for people.
const LISTED: u64 = 20;

/// Lists what was left out: place, reason and hint, up to a number of them.
pub(crate) fn write_left_out(out: &mut dyn Write, left_out: &LeftOut) -> io::Result<()> {
    if left_out.is_empty() {
        return Ok(());
    }
    writeln!(out, "{BAD}{} left out:{BAD:#}", left_out.count)?;
    let (mut listed, mut last_hint) = (0, None);
    for omission in left_out.items.iter().take(usize::try_from(LISTED).unwrap_or(usize::MAX)) {
        writeln!(out, "  {}", printable(&omission.to_string()))?;
        // Many items that lack the same need one hint.
        if let Some(hint) = omission.hint.as_ref().filter(|hint| last_hint != Some(*hint)) {
            writeln!(out, "    {GOOD}hint{GOOD:#}: {}", printable(hint))?;
            last_hint = Some(hint);
        }
        listed += 1;
    }
    if left_out.count > listed {
        writeln!(out, "  and {} more", left_out.count - listed)?;
    }
    Ok(())
}

/// Gives the answer of a command that left something out the `error` of a failed one (M1).
pub(crate) fn failure_of(answer: &mut Value, left_out: &LeftOut) {
    let Some(first) = left_out.items.first() else { return };
    let message = match left_out.count {
        1 => format!("1 item was left out: {first}"),
        count => format!("{count} items were left out, the first: {first}"),
    };
    answer["error"] = json!({
        "code": first.code,
        "message": message,
        "hint": first.hint,
        "backend": null,
        "operation": null,
        "retryable": false,
    });
}

/// Seconds as they are written in answers.
pub(crate) fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// A cell in a colour.
pub(crate) fn coloured(text: impl Into<String>, colour: Color) -> Cell {
    Cell::new(text.into()).fg(colour)
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
