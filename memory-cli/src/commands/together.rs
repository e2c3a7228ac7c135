//! The text that is embedded for a passage: with its headings, and with the passages beside it.

use memquill::json::Object;
use memquill::kinds::Document;
use serde_json::Value;

/// The metadata that says how many texts on either side a record was embedded with.
pub(super) const EMBEDDED_WITH: &str = "embedded_with";
/// The metadata that lists the headings above a passage.
pub(super) const HEADINGS: &str = "headings";
/// The metadata that says the title of the document.
pub(super) const TITLE: &str = "title";

/// The most texts on either side, as `--embed-with` has it. A greater number is not of this program.
const MOST: u64 = 100;

/// Has each document embedded with its title and headings, and together with those up to `reach`
/// before and behind it.
pub(super) fn embed_together(documents: &mut [Document], reach: usize) {
    let texts: Vec<String> = documents.iter().map(|document| document.content.clone()).collect();
    for (at, document) in documents.iter_mut().enumerate() {
        let until = (at + reach + 1).min(texts.len());
        let beside = texts[at.saturating_sub(reach)..until].iter().map(String::as_str);
        document.embedded_text = embedded_text(&document.content, &document.metadata, beside);
        if reach > 0 {
            document.metadata.insert(EMBEDDED_WITH.to_owned(), reach.into());
        }
    }
}

/// The text that is embedded in place of a record's content, where it is another one. `together`
/// gives the contents that it is embedded with, its own included.
pub(super) fn embedded_text<'a>(
    content: &str,
    metadata: &Object,
    together: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let mut texts: Vec<&str> = above(content, metadata);
    for text in together {
        texts.push(text);
    }
    let text = texts.join("\n");
    (text != content).then_some(text)
}

/// The title and the headings above a passage that it does not have itself. Only passages of files
/// have them.
fn above<'a>(content: &str, metadata: &'a Object) -> Vec<&'a str> {
    if !["source", "passage", "offset"].iter().all(|key| metadata.contains_key(*key)) {
        return Vec::new();
    }
    let title = metadata.get(TITLE).into_iter();
    let headings = metadata.get(HEADINGS).and_then(Value::as_array).into_iter().flatten();
    let mut above: Vec<&str> = title.chain(headings).filter_map(Value::as_str).collect();
    above.dedup();
    above.retain(|text| !content.contains(*text));
    above
}

/// How many texts on either side a record was embedded with.
pub(super) fn reach(metadata: &Object) -> usize {
    let reach = metadata.get(EMBEDDED_WITH).and_then(serde_json::Value::as_u64);
    reach.filter(|reach| *reach <= MOST).and_then(|reach| reach.try_into().ok()).unwrap_or(0)
}
