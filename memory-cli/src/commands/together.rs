//! Embedding a text together with those beside it.

use memquill::json::Object;
use memquill::kinds::Document;

/// The metadata that says how many texts on either side a record was embedded with.
pub(super) const EMBEDDED_WITH: &str = "embedded_with";

/// The most texts on either side, as `--embed-with` has it. A greater number is not of this program.
const MOST: u64 = 100;

/// Has each document embedded together with those up to `reach` before and behind it.
pub(super) fn embed_together(documents: &mut [Document], reach: usize) {
    if reach == 0 {
        return;
    }
    let texts: Vec<String> = documents.iter().map(|document| document.content.clone()).collect();
    for (at, document) in documents.iter_mut().enumerate() {
        let until = (at + reach + 1).min(texts.len());
        let beside = texts[at.saturating_sub(reach)..until].iter().map(String::as_str);
        document.embedded_text = Some(joined(beside));
        document.metadata.insert(EMBEDDED_WITH.to_owned(), reach.into());
    }
}

/// Texts as they are embedded together.
pub(super) fn joined<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts.into_iter().collect::<Vec<_>>().join("\n")
}

/// How many texts on either side a record was embedded with.
pub(super) fn reach(metadata: &Object) -> usize {
    let reach = metadata.get(EMBEDDED_WITH).and_then(serde_json::Value::as_u64);
    reach.filter(|reach| *reach <= MOST).and_then(|reach| reach.try_into().ok()).unwrap_or(0)
}
