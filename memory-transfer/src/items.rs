//! JSON objects out of a file, however they stand in it: one a line, pretty-printed, in an array,
//! or one after the other. A damaged one costs itself alone.

use std::collections::VecDeque;
use std::io::{self, BufRead};

use memquill_core::{Error, Result, json};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The most bytes of one item; a larger one is left out.
const LARGEST: usize = if cfg!(test) { 4 << 20 } else { 64 << 20 };
/// The most bytes that are looked at at once.
const PART: usize = 1 << 20;
const UTF8_MARK: &[u8] = b"\xEF\xBB\xBF";

/// An item, and where it stands.
#[derive(Debug)]
pub struct Item {
    /// The line that it begins on, from 1.
    pub line: u64,
    /// Which list of the input it stands in, from 1, and its index there; none outside of lists.
    pub in_list: Option<(u64, u64)>,
    /// Its text, or why it cannot be read.
    pub text: Result<String>,
}

/// A file taken apart into items. It needs memory for one item, of at most 64 MiB, whatever the
/// length of file or line.
#[derive(Debug)]
pub struct Items<R> {
    input: R,
    /// Lines that have ended.
    lines: u64,
    /// Whether the next part of the input begins a line.
    at_line_start: bool,
    read: u64,
    part: Option<Part>,
    /// Parts that are looked at again, since an item that seemed to hold them is damaged.
    again: VecDeque<Part>,
    in_array: bool,
    /// Lists that have begun, and the items of the last one.
    lists: u64,
    index: u64,
    open: Option<Open>,
    /// The indentation of a damaged item that spanned lines: the next item is the next object that
    /// begins a line and is indented no deeper.
    lost: Option<usize>,
}

/// A line, or a part of a long one.
#[derive(Debug)]
struct Part {
    line: u64,
    begins_line: bool,
    bytes: Vec<u8>,
    /// The bytes before this index were looked at.
    at: usize,
}

impl Part {
    fn indentation(&self) -> usize {
        self.bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
    }

    fn ends_line(&self) -> bool {
        self.bytes.last() == Some(&b'\n')
    }
}

/// An item whose end is not seen yet.
#[derive(Debug, Default)]
struct Open {
    line: u64,
    indentation: usize,
    bytes: Vec<u8>,
    /// The parts behind the first that it holds, to be looked at again.
    later: Vec<Part>,
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The last byte that is no white space.
    last: u8,
    too_large: bool,
}

impl Open {
    /// Takes bytes up to the item's end, and says how many it took and whether it has ended.
    fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        for (at, &byte) in bytes.iter().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
            } else {
                match byte {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
                if self.depth == 0 {
                    self.keep(&bytes[..=at]);
                    return (at + 1, true);
                }
            }
            if !byte.is_ascii_whitespace() {
                self.last = byte;
            }
        }
        self.keep(bytes);
        (bytes.len(), false)
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() > LARGEST {
            self.too_large = true;
            self.bytes = Vec::new();
            self.later = Vec::new();
        }
        if !self.too_large {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn ended(self) -> Item {
        let text = if self.too_large {
            Err(Error::invalid_input(format!("the item is larger than {} MiB", LARGEST >> 20))
                .with_hint("split it into several"))
        } else {
            String::from_utf8(self.bytes).map_err(|error| {
                let at = error.utf8_error().valid_up_to();
                let byte = error.as_bytes().get(at).copied().unwrap_or_default();
                Error::invalid_input(format!("this is not UTF-8: it holds the byte 0x{byte:02X}"))
                    .with_hint("convert the file, as in: iconv -f CP1252 -t UTF-8 FILE > NEW")
            })
        };
        Item { line: self.line, in_list: None, text }
    }

    /// Whether a new item begins with this part: the one that is open was cut off before it.
    fn is_overtaken_by(&self, part: &Part) -> bool {
        part.begins_line
            && part.bytes[part.indentation()..].starts_with(b"{")
            && part.indentation() <= self.indentation
            && !matches!(self.last, b'[' | b',' | b':')
    }
}

impl<R: BufRead> Items<R> {
    /// Reads items from `input`.
    pub fn new(input: R) -> Self {
        Self {
            input,
            lines: 0,
            at_line_start: true,
            read: 0,
            part: None,
            again: VecDeque::new(),
            in_array: false,
            lists: 0,
            index: 0,
            open: None,
            lost: None,
        }
    }

    /// Returns the bytes that were read so far.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Reads the next item; none at the end. An error says that the input cannot be read.
    #[expect(clippy::should_implement_trait, reason = "an iterator of results would end at none")]
    pub fn next(&mut self) -> Result<Option<Item>> {
        let mut item = self.next_item()?;
        if let Some(item) = &mut item
            && self.in_array
        {
            item.in_list = Some((self.lists, self.index));
            self.index += 1;
        }
        Ok(item)
    }

    fn next_item(&mut self) -> Result<Option<Item>> {
        loop {
            let part = match self.part.take() {
                Some(part) => part,
                None => match self.next_part()? {
                    Some(part) => part,
                    // The input has ended; what is open has not.
                    None => match self.open.take() {
                        Some(open) => return Ok(Some(self.cut_off(open, None))),
                        None => return Ok(None),
                    },
                },
            };
            if let Some(item) = self.look_at(part) {
                return Ok(Some(item));
            }
        }
    }

    /// Looks at a part from where it was left, up to the end of an item or its own.
    fn look_at(&mut self, mut part: Part) -> Option<Item> {
        if let Some(open) = self.open.take() {
            return self.go_on(open, part);
        }
        if !self.begins_item(&mut part) {
            return None;
        }
        let open = Open { line: part.line, indentation: part.indentation(), ..Open::default() };
        match part.bytes[part.at] {
            b'{' | b'[' => self.go_on(open, part),
            // Neither an object nor a list: what is left of the line is one wrong item.
            _ => {
                let text = String::from_utf8_lossy(&part.bytes[part.at..]).trim_end().to_owned();
                Some(Item { line: part.line, in_list: None, text: Ok(text) })
            }
        }
    }

    /// Moves to where an item begins, if one does in this part.
    fn begins_item(&mut self, part: &mut Part) -> bool {
        if let Some(indentation) = self.lost {
            let found = part.at == 0
                && part.begins_line
                && part.indentation() <= indentation
                && part.bytes[part.indentation()..].starts_with(b"{");
            if !found {
                return false;
            }
            self.lost = None;
        }
        loop {
            let rest = &part.bytes[part.at..];
            match rest.first() {
                None => return false,
                Some(b' ' | b'\t' | b'\r' | b'\n' | b',' | 0x1E) => part.at += 1,
                Some(_) if rest.starts_with(UTF8_MARK) => part.at += UTF8_MARK.len(),
                Some(b'[') if !self.in_array => {
                    self.in_array = true;
                    self.lists += 1;
                    self.index = 0;
                    part.at += 1;
                }
                Some(b']') if self.in_array => {
                    self.in_array = false;
                    part.at += 1;
                }
                Some(_) => return true,
            }
        }
    }

    /// Goes on with an item.
    fn go_on(&mut self, mut open: Open, mut part: Part) -> Option<Item> {
        if part.at == 0 && open.depth > 0 && open.is_overtaken_by(&part) {
            return Some(self.cut_off(open, Some(part)));
        }
        let (taken, ended) = open.take(&part.bytes[part.at..]);
        if ended {
            part.at += taken;
            self.part = Some(part);
            return Some(open.ended());
        }
        // No string of JSON goes on in another line.
        let cut = open.in_string && part.ends_line();
        if part.line != open.line && !open.too_large {
            open.later.push(Part { at: 0, ..part });
        }
        if cut {
            return Some(self.cut_off(open, None));
        }
        self.open = Some(open);
        None
    }

    /// Gives a damaged item up, and has what seemed to be in it looked at again, with the part that
    /// showed the damage last.
    fn cut_off(&mut self, mut open: Open, part: Option<Part>) -> Item {
        // A single line costs nothing beside itself.
        self.lost = (!open.later.is_empty()).then_some(open.indentation);
        for part in open.later.drain(..).chain(part).rev() {
            self.again.push_front(part);
        }
        if open.too_large {
            return open.ended();
        }
        let error = Error::invalid_input("the item that begins here is cut off: it has no end")
            .with_hint("write it again, or take it out of the file");
        Item { line: open.line, in_list: None, text: Err(error) }
    }

    fn next_part(&mut self) -> Result<Option<Part>> {
        if let Some(part) = self.again.pop_front() {
            return Ok(Some(part));
        }
        let mut bytes = Vec::new();
        while bytes.len() < PART && bytes.last() != Some(&b'\n') {
            let held = self.input.fill_buf().map_err(unreadable)?;
            if held.is_empty() {
                break;
            }
            let line = held.iter().position(|byte| *byte == b'\n').map_or(held.len(), |at| at + 1);
            let taken = line.min(PART - bytes.len());
            bytes.extend_from_slice(&held[..taken]);
            self.input.consume(taken);
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        self.read += bytes.len() as u64;
        let part = Part { line: self.lines + 1, begins_line: self.at_line_start, bytes, at: 0 };
        self.at_line_start = part.ends_line();
        self.lines += u64::from(self.at_line_start);
        Ok(Some(part))
    }
}

fn unreadable(error: io::Error) -> Error {
    Error::invalid_input(format!("cannot read it: {error}"))
        .with_hint("check the path and the disk")
}

/// Reads the JSON of an item that begins on `line`; an error in it says the line of the file and
/// the column.
pub fn parse<T: DeserializeOwned>(text: &str, line: u64) -> Result<T> {
    json::parse(text).map_err(|error| {
        let Err(syntax) = serde_json::from_str::<Value>(text) else { return error };
        let said = syntax.to_string();
        let cause = said.rsplit_once(" at line ").map_or(said.as_str(), |(cause, _)| cause);
        let column = syntax.column();
        let place = if text.contains('\n') {
            format!("line {}, column {column}", line + (syntax.line() as u64).saturating_sub(1))
        } else {
            format!("column {column}")
        };
        Error::invalid_input(format!("not valid JSON: {cause} at {place}"))
            .with_hint("write it again, or take it out of the file")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each item with its line; `!` for a damaged one.
    fn items(text: &str) -> Vec<(u64, String)> {
        let mut items = Items::new(text.as_bytes());
        let mut all = Vec::new();
        while let Some(item) = items.next().unwrap() {
            all.push((item.line, item.text.unwrap_or_else(|_| "!".into())));
        }
        all
    }

    fn is(text: &str, expected: &[(u64, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(l, t)| (*l, (*t).to_owned())).collect();
        assert_eq!(items(text), expected, "{text}");
    }

    #[test]
    fn objects_are_found_however_they_stand() {
        is("{\"a\":1}\n\n{\"b\":2}\r\n", &[(1, "{\"a\":1}"), (3, "{\"b\":2}")]);
        is("{}{} {},\n{},", &[(1, "{}"), (1, "{}"), (1, "{}"), (2, "{}")]);
        is("[\n  {\"a\": [1]},\n  {}\n]\n", &[(2, "{\"a\": [1]}"), (3, "{}")]);
        is("[{},{}]\n[{}]", &[(1, "{}"), (1, "{}"), (2, "{}")]);
        is(
            "{\n\"a\": [\n{\"b\":1},\n{\"c\":2}\n]\n}\n{}",
            &[(1, "{\n\"a\": [\n{\"b\":1},\n{\"c\":2}\n]\n}"), (7, "{}")],
        );
        is("{\"a\":\"}\\\"{\"}\n{}", &[(1, "{\"a\":\"}\\\"{\"}"), (2, "{}")]);
        is("\u{FEFF}{}\n\u{FEFF}{}\n\u{1E}{}\n", &[(1, "{}"), (2, "{}"), (3, "{}")]);
        is("text\n{}\n", &[(1, "text"), (2, "{}")]);
        is("", &[]);
    }

    #[test]
    fn a_damaged_item_costs_itself_alone() {
        is("{}\n{\"a\":\"b\n{}\n", &[(1, "{}"), (2, "!"), (3, "{}")]);
        is("{\"a\":[\n{}\n{}\n", &[(1, "!"), (2, "{}"), (3, "{}")]);
        is("{\"a\":\n{\"b\":1}\n", &[(1, "!"), (2, "{\"b\":1}")]);
        is("{\"a\":1\n{}\n{}", &[(1, "!"), (2, "{}"), (3, "{}")]);
        is("{\"a\":1,\n{}\n{}", &[(1, "!"), (2, "{}"), (3, "{}")]);
        is("{\n  \"a\": 1,\n  \"b\": \"x\n}\n{\n}\n", &[(1, "!"), (5, "{\n}")]);
        is("{\n  \"a\": [\n    {\n", &[(1, "!")]);
        is(
            "[\n  {\n    \"a\": \"x\n  },\n  {\n    \"b\": 2\n  }\n]",
            &[(2, "!"), (5, "{\n    \"b\": 2\n  }")],
        );
        is("{}\n{\"a", &[(1, "{}"), (2, "!")]);
    }

    #[test]
    fn long_lines_are_read_in_parts() {
        let long = format!("{{\"a\":\"{}\"}}", "é".repeat(PART));
        let text = format!("[{long},{long}]\n{{}}\n");
        is(&text, &[(1, &long), (1, &long), (2, "{}")]);
    }

    #[test]
    fn an_item_that_is_too_large_is_left_out() {
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(LARGEST));
        is(&format!("{large}\n{{}}\n"), &[(1, "!"), (2, "{}")]);
    }

    #[test]
    fn an_error_says_where_in_the_file_it_is() {
        let error = parse::<Value>("{\"a\": }", 7).unwrap_err();
        assert!(error.message().ends_with("at column 7"), "{error}");
        let error = parse::<Value>("{\n\"a\": 1,\n}", 7).unwrap_err();
        assert!(error.message().contains("trailing comma at line 9"), "{error}");
    }
}
