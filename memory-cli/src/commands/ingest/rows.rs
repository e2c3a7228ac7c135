//! Tables into passages: each has the header.

use memquill::{Error, Result};

use super::plain;

/// Packs rows into passages of at most `size` characters, each under the header, and gives each with
/// the offset of its first row. A row that is too long is cut.
pub(super) fn pack<'a>(
    header: &str,
    rows: impl IntoIterator<Item = (usize, &'a str)>,
    size: usize,
) -> Vec<(usize, String)> {
    let header = header.trim_end();
    let length = header.chars().count() + 1;
    // A header that leaves no room for rows is a passage of its own.
    let (header, room) = if length * 2 <= size { (header, size - length) } else { ("", size) };
    let mut passages = Vec::new();
    let mut open: Option<(usize, String, usize)> = None;
    let begun =
        |row: &str| if header.is_empty() { row.to_owned() } else { format!("{header}\n{row}") };
    for (at, row) in rows {
        let end = row.trim_end();
        // The ends of lines before it are not the row's.
        let row = end.trim_start_matches(['\r', '\n']);
        let at = at + end.len() - row.len();
        if row.trim_start().is_empty() {
            continue;
        }
        let characters = row.chars().count();
        match &mut open {
            Some((_, text, held)) if *held + 1 + characters <= room => {
                text.push('\n');
                text.push_str(row);
                *held += 1 + characters;
                continue;
            }
            _ => passages.extend(open.take().map(|(at, text, _)| (at, text))),
        }
        if characters <= room {
            open = Some((at, begun(row), characters));
        } else {
            let parts = plain::split(row, room);
            passages.extend(parts.into_iter().map(|(begin, part)| (at + begin, begun(part))));
        }
    }
    passages.extend(open.map(|(at, text, _)| (at, text)));
    passages
}

/// Cuts CSV or TSV into passages of whole records, each under the header.
pub(super) fn split_csv(text: &str, tabs: bool, size: usize) -> Result<Vec<(usize, String)>> {
    let delimiter = if tabs { b'\t' } else { delimiter(text) };
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .from_reader(text.as_bytes());
    let mut record = csv::ByteRecord::new();
    let mut begins = Vec::new();
    while reader.read_byte_record(&mut record).map_err(|error| unreadable(&error))? {
        let at = record.position().map_or(0, csv::Position::byte);
        begins.push(usize::try_from(at).unwrap_or(text.len()).min(text.len()));
    }
    let ends = begins.iter().skip(1).copied().chain([text.len()]);
    let mut records = begins.iter().zip(ends).map(|(begin, end)| (*begin, &text[*begin..end]));
    let Some((at, header)) = records.next() else { return Ok(Vec::new()) };
    let passages = pack(header.trim_start(), records, size);
    if !passages.is_empty() {
        return Ok(passages);
    }
    // There is nothing but the header.
    let header = plain::split(header, size).into_iter();
    Ok(header.map(|(begin, part)| (at + begin, part.to_owned())).collect())
}

fn unreadable(error: &csv::Error) -> Error {
    Error::invalid_input(format!("this is not valid CSV: {error}"))
        .with_hint("name it with another ending, as in .txt, to take it as text")
}

/// The character that parts the fields: the one of the usual ones that the first line has most of.
fn delimiter(text: &str) -> u8 {
    let line = text.lines().next().unwrap_or_default();
    let count = |of: u8| line.bytes().filter(|byte| *byte == of).count();
    // The first of the most frequent.
    [b'|', b'\t', b';', b','].into_iter().max_by_key(|of| count(*of)).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(text: &str, size: usize) -> Vec<String> {
        split_csv(text, false, size).unwrap().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn each_passage_of_a_table_has_the_header() {
        let text = "id,name\n1,one\n2,two\n3,three\n";
        assert_eq!(csv(text, 20), ["id,name\n1,one\n2,two", "id,name\n3,three"]);
        assert_eq!(csv(text, 100), [text.trim_end()]);
        assert_eq!(csv("id,name\n", 100), ["id,name"]);
        assert_eq!(csv("", 100), [""; 0]);
    }

    #[test]
    fn a_record_of_several_lines_stays_whole() {
        let text = "id;text\r\n1;\"a\nb\"\r\n2;c\r\n";
        assert_eq!(csv(text, 18), ["id;text\n1;\"a\nb\"", "id;text\n2;c"]);
    }

    #[test]
    fn a_giant_row_is_cut_under_the_header() {
        let text = format!("id,text\n1,{}\n", "x".repeat(1000));
        let passages = csv(&text, 100);
        assert!((11..=12).contains(&passages.len()), "{passages:?}");
        assert!(passages.iter().all(|p| p.starts_with("id,text\n") && p.chars().count() <= 100));
    }
}
