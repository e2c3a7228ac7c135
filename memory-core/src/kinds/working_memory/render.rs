//! How entries are shown to a model.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kinds::context::{Context, fit, fold, indent, json_line, label, piped};
use crate::tokens::TokenCounter;
use crate::working::{Entry, WorkingValue};

/// How entries are written for a model. A text stands as it is, any other value as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryFormat {
    /// A line per entry, `key: value`; further lines of a text are indented.
    #[default]
    Structured,
    /// One line, `key: value | key: value`.
    Compact,
    /// A bullet per entry.
    List,
}

impl EntryFormat {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Structured => "structured",
            Self::Compact => "compact",
            Self::List => "list",
        }
    }
}

/// The entries that fit, in their order.
pub(super) fn entries(
    entries: &[Entry],
    format: EntryFormat,
    max_tokens: Option<u64>,
    counter: &dyn TokenCounter,
) -> Context {
    let separator = if format == EntryFormat::Compact { " | " } else { "\n" };
    let items: Vec<String> = entries.iter().map(|entry| item(entry, format)).collect();
    fit(&items, separator, max_tokens, counter).into_context(items.len())
}

fn item(entry: &Entry, format: EntryFormat) -> String {
    let value = match &entry.value {
        WorkingValue::Json(Value::String(text)) if format == EntryFormat::Compact => fold(text),
        WorkingValue::Json(Value::String(text)) => indent(text),
        WorkingValue::Json(other) => json_line(other),
        WorkingValue::Bytes(bytes) => format!("[bytes, {}]", readable_size(bytes.len())),
    };
    let item = format!("{}: {value}", key(&entry.key));
    match format {
        EntryFormat::Structured => item,
        EntryFormat::Compact => piped(&item),
        EntryFormat::List => format!("- {item}"),
    }
}

/// Writes a number of bytes for a reader: in the largest unit of which it is one at least.
fn readable_size(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

/// Writes a key so that it ends at the first `: ` without a backslash. Most have colons of their own
/// (`user:1:name`), which stay as they are.
fn key(key: &str) -> String {
    let written = label(key, &[]);
    written.replace(": ", r"\: ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::json::Object;
    use crate::kinds::context::tests::{items, lines, read_label, tricky, tricky_name};
    use crate::time::Timestamp;
    use crate::tokens::HeuristicCounter;

    fn entry(key: &str, value: impl Into<WorkingValue>) -> Entry {
        Entry {
            key: key.into(),
            value: value.into(),
            metadata: Object::new(),
            version: 1,
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
            expires_at: None,
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            tricky().prop_map(Value::from),
            (tricky(), tricky()).prop_map(|(key, text)| json!({key: [text, null]})),
        ]
    }

    /// Reads the key of an item back.
    fn read_key(item: &str) -> String {
        let colons = item.match_indices(": ").map(|(at, _)| at);
        let bare = |at: &usize| {
            let before = &item[..*at];
            (before.len() - before.trim_end_matches('\\').len()).is_multiple_of(2)
        };
        let end = colons.into_iter().find(bare).unwrap();
        read_label(&item[..end], &[]).0
    }

    proptest! {
        #[test]
        fn m5_what_was_written_reads_back_as_as_many_entries(
            all in prop::collection::vec((tricky_name(), value()), 1..6),
        ) {
            let written: Vec<Entry> =
                all.iter().map(|(key, value)| entry(key, value.clone())).collect();
            let write = |format| entries(&written, format, None, &HeuristicCounter).text;
            for (format, bullet) in [(EntryFormat::Structured, ""), (EntryFormat::List, "- ")] {
                let text = write(format);
                let read = items(&text);
                prop_assert_eq!(read.len(), all.len(), "{}", text);
                for (item, (key, _)) in read.iter().zip(&all) {
                    prop_assert_eq!(&read_key(item.strip_prefix(bullet).unwrap()), key);
                }
            }
            let text = write(EntryFormat::Compact);
            prop_assert_eq!(lines(&text).len(), 1, "{}", text);
            let read: Vec<_> = text.split(" | ").collect();
            prop_assert_eq!(read.len(), all.len(), "{}", text);
            for (item, (key, _)) in read.iter().zip(&all) {
                if !key.contains('|') {
                    prop_assert_eq!(&read_key(item), key);
                }
            }
        }
    }

    #[test]
    fn m5_bytes_are_shown_by_their_number() {
        let sizes = [(0, "0 B"), (1023, "1023 B"), (12_300, "12 KiB"), (8 << 20, "8 MiB")];
        for (bytes, shown) in sizes {
            let entry = entry("k", WorkingValue::Bytes(vec![0; bytes]));
            for (format, bullet) in [(EntryFormat::Compact, ""), (EntryFormat::List, "- ")] {
                assert_eq!(item(&entry, format), format!("{bullet}k: [bytes, {shown}]"));
            }
        }
    }

    #[test]
    fn m4_each_format_looks_as_it_says() {
        let all = [entry("goal", json!("ship\nit")), entry("step", json!({"n": 2}))];
        let render = |format| entries(&all, format, None, &HeuristicCounter).text;
        assert_eq!(render(EntryFormat::Structured), "goal: ship\n  it\nstep: {\"n\":2}");
        assert_eq!(render(EntryFormat::Compact), "goal: ship it | step: {\"n\":2}");
        assert_eq!(render(EntryFormat::List), "- goal: ship\n  it\n- step: {\"n\":2}");
    }
}
