//! Texts for a model, bounded in tokens and cut between items (M5).

use serde::Serialize;
use serde_json::Value;

use crate::tokens::TokenCounter;

/// A text for a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Context {
    /// The text; empty where nothing fits.
    pub text: String,
    /// How many items stand in it.
    pub items: usize,
    /// How many items were left out because they did not fit.
    pub omitted: usize,
    /// Its tokens, by the configured counter.
    pub tokens: u32,
}

/// Items that fit, by their index, and their text.
pub(super) struct Fitted {
    pub(super) kept: Vec<usize>,
    pub(super) text: String,
    pub(super) tokens: u32,
}

impl Fitted {
    pub(super) fn into_context(self, items: usize) -> Context {
        Context {
            text: self.text,
            items: self.kept.len(),
            omitted: items - self.kept.len(),
            tokens: self.tokens,
        }
    }
}

/// Joins, in their order, all items that fit after those before them: a long one does not hide the
/// short ones after it.
pub(super) fn fit(
    items: &[String],
    separator: &str,
    max_tokens: Option<u64>,
    counter: &dyn TokenCounter,
) -> Fitted {
    let gap = u64::from(counter.count(separator));
    let mut left = max_tokens.unwrap_or(u64::MAX).saturating_add(gap);
    let mut kept: Vec<usize> = (0..items.len())
        .filter(|&at| {
            let cost = u64::from(counter.count(&items[at])).saturating_add(gap);
            let fits = cost <= left;
            if fits {
                left -= cost;
            }
            fits
        })
        .collect();
    // Counters need not add up, so the whole is what counts.
    loop {
        let text = kept.iter().map(|&at| items[at].as_str()).collect::<Vec<_>>().join(separator);
        let tokens = counter.count(&text);
        if max_tokens.is_none_or(|max| u64::from(tokens) <= max) || kept.pop().is_none() {
            return Fitted { kept, text, tokens };
        }
    }
}

/// Whether a character ends a line, in any reader's eyes: Unicode's line ends, and the separators
/// U+001C to U+001E that Python's `splitlines` takes for such.
const fn ends_line(c: char) -> bool {
    matches!(c, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Writes a text as one line: every run of white space becomes a space.
pub(crate) fn fold(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}'));
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Indents the lines after the first, so that no text can pass for the start of another item.
/// Whatever ends a line becomes a line feed.
pub(super) fn indent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if ends_line(c) {
            if c == '\r' {
                chars.next_if_eq(&'\n');
            }
            out.push_str("\n  ");
        } else {
            out.push(c);
        }
    }
    out
}

/// Writes a line as an item of a list that `|` separates: a backslash before every `|` of its own.
pub(super) fn piped(line: &str) -> String {
    escape(line, &["|"])
}

/// Puts a backslash before every one of `marks` in a text, and doubles those that are directly
/// before one, so that both can be told apart. All other backslashes stay as they are: code is
/// readable. No mark begins inside another.
pub(super) fn escape(text: &str, marks: &[&str]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut backslashes = 0;
    for (at, c) in text.char_indices() {
        if marks.iter().any(|mark| text[at..].starts_with(mark)) {
            out.extend(std::iter::repeat_n('\\', backslashes + 1));
        }
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
        out.push(c);
    }
    out
}

/// Writes a name as a part of a line, as it can be read back: a backslash before backslashes and
/// before the characters in `marks`, and `\uXXXX` for what ends a line and for leading white space.
pub(super) fn label(name: &str, marks: &[char]) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if ends_line(c) || (out.is_empty() && c.is_whitespace()) {
            push_escape(&mut out, c);
        } else {
            if c == '\\' || marks.contains(&c) {
                out.push('\\');
            }
            out.push(c);
        }
    }
    out
}

/// Writes a character below U+10000 as `\uXXXX`.
fn push_escape(out: &mut String, c: char) {
    out.push_str("\\u");
    out.extend(
        [12, 8, 4, 0]
            .map(|shift| char::from_digit((u32::from(c) >> shift) & 15, 16).unwrap_or_default()),
    );
}

/// Writes JSON as a part of a line: what ends a line is escaped, as JSON allows inside texts.
pub(super) fn json_line(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains(ends_line) {
        return text;
    }
    // JSON itself is written without line ends, and those below U+0020 are escaped already.
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if ends_line(c) {
            push_escape(&mut out, c);
        } else {
            out.push(c);
        }
        out
    })
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tokens::HeuristicCounter;

    /// A counter that does not add up: the whole is more than its parts.
    #[derive(Debug)]
    pub(in super::super) struct Superadditive;

    impl TokenCounter for Superadditive {
        fn count(&self, text: &str) -> u32 {
            let n = u32::try_from(text.chars().count()).unwrap();
            n + n / 7
        }
    }

    #[test]
    fn m5_a_long_item_does_not_hide_the_short_ones_behind_it() {
        let items = ["one two".to_owned(), "x ".repeat(50), "three".to_owned()];
        let fitted = fit(&items, "\n", Some(6), &HeuristicCounter);
        assert_eq!(fitted.text, "one two\nthree");
        let context = fitted.into_context(items.len());
        assert_eq!((context.items, context.omitted), (2, 1));
    }

    /// Every character that ends a line, for some reader.
    pub(in super::super) const LINE_ENDS: [&str; 11] = [
        "\n", "\r", "\r\n", "\u{b}", "\u{c}", "\u{1c}", "\u{1d}", "\u{1e}", "\u{85}", "\u{2028}",
        "\u{2029}",
    ];

    /// A text of what could be taken for structure.
    pub(in super::super) fn tricky() -> impl Strategy<Value = String> {
        let parts = LINE_ENDS.into_iter().chain([
            " | ",
            "|",
            "\\",
            "\\|",
            ": ",
            ":",
            "System: ",
            "S: ",
            "User(",
            "):",
            ")",
            "(",
            "]",
            "[",
            "[calls ",
            ", ",
            "- ",
            "2. ",
            "1. [faq] ",
            "key: ",
            " ",
            "  ",
            "\t",
            "\u{1f}",
            "\u{a0}",
            "\"",
            "{",
            "}",
            "x",
            "obey",
            "\u{200b}",
            "\u{202e}",
            "é",
            "东",
        ]);
        let part = prop_oneof![
            4 => prop::sample::select(parts.collect::<Vec<_>>()).prop_map(str::to_owned),
            1 => any::<char>().prop_map(String::from),
        ];
        prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    /// A text as [`tricky`] that is a legal identifier (G2).
    pub(in super::super) fn tricky_name() -> impl Strategy<Value = String> {
        tricky().prop_map(|text| text.replace(char::is_control, "") + "n")
    }

    /// The lines of a text, as a reader sees them who takes every line end for one.
    pub(in super::super) fn lines(text: &str) -> Vec<&str> {
        text.split(super::ends_line).collect()
    }

    /// The items of a format of lines, each with the indented lines after it.
    pub(in super::super) fn items(text: &str) -> Vec<String> {
        let mut items: Vec<String> = Vec::new();
        for line in lines(text) {
            match items.last_mut().filter(|_| line.starts_with("  ")) {
                Some(item) => *item = format!("{item}\n{line}"),
                None => items.push(line.to_owned()),
            }
        }
        items
    }

    /// Undoes [`super::label`] up to the first of `marks` that has no backslash; gives the rest too.
    pub(in super::super) fn read_label<'a>(text: &'a str, marks: &[char]) -> (String, &'a str) {
        let mut name = String::new();
        let mut chars = text.char_indices();
        while let Some((at, c)) = chars.next() {
            if marks.contains(&c) {
                return (name, &text[at..]);
            }
            if c != '\\' {
                name.push(c);
                continue;
            }
            match chars.next().unwrap().1 {
                'u' => {
                    let hex: String = (0..4).map(|_| chars.next().unwrap().1).collect();
                    name.push(char::from_u32(u32::from_str_radix(&hex, 16).unwrap()).unwrap());
                }
                c => name.push(c),
            }
        }
        (name, "")
    }

    #[test]
    fn m5_every_line_end_counts_as_one() {
        for end in LINE_ENDS {
            assert_eq!(indent(&format!("a{end}2. b")), "a\n  2. b", "{end:?}");
            assert_eq!(fold(&format!(" a{end}\tb ")), "a b", "{end:?}");
        }
        assert_eq!(indent("a\r\n\r\nb\n\rc"), "a\n  \n  b\n  \n  c");
    }

    #[test]
    fn m5_separators_inside_a_text_are_escaped() {
        assert_eq!(piped("a | S: b"), r"a \| S: b");
        assert_eq!(piped(r"a\| b\\| C:\dir"), r"a\\\| b\\\\\| C:\dir");
        assert_eq!(label("x): hi", &[')']), r"x\): hi");
        assert_eq!(label(" a\u{2028}b\\c", &[]), r"\u0020a\u2028b\\c");
        assert_eq!(json_line(&serde_json::json!("a\u{85}\nb")), r#""a\u0085\nb""#);
    }

    proptest! {
        #[test]
        fn m5_a_context_never_exceeds_its_tokens_and_holds_whole_items(
            items in prop::collection::vec("[a-z ,\u{4e1c}é]{0,40}", 0..12),
            max in 0_u64..200,
            separator in prop::sample::select(vec!["\n", " | "]),
        ) {
            for counter in [&HeuristicCounter as &dyn TokenCounter, &Superadditive] {
                let fitted = fit(&items, separator, Some(max), counter);
                prop_assert!(u64::from(counter.count(&fitted.text)) <= max);
                prop_assert_eq!(fitted.tokens, counter.count(&fitted.text));
                let whole: Vec<_> = fitted.kept.iter().map(|&at| items[at].as_str()).collect();
                prop_assert_eq!(whole.join(separator), fitted.text);
            }
            let all = fit(&items, separator, None, &HeuristicCounter);
            prop_assert_eq!(all.kept.len(), items.len());
        }
    }
}
