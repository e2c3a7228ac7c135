//! How documents are shown to a model.

use serde::{Deserialize, Serialize};

use super::{DocumentResults, Neighbours};
use crate::kinds::context::{Context, fit, fold, indent, label, piped};
use crate::tokens::TokenCounter;
use crate::vector::Hit;

/// How found documents are written for a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DocumentFormat {
    /// Numbered by rank, with type and similarity; further lines of a text are indented.
    #[default]
    Detailed,
    /// One line, `text | text`.
    Compact,
    /// A bullet per document.
    List,
}

impl DocumentFormat {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Detailed => "detailed",
            Self::Compact => "compact",
            Self::List => "list",
        }
    }
}

/// The best documents that fit, each with its neighbours, in the order of their source.
pub(super) fn documents(
    found: &DocumentResults,
    format: DocumentFormat,
    max_tokens: u64,
    counter: &dyn TokenCounter,
) -> Context {
    let separator = if format == DocumentFormat::Compact { " | " } else { "\n" };
    let alone = Neighbours::default();
    let beside = found.neighbours.iter().chain(std::iter::repeat(&alone));
    let items: Vec<String> = (1..)
        .zip(found.result.hits.iter().zip(beside))
        .map(|(rank, (hit, beside))| item(rank, hit, beside, format))
        .collect();
    fit(&items, separator, Some(max_tokens), counter).into_context(items.len())
}

fn item(rank: usize, hit: &Hit, beside: &Neighbours, format: DocumentFormat) -> String {
    let record = &hit.record;
    let passage = beside.before.iter().chain([record]).chain(&beside.after);
    let text = passage.map(|record| record.content.as_str()).collect::<Vec<_>>().join("\n");
    match format {
        // Nothing between two separators could not be told from no document at all.
        DocumentFormat::Compact if text.trim().is_empty() => "(blank)".into(),
        DocumentFormat::Compact => piped(&fold(&text)),
        DocumentFormat::List => format!("- {}", indent(&text)),
        DocumentFormat::Detailed => {
            let similarity =
                hit.similarity.map(|s| format!(", similarity {s:.2}")).unwrap_or_default();
            let document_type = label(&record.document_type, &[']', ',']);
            format!("{rank}. [{document_type}{similarity}] {}", indent(&text))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::Object;
    use crate::kinds::SearchMode;
    use crate::kinds::context::tests::{items, lines, read_label, tricky, tricky_name};
    use crate::time::Timestamp;
    use crate::tokens::HeuristicCounter;
    use crate::vector::{Record, SearchResult};

    fn hit(content: &str, similarity: Option<f32>) -> Hit {
        let record = Record {
            id: content.into(),
            content: content.into(),
            content_hash: String::new(),
            document_type: "faq".into(),
            metadata: Object::new(),
            language: None,
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
            expires_at: None,
            embedding: None,
        };
        Hit { record, score: 1.0, similarity }
    }

    fn found(hits: Vec<Hit>, neighbours: Vec<Neighbours>) -> DocumentResults {
        let result = SearchResult { hits, complete: true };
        DocumentResults { result, search: SearchMode::Hybrid, neighbours }
    }

    fn render(format: DocumentFormat, max_tokens: u64) -> Context {
        let hits = vec![hit("One\ntwo.", Some(0.834)), hit("Three.", None)];
        documents(&found(hits, Vec::new()), format, max_tokens, &HeuristicCounter)
    }

    #[test]
    fn m3_each_format_looks_as_it_says() {
        assert_eq!(
            render(DocumentFormat::Detailed, 100).text,
            "1. [faq, similarity 0.83] One\n  two.\n2. [faq] Three."
        );
        assert_eq!(render(DocumentFormat::Compact, 100).text, "One two. | Three.");
        assert_eq!(render(DocumentFormat::List, 100).text, "- One\n  two.\n- Three.");
    }

    #[test]
    fn m3_neighbours_stand_around_their_hit() {
        let record = |content| hit(content, None).record;
        let beside = Neighbours { before: vec![record("Zero.")], after: vec![record("Two.")] };
        let found = found(vec![hit("One.", None), hit("Nine.", None)], vec![beside]);
        let text = documents(&found, DocumentFormat::List, 100, &HeuristicCounter).text;
        assert_eq!(text, "- Zero.\n  One.\n  Two.\n- Nine.");
    }

    proptest! {
        #[test]
        fn m5_what_was_written_reads_back_as_as_many_documents(
            documents in prop::collection::vec(
                (tricky(), tricky_name(), prop::option::of(-1.0_f32..=1.0)),
                1..6,
            ),
            beside in prop::collection::vec(tricky(), 0..3),
        ) {
            let hits: Vec<Hit> = documents
                .iter()
                .map(|(content, document_type, similarity)| {
                    let mut hit = hit(content, *similarity);
                    hit.record.document_type.clone_from(document_type);
                    hit
                })
                .collect();
            let after: Vec<Record> = beside.iter().map(|text| hit(text, None).record).collect();
            let found = found(hits, vec![Neighbours { before: after.clone(), after }]);
            let write = |format| {
                self::documents(&found, format, u64::MAX, &HeuristicCounter).text
            };
            let text = write(DocumentFormat::Detailed);
            let read = items(&text);
            prop_assert_eq!(read.len(), documents.len(), "{}", text);
            for ((rank, item), (_, document_type, _)) in (1..).zip(read).zip(&documents) {
                let item = item.strip_prefix(&format!("{rank}. [")).unwrap();
                let (name, rest) = read_label(item, &[']', ',']);
                prop_assert_eq!(&name, document_type);
                prop_assert!(rest.starts_with("] ") || rest.starts_with(", similarity "));
            }
            let text = write(DocumentFormat::List);
            let read = items(&text);
            prop_assert_eq!(read.len(), documents.len(), "{}", text);
            prop_assert!(read.iter().all(|item| item.starts_with("- ")), "{}", text);
            let text = write(DocumentFormat::Compact);
            prop_assert_eq!(lines(&text).len(), 1, "{}", text);
            prop_assert_eq!(text.split(" | ").count(), documents.len(), "{}", text);
        }
    }

    #[test]
    fn m3_what_does_not_fit_is_counted() {
        let context = render(DocumentFormat::List, 7);
        assert_eq!((context.text.as_str(), context.omitted), ("- One\n  two.", 1));
        let context = render(DocumentFormat::List, 1);
        assert_eq!((context.text.as_str(), context.items, context.omitted), ("", 0, 2));
    }
}
