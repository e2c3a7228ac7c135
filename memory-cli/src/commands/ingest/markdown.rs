//! Markdown into passages, by its headings and blocks.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag};

use super::{plain, rows};

/// A part of a document, and the headings above it.
#[derive(Debug, PartialEq)]
pub(super) struct Part {
    /// The offset in bytes.
    pub(super) offset: usize,
    pub(super) text: String,
    /// The headings above its first text that is no heading, outermost first.
    pub(super) headings: Vec<String>,
}

#[derive(Debug, PartialEq)]
enum Kind {
    Heading(HeadingLevel, String),
    Fence,
    Table,
    /// With its items.
    List(Vec<Range<usize>>),
    Quote,
    Other,
}

/// A block at the top of the document.
#[derive(Debug)]
struct Block {
    range: Range<usize>,
    kind: Kind,
}

/// Cuts a document into parts of at most `size` characters.
///
/// A part begins at a heading where it can, and holds what follows up to a heading of a higher
/// level. No part is a heading alone: the text under it may be too long to stand with it, and then
/// has it in `headings`. Headings at the end of the document join the part before them. Code that is
/// cut is fenced in each part, a table has its header, a quote its marks, and a list the line that
/// introduces it.
pub(super) fn split(text: &str, size: usize) -> Vec<Part> {
    let mut splitting = Splitting { text, size, path: Vec::new(), open: None, parts: Vec::new() };
    let mut headings: Vec<Block> = Vec::new();
    let mut body = Vec::new();
    for block in blocks(text) {
        let is_heading = matches!(block.kind, Kind::Heading(..));
        if is_heading && !body.is_empty() {
            splitting.section(&headings, &body);
            headings.clear();
            body.clear();
        }
        if is_heading { headings.push(block) } else { body.push(block) }
    }
    if !(body.is_empty() && splitting.joined(&headings)) {
        splitting.section(&headings, &body);
    }
    splitting.close();
    splitting.parts
}

/// The blocks at the top of a document.
fn blocks(text: &str) -> Vec<Block> {
    let options = Options::ENABLE_TABLES | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut blocks: Vec<Block> = Vec::new();
    let mut depth = 0_usize;
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                match (depth, &tag) {
                    (0, _) => {
                        let kind = match tag {
                            Tag::Heading { level, .. } => Kind::Heading(level, String::new()),
                            Tag::CodeBlock(CodeBlockKind::Fenced(_)) => Kind::Fence,
                            Tag::Table(_) => Kind::Table,
                            Tag::List(_) => Kind::List(Vec::new()),
                            Tag::BlockQuote(_) => Kind::Quote,
                            _ => Kind::Other,
                        };
                        blocks.push(Block { range, kind });
                    }
                    (1, Tag::Item) => {
                        if let Some(Kind::List(items)) = blocks.last_mut().map(|b| &mut b.kind) {
                            items.push(range);
                        }
                    }
                    _ => {}
                }
                depth += 1;
            }
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Text(words) | Event::Code(words) => {
                if let Some(Kind::Heading(_, title)) = blocks.last_mut().map(|b| &mut b.kind) {
                    title.push_str(&words);
                }
            }
            // A rule says nothing.
            _ => {}
        }
    }
    blocks
}

/// A part that may grow.
struct Open {
    range: Range<usize>,
    characters: usize,
    headings: Vec<String>,
    /// The level of the heading that it begins with.
    level: Option<HeadingLevel>,
}

struct Splitting<'a> {
    text: &'a str,
    size: usize,
    /// The headings above what comes next.
    path: Vec<(HeadingLevel, String)>,
    open: Option<Open>,
    parts: Vec<Part>,
}

impl Splitting<'_> {
    fn count(&self, range: Range<usize>) -> usize {
        self.text[range].chars().count()
    }

    /// Adds headings without a text under them to the part before them, if there is room.
    fn joined(&mut self, headings: &[Block]) -> bool {
        self.close();
        let (Some(first), Some(last)) = (headings.first(), headings.last()) else { return false };
        let text = self.text[first.range.start..last.range.end].trim_end();
        let Some(part) = self.parts.last_mut() else { return false };
        let fits = part.text.chars().count() + 2 + text.chars().count() <= self.size;
        if fits {
            part.text = format!("{}\n\n{text}", part.text);
        }
        fits
    }

    /// Takes headings and the text under them, up to the next heading.
    fn section(&mut self, headings: &[Block], body: &[Block]) {
        let highest = headings.iter().filter_map(|block| match &block.kind {
            Kind::Heading(level, _) => Some(*level),
            _ => None,
        });
        let level = highest.min();
        for block in headings {
            if let Kind::Heading(level, title) = &block.kind {
                self.path.retain(|(above, _)| above < level);
                self.path.push((*level, title.trim().to_owned()));
            }
        }
        let all = headings.iter().chain(body);
        let (Some(first), Some(last)) = (all.clone().next(), all.last()) else { return };
        let whole = first.range.start..last.range.end;
        let characters = self.count(whole.clone());
        if characters <= self.size {
            // Sections of a higher level begin a part.
            let under = self.open.as_ref().is_some_and(|open| {
                open.level.is_none_or(|above| level.is_some_and(|level| level >= above))
            });
            if !(under && self.grow(whole.clone(), characters)) {
                self.close();
                self.begin(whole, characters, level);
            }
            return;
        }
        self.close();
        if let (Some(first), Some(last)) = (headings.first(), headings.last()) {
            let range = first.range.start..last.range.end;
            let characters = self.count(range.clone());
            // Headings that leave no room for text are in the metadata alone.
            if characters * 2 <= self.size {
                self.begin(range, characters, level);
            } else if body.is_empty() {
                // An outline: there is nothing but headings.
                let range = Block { range, kind: Kind::Other };
                self.block(&range, false, None, level);
            }
        }
        let mut alone = self.open.is_some();
        let mut before = None;
        for block in body {
            let lead = before.and_then(|before| self.introduces(before, block));
            self.block(block, alone, lead, level);
            alone = false;
            before = Some(block);
        }
        // What is under another heading begins a part of its own.
        self.close();
    }

    /// Returns the block before a list if it is a line that introduces the list.
    fn introduces<'b>(&self, before: &'b Block, block: &Block) -> Option<&'b Block> {
        let text = self.text[before.range.clone()].trim_end();
        let introduces = matches!((&before.kind, &block.kind), (Kind::Other, Kind::List(_)))
            && text.ends_with(':')
            && text.chars().count() * 4 <= self.size;
        introduces.then_some(before)
    }

    /// Takes a block of a section that is too long for one part. `alone` says that the open part is
    /// a heading alone; `lead` is the line that introduces the block.
    fn block(
        &mut self,
        block: &Block,
        alone: bool,
        lead: Option<&Block>,
        level: Option<HeadingLevel>,
    ) {
        let characters = self.count(block.range.clone());
        if self.grow(block.range.clone(), characters) {
            return;
        }
        if characters <= self.size {
            if alone {
                // The heading stays with the text, in its metadata.
                self.open = None;
            }
            self.close();
            self.begin(block.range.clone(), characters, level);
            return;
        }
        let heading = if alone { self.open.take() } else { None };
        if let Some(lead) = lead
            && self.open.as_ref().is_some_and(|open| open.range == lead.range)
        {
            // Each piece has it.
            self.open = None;
        }
        self.close();
        let title = heading.map(|open| (open.range.start, self.text[open.range].trim_end()));
        let room = title.map_or(self.size, |(_, title)| {
            self.size.saturating_sub(title.chars().count() + 2).max(self.size / 2 - 2)
        });
        let lead = lead.map_or("", |lead| self.text[lead.range.clone()].trim());
        let mut pieces = self.pieces(block, lead, room);
        if let (Some((offset, title)), Some(first)) = (title, pieces.first_mut()) {
            *first = (offset, format!("{title}\n\n{}", first.1));
        }
        let headings: Vec<String> = self.path.iter().map(|(_, title)| title.clone()).collect();
        self.parts.extend(pieces.into_iter().map(|(offset, text)| Part {
            offset,
            text,
            headings: headings.clone(),
        }));
    }

    /// Cuts a block that is too long.
    fn pieces(&self, block: &Block, lead: &str, room: usize) -> Vec<(usize, String)> {
        let text = &self.text[block.range.clone()];
        let start = block.range.start;
        let cut = match &block.kind {
            Kind::Fence => fence(text, room),
            Kind::Table => table(text, room),
            Kind::List(items) => {
                let items = items.iter().map(|item| (item.start - start, &self.text[item.clone()]));
                list(items, lead, room)
            }
            Kind::Quote => quote(text, room),
            Kind::Heading(..) | Kind::Other => {
                plain::split(text, room).into_iter().map(|(at, t)| (at, t.to_owned())).collect()
            }
        };
        cut.into_iter().map(|(at, text)| (start + at, text)).collect()
    }

    /// Puts what follows into the open part, if there is one and there is room.
    fn grow(&mut self, range: Range<usize>, characters: usize) -> bool {
        let Some(open) = &self.open else { return false };
        let between = self.text[open.range.end..range.start.max(open.range.end)].chars().count();
        let characters = open.characters + between + characters;
        if characters > self.size {
            return false;
        }
        if let Some(open) = &mut self.open {
            open.range.end = range.end;
            open.characters = characters;
        }
        true
    }

    fn begin(&mut self, range: Range<usize>, characters: usize, level: Option<HeadingLevel>) {
        let headings = self.path.iter().map(|(_, title)| title.clone()).collect();
        self.open = Some(Open { range, characters, headings, level });
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let text = self.text[open.range.clone()].trim_end();
        let trimmed = text.trim_start_matches(['\n', '\r']);
        if !trimmed.trim().is_empty() {
            let offset = open.range.start + (text.len() - trimmed.len());
            self.parts.push(Part { offset, text: trimmed.to_owned(), headings: open.headings });
        }
    }
}

/// Cuts fenced code, at empty lines where it can, and fences each piece.
fn fence(text: &str, size: usize) -> Vec<(usize, String)> {
    let as_text = || -> Vec<(usize, String)> {
        plain::split(text, size).into_iter().map(|(at, text)| (at, text.to_owned())).collect()
    };
    let Some((opening, code)) = text.split_once('\n') else { return as_text() };
    let opening = opening.trim_end();
    let marks = opening.trim_start();
    let Some(mark) = marks.chars().next() else { return as_text() };
    let closing: String = marks.chars().take_while(|c| *c == mark).collect();
    let around = opening.chars().count() + closing.chars().count() + 2;
    if around * 2 > size {
        return as_text();
    }
    let start = text.len() - code.len();
    let code = code.trim_end();
    // A fence that nobody closed ends with the document.
    let code = code
        .rsplit_once('\n')
        .filter(|(_, last)| is_closing(last, &closing))
        .map_or_else(|| if is_closing(code, &closing) { "" } else { code }, |(code, _)| code);
    let pieces = blocks_of_lines(code, size - around).into_iter();
    pieces.map(|(at, piece)| (start + at, format!("{opening}\n{piece}\n{closing}"))).collect()
}

fn is_closing(line: &str, closing: &str) -> bool {
    let line = line.trim();
    line.starts_with(closing) && line.chars().all(|c| closing.starts_with(c))
}

/// Packs lines into pieces that end at an empty line where that leaves no piece less than half full.
fn blocks_of_lines(code: &str, size: usize) -> Vec<(usize, String)> {
    let mut pieces = Vec::new();
    let (mut begin, mut at, mut characters) = (0, 0, 0);
    // The last empty line of the piece, by where it begins, and the characters before it.
    let mut empty: Option<(usize, usize)> = None;
    let mut cut = |begin: usize, end: usize| {
        let piece = code[begin..end].trim_end();
        let text = piece.trim_start_matches(['\n', '\r']);
        if !text.trim().is_empty() {
            pieces.push((begin + piece.len() - text.len(), text.to_owned()));
        }
    };
    for line in code.split_inclusive('\n') {
        let length = line.chars().count();
        if characters + line.trim_end().chars().count() > size && at > begin {
            match empty {
                Some((end, before)) if before * 2 >= size => {
                    cut(begin, end);
                    begin = end;
                    characters -= before;
                }
                _ => {
                    cut(begin, at);
                    begin = at;
                    characters = 0;
                }
            }
            empty = None;
            // What was kept behind the empty line may leave no room either.
            if characters + line.trim_end().chars().count() > size && at > begin {
                cut(begin, at);
                begin = at;
                characters = 0;
            }
        }
        if length > size && line.trim_end().chars().count() > size {
            for (from, part) in plain::split(line, size) {
                cut(at + from, at + from + part.len());
            }
            at += line.len();
            begin = at;
            characters = 0;
            empty = None;
            continue;
        }
        if line.trim().is_empty() {
            empty = Some((at, characters));
        }
        characters += length;
        at += line.len();
    }
    cut(begin, code.len());
    pieces
}

/// Cuts a table between its rows; each piece has the header.
fn table(text: &str, size: usize) -> Vec<(usize, String)> {
    let mut lines = lines(0, text);
    let header: Vec<&str> = lines.by_ref().take(2).map(|(_, line)| line.trim_end()).collect();
    rows::pack(&header.join("\n"), lines, size)
}

/// Cuts a list between its items, under the line that introduces it. Each piece of an item that is
/// too long itself has the item's first line.
fn list<'a>(
    items: impl Iterator<Item = (usize, &'a str)>,
    lead: &str,
    size: usize,
) -> Vec<(usize, String)> {
    let mut pieces = Vec::new();
    let mut waiting = Vec::new();
    for (at, item) in items {
        let (first, rest) = item.split_once('\n').unwrap_or((item, ""));
        let is_long = item.trim_end().chars().count() > size;
        if !is_long || rest.trim().is_empty() || first.chars().count() * 4 > size {
            waiting.push((at, item));
            continue;
        }
        pieces.extend(rows::pack(lead, waiting.drain(..), size));
        let header = format!("{lead}\n{first}");
        pieces.extend(rows::pack(header.trim_start(), lines(at + first.len() + 1, rest), size));
    }
    pieces.extend(rows::pack(lead, waiting, size));
    pieces
}

/// Cuts a quote, and marks each piece as one.
fn quote(text: &str, size: usize) -> Vec<(usize, String)> {
    const MARK: &str = "> ";
    let pieces = plain::split(text, size.saturating_sub(MARK.len()).max(1)).into_iter();
    let marked = |text: &str| text.trim_start().starts_with('>');
    pieces
        .map(|(at, text)| (at, if marked(text) { text.into() } else { format!("{MARK}{text}") }))
        .collect()
}

/// The lines of a text that begins at an offset, each with its own.
fn lines(begin: usize, text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = begin;
    text.split_inclusive('\n').map(move |line| {
        let begin = at;
        at += line.len();
        (begin, line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str, size: usize) -> Vec<String> {
        let parts = split(text, size);
        for part in &parts {
            assert!(part.text.chars().count() <= size, "{part:?}");
            assert!(!part.text.trim().is_empty());
        }
        parts.into_iter().map(|part| part.text).collect()
    }

    #[test]
    fn parts_begin_at_headings_and_know_those_above() {
        let text = "# A\n\nof a.\n\n## B\n\nof b, first.\n\nof b, second.\n\n# C\n\nof c.\n";
        let parts = split(text, 30);
        let headings: Vec<_> = parts.iter().map(|part| part.headings.join("/")).collect();
        assert_eq!(headings, ["A", "A/B", "A/B", "C"], "{parts:?}");
        assert_eq!(parts[1].text, "## B\n\nof b, first.");
        assert_eq!(parts[2].text, "of b, second.");
        let text = "## B\n\nof b.\n\n# C\n\nof c.\n";
        assert_eq!(split(text, 1000).len(), 2, "C is of a higher level than B");
    }

    #[test]
    fn no_part_is_a_heading_or_a_fence_alone() {
        let long = "word ".repeat(40);
        for text in [
            format!("# A\n\n{long}"),
            format!("# A\n\n## B\n\n{long}\n\n## C\n\n{long}"),
            format!("# A\n\n```rust\n{}```\n", "let x = 1;\n".repeat(20)),
            format!("intro\n\n# A heading that is rather long for this size\n\n{long}"),
            format!("# A\n\n```\n{}\n\n{}", "x".repeat(300), "y\n".repeat(60)),
        ] {
            for text in texts(&text, 60) {
                let says = |line: &str| {
                    !line.trim().is_empty() && !line.starts_with('#') && !line.starts_with("```")
                };
                assert!(text.lines().any(says), "{text:?}");
            }
        }
    }

    #[test]
    fn headings_at_the_end_join_the_part_before_them() {
        let text = "# A\n\nof a.\n\n# B\n\n## C\n";
        assert_eq!(texts(text, 1000), ["# A\n\nof a.\n\n# B\n\n## C"]);
        let text = format!("# A\n\n{}\n\n# B\n", "word ".repeat(40));
        assert!(texts(&text, 60).iter().all(|text| text != "# B"));
    }

    #[test]
    fn a_list_that_is_cut_has_the_line_that_introduces_it() {
        let items = "- an item of some words\n".repeat(20);
        let texts = texts(&format!("# A\n\nYou need:\n\n{items}\nThat is all.\n"), 100);
        let of_list = || texts.iter().filter(|text| text.contains("- an item"));
        assert!(of_list().count() > 3);
        assert!(of_list().all(|text| text.contains("You need:\n- an item")), "{texts:?}");
    }

    #[test]
    fn an_item_that_is_cut_has_its_first_line_in_each_part() {
        let item = format!("1. Windows\n{}", "   - a step of the installation\n".repeat(12));
        let texts = texts(&format!("{item}2. Linux\n"), 120);
        let steps = || texts.iter().filter(|text| text.contains("a step"));
        assert!(steps().count() > 2);
        assert!(steps().all(|text| text.starts_with("1. Windows\n")), "{texts:?}");
    }

    #[test]
    fn a_quote_that_is_cut_is_marked_in_each_part() {
        let texts = texts(&format!("> {}\n\nAfter.\n", "quoted words ".repeat(40)), 100);
        let quoted = || texts.iter().filter(|text| text.contains("quoted"));
        assert!(quoted().count() > 3);
        assert!(quoted().all(|text| text.starts_with("> ")), "{texts:?}");
    }

    #[test]
    fn code_that_is_cut_is_fenced_in_each_part() {
        let functions: Vec<_> =
            (0..20).map(|n| format!("def f{n}():\n    # no heading\n    return {n}\n")).collect();
        let text = format!("# Code\n\n```python\n{}```\n\nAfter.\n", functions.join("\n"));
        let texts = texts(&text, 150);
        let code: Vec<_> = texts.iter().filter(|text| text.contains("def f")).collect();
        assert!(code.len() > 3);
        for text in code {
            assert!(
                text.contains("```python\ndef f") && text.matches("```").count() == 2,
                "{text}"
            );
            assert!(text.ends_with("\n```") || text.ends_with("After."), "{text}");
        }
        assert!(texts[0].starts_with("# Code\n\n```python\n"), "{}", texts[0]);
    }

    #[test]
    fn code_that_fits_stays_whole() {
        let text =
            "Some words before it.\n\n```sh\nls\n\ncd /\n```\n\nAnd some more words after it.\n";
        let texts = texts(text, 50);
        assert!(texts.iter().any(|text| text.contains("```sh\nls\n\ncd /\n```")), "{texts:?}");
    }

    #[test]
    fn rows_keep_their_header() {
        let rows: Vec<_> = (0..40).map(|n| format!("| R{n} | value {n} |\n")).collect();
        let rows = rows.concat();
        let text = format!("# Prices\n\nIntro.\n\n| id | value |\n|---|---|\n{rows}");
        for text in texts(&text, 120).iter().filter(|text| text.contains("| R")) {
            assert!(text.contains("| id | value |\n|---|---|\n| R"), "{text}");
        }
    }

    #[test]
    fn giants_are_cut_and_nothing_is_lost() {
        for text in [
            "- a\n".repeat(900),
            format!("| a | b |\n|---|---|\n| {} | x |\n", "y".repeat(1500)),
            "人工智能".repeat(500),
            "x".repeat(2000),
            format!("- {}\n", "z ".repeat(900)),
            format!("> {}\n", "quoted ".repeat(300)),
            "## A heading of an outline\n\n".repeat(20),
        ] {
            let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).count();
            let kept: usize = texts(&text, 100).iter().map(|text| letters(text)).sum();
            assert!(kept >= letters(&text), "{kept} of {}", letters(&text));
        }
    }
}
