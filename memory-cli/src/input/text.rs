//! Text as it is on disk: byte order marks, UTF-16, and what is no text at all.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read as _};
use std::path::Path;

use memquill::{Error, Result};
use tempfile::NamedTempFile;

/// The largest file that is read as a whole, in bytes.
pub(crate) const LARGEST: u64 = 256 << 20;

const UTF8_MARK: &[u8] = b"\xEF\xBB\xBF";

/// An error, and the line of the file that it is about.
#[derive(Debug)]
pub(crate) struct AtLine {
    pub(crate) line: Option<u64>,
    pub(crate) error: Error,
}

impl From<Error> for AtLine {
    fn from(error: Error) -> Self {
        Self { line: None, error }
    }
}

/// Reads a file, or stdin for `-`, as text: a byte order mark is dropped, UTF-16 is decoded.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    read_lines(path).map_err(|failed| super::at(path, failed.line, failed.error))
}

/// Reads a file as text; an error says the line, and leaves the file's name to the caller.
pub(crate) fn read_lines(path: &Path) -> Result<String, AtLine> {
    let bytes = read_bytes(path)?;
    decode(bytes, path)
}

/// Reads a file, or stdin for `-`.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        io::stdin().lock().take(LARGEST + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| {
            // What says its size is refused before it is read.
            if file.metadata()?.len() > LARGEST {
                return Ok(usize::MAX);
            }
            file.take(LARGEST + 1).read_to_end(&mut bytes)
        })
    };
    match read {
        Ok(length) if length as u64 > LARGEST => Err(too_large(path)),
        Ok(_) => Ok(bytes),
        Err(error) => Err(unreadable(&error)),
    }
}

fn too_large(path: &Path) -> Error {
    Error::invalid_input(format!("the file is larger than {} MiB", LARGEST >> 20))
        .with_hint(format!("split it, as in: split -C 100M {0} {0}.", shown(path)))
}

/// Says why a file or folder cannot be read.
pub(crate) fn unreadable(error: &io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "check the path, and the folder that the command runs in",
        io::ErrorKind::PermissionDenied => "give yourself the right to read it, as in: chmod u+r",
        io::ErrorKind::IsADirectory => "name a file in it",
        _ => "check the path and the disk",
    };
    Error::invalid_input(format!("cannot read it: {error}")).with_hint(hint)
}

/// Input that is read a part at a time, and how many bytes it has.
type Opened = (Box<dyn BufRead + Send>, u64);

/// A file, or for `-` a copy of what stdin gives, to be read more than once.
pub(crate) struct Source<'a> {
    path: &'a Path,
    copy: Option<NamedTempFile>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(path: &'a Path) -> Result<Self> {
        let copy = || {
            let mut copy = NamedTempFile::new()?;
            io::copy(&mut io::stdin().lock(), &mut copy)?;
            Ok(copy)
        };
        let copy = (path.as_os_str() == "-").then(copy).transpose();
        Ok(Self { path, copy: copy.map_err(|error| unreadable(&error))? })
    }

    /// Opens it, to be read from its beginning.
    pub(crate) fn open(&self) -> Result<Opened> {
        match &self.copy {
            None => open(self.path),
            Some(copy) => begin(copy.reopen(), self.path),
        }
    }
}

/// Opens a file, or stdin for `-`, to be read a part at a time.
pub(crate) fn open(path: &Path) -> Result<Opened> {
    if path.as_os_str() == "-" {
        text_of(Box::new(BufReader::new(io::stdin())), 0, path)
    } else {
        begin(File::open(path), path)
    }
}

fn begin(file: io::Result<File>, path: &Path) -> Result<Opened> {
    let opened = file.and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    let (file, metadata) = opened.map_err(|error| unreadable(&error))?;
    if metadata.is_dir() {
        return Err(unreadable(&io::ErrorKind::IsADirectory.into()));
    }
    text_of(Box::new(BufReader::new(file)), metadata.len(), path)
}

/// Drops a byte order mark, decodes UTF-16, and refuses what is no text; `path` is for hints.
fn text_of(mut input: Box<dyn BufRead + Send>, length: u64, path: &Path) -> Result<Opened> {
    let start = input.fill_buf().map_err(|error| unreadable(&error))?;
    if start.starts_with(UTF8_MARK) {
        input.consume(UTF8_MARK.len());
    } else if utf16_mark(start).is_some() {
        let mut bytes = Vec::new();
        let read = input.take(LARGEST + 1).read_to_end(&mut bytes);
        if read.map_err(|error| unreadable(&error))? as u64 > LARGEST {
            return Err(too_large(path));
        }
        let text = decode(bytes, path).map_err(|failed| failed.error)?;
        return Ok((Box::new(Cursor::new(text.into_bytes())), length));
    } else if let Some(error) = no_text(start, path) {
        return Err(error);
    }
    Ok((input, length))
}

#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

/// The order of bytes that a mark of UTF-16 says.
fn utf16_mark(bytes: &[u8]) -> Option<Order> {
    match bytes {
        [0xFF, 0xFE, 0, 0, ..] => None,
        [0xFF, 0xFE, ..] => Some(Order::Little),
        [0xFE, 0xFF, ..] => Some(Order::Big),
        _ => None,
    }
}

/// Decodes a file's bytes; `path` is for hints.
pub(crate) fn decode(bytes: Vec<u8>, path: &Path) -> Result<String, AtLine> {
    if let Some(order) = utf16_mark(&bytes) {
        return utf16(&bytes[2..], order);
    }
    if let Some(error) = no_text(&bytes, path) {
        return Err(error.into());
    }
    let mut bytes = bytes;
    if bytes.starts_with(UTF8_MARK) {
        bytes.drain(..UTF8_MARK.len());
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        not_utf8(error.as_bytes(), at, path)
    })?;
    match text.bytes().position(|byte| byte == 0) {
        None => Ok(text),
        Some(at) => Err(AtLine {
            line: Some(line_of(text.as_bytes(), at)),
            error: Error::invalid_input("this is not text: it contains a NUL byte")
                .with_hint("name a text file, or remove the NUL: tr -d '\\000' < FILE > NEW"),
        }),
    }
}

fn utf16(bytes: &[u8], order: Order) -> Result<String, AtLine> {
    let damaged = |line| AtLine {
        line,
        error: Error::invalid_input("this is damaged UTF-16: half of a character is missing")
            .with_hint("save the file again as UTF-8"),
    };
    let (units, rest) = bytes.as_chunks::<2>();
    let units = units.iter().map(|pair| match order {
        Order::Little => u16::from_le_bytes(*pair),
        Order::Big => u16::from_be_bytes(*pair),
    });
    let mut text = String::with_capacity(bytes.len() / 2);
    for character in char::decode_utf16(units) {
        let Ok(character) = character else {
            return Err(damaged(Some(line_of(text.as_bytes(), text.len()))));
        };
        text.push(character);
    }
    if rest.is_empty() { Ok(text) } else { Err(damaged(None)) }
}

fn line_of(bytes: &[u8], at: usize) -> u64 {
    bytes[..at].split(|byte| *byte == b'\n').count() as u64
}

fn not_utf8(bytes: &[u8], at: usize, path: &Path) -> AtLine {
    let line = Some(line_of(bytes, at));
    if is_binary(bytes) {
        return AtLine { line: None, error: binary() };
    }
    AtLine { line, error: foreign_encoding(bytes.get(at).copied().unwrap_or_default(), path) }
}

/// Says that text is in another encoding than UTF-8.
pub(crate) fn foreign_encoding(byte: u8, path: &Path) -> Error {
    Error::invalid_input(format!("this is not UTF-8: it contains the byte 0x{byte:02X}"))
        .with_hint(format!("convert it, as in: iconv -f CP1252 -t UTF-8 {} > NEW", shown(path)))
}

fn binary() -> Error {
    Error::invalid_input("this is a binary file, not text").with_hint("name a text file")
}

/// Whether bytes hold control characters that no text has.
fn is_binary(bytes: &[u8]) -> bool {
    let control = |byte: &u8| {
        *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0B | 0x0C | 0x1B | 0x1E)
    };
    bytes.iter().take(1 << 16).any(control)
}

/// The path as it is typed in a command.
pub(crate) fn shown(path: &Path) -> String {
    shell(&path.display().to_string())
}

/// A word as it is typed in a shell.
pub(crate) fn shell(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+,:@%=~".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Names the kind of a file that is no text, by its first bytes.
pub(crate) fn no_text(start: &[u8], path: &Path) -> Option<Error> {
    let file = shown(path);
    let named = |what: &str, hint: String| {
        Some(Error::invalid_input(format!("this is {what}, not text")).with_hint(hint))
    };
    let unpack = |tool: &str| format!("unpack it first: {tool} {file} > NEW, and name NEW");
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    match start {
        [0x1F, 0x8B, ..] => named("a gzip archive", unpack("gzip -dc")),
        [0x28, 0xB5, 0x2F, 0xFD, ..] => named("a Zstandard archive", unpack("zstd -dc")),
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] => {
            named("a bzip2 archive", unpack("bzip2 -dc"))
        }
        [0xFD, b'7', b'z', b'X', b'Z', ..] => named("an xz archive", unpack("xz -dc")),
        [b'P', b'K', 3, 4, ..] => match ending.as_str() {
            "docx" => named("a Word document (DOCX)", convert(&file, "md")),
            "odt" => named("an OpenDocument text (ODT)", convert(&file, "md")),
            "epub" => named("an e-book (EPUB)", convert(&file, "md")),
            "xlsx" | "ods" => named("a spreadsheet", "save it as CSV, and name that".into()),
            "pptx" | "odp" => named("a presentation", "save it as text, and name that".into()),
            _ => named("a ZIP archive", format!("unpack it first: unzip {file}, and name a file")),
        },
        [b'%', b'P', b'D', b'F', b'-', ..] => {
            let text = shown(&path.with_extension("txt"));
            named("a PDF", format!("convert it: pdftotext -layout {file} {text}, and name {text}"))
        }
        [b'{', b'\\', b'r', b't', b'f', ..] => named("RTF", convert(&file, "md")),
        [0xD0, 0xCF, 0x11, 0xE0, ..] => {
            named("an old Office document", "save it as text, and name that".into())
        }
        [b'P', b'A', b'R', b'1', ..] => named("a Parquet file", "save it as JSONL".into()),
        _ if start.starts_with(b"SQLite format 3\0") => {
            named("an SQLite database", format!("name it as a store: --store sqlite:{file}"))
        }
        _ if start.starts_with(b"\x89PNG") || start.starts_with(b"GIF8") => Some(image()),
        [0xFF, 0xD8, 0xFF, ..] => Some(image()),
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => named(
            "UTF-32",
            format!("convert it: iconv -f UTF-32 -t UTF-8 {file} > NEW, and name NEW"),
        ),
        _ => markless_utf16(start).and_then(|order| {
            named(
                "UTF-16 without a byte order mark",
                format!("convert it: iconv -f UTF-16{order} -t UTF-8 {file} > NEW, and name NEW"),
            )
        }),
    }
}

fn image() -> Error {
    Error::invalid_input("this is an image, not text").with_hint("name a text file")
}

fn convert(file: &str, ending: &str) -> String {
    let text = format!("{}.{ending}", file.trim_matches('\''));
    let text = shown(Path::new(&text));
    format!("convert it: pandoc -t gfm {file} -o {text}, and name {text}")
}

/// Whether every other byte is mostly NUL, as where UTF-16 holds Latin letters.
fn markless_utf16(start: &[u8]) -> Option<&'static str> {
    let start = &start[..start.len().min(1024)];
    if start.len() < 4 {
        return None;
    }
    let nul = |from: usize| start.iter().skip(from).step_by(2).filter(|b| **b == 0).count();
    let half = start.len() / 2;
    if nul(1) * 10 >= half * 7 && nul(0) == 0 {
        Some("LE")
    } else if nul(0) * 10 >= half * 7 && nul(1) == 0 {
        Some("BE")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> Result<String, AtLine> {
        decode(bytes.to_vec(), Path::new("a file"))
    }

    fn utf16_of(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn marks_are_dropped_and_utf_16_is_decoded() {
        assert_eq!(decoded(b"\xEF\xBB\xBF# T").unwrap(), "# T");
        assert_eq!(decoded(&utf16_of("\u{FEFF}né 🙂", u16::to_le_bytes)).unwrap(), "né 🙂");
        assert_eq!(decoded(&utf16_of("\u{FEFF}né 🙂", u16::to_be_bytes)).unwrap(), "né 🙂");
        assert_eq!(decoded(b"").unwrap(), "");
    }

    #[test]
    fn what_is_no_text_is_refused_by_name() {
        for (bytes, name) in [
            (&b"\x1F\x8B\x08"[..], "gzip"),
            (b"%PDF-1.7", "PDF"),
            (b"PK\x03\x04..", "ZIP"),
            (b"\xFF\xFE\0\0a\0\0\0", "UTF-32"),
            (b"a\0b\0c\0d\0", "UTF-16 without"),
            (b"\0a\0b\0c\0d", "UTF-16 without"),
            (b"text\n\0", "NUL"),
            (b"\x01\x02\xFF\xFE", "binary"),
            (b"caf\xE9", "0xE9"),
            (b"\xFF\xFEa", "UTF-16"),
            (b"SQLite format 3\0", "SQLite"),
        ] {
            let failed = decoded(bytes).unwrap_err();
            assert!(failed.error.message().contains(name), "{:?}", failed.error);
            assert!(failed.error.hint().is_some(), "{:?}", failed.error);
        }
        assert_eq!(decoded(b"one\ntwo\ncaf\xE9").unwrap_err().line, Some(3));
    }

    #[test]
    fn a_path_is_shown_as_it_is_typed() {
        assert_eq!(shown(Path::new("docs/a-b.md")), "docs/a-b.md");
        assert_eq!(shown(Path::new("it's a file")), r"'it'\''s a file'");
    }
}
