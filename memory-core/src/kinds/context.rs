//! Texts for a model, bounded in tokens and cut between items (M5).

use crate::tokens::TokenCounter;

/// A text for a model.
#[derive(Debug, Clone, PartialEq, Eq)]
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
/// short ones behind it.
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

/// One line: every run of white space is a space.
pub(super) fn fold(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Lines after the first are indented, so that no item can pass for the start of another.
pub(super) fn indent(text: &str) -> String {
    text.replace('\n', "\n  ")
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
        let fitted = fit(&items, "\n", Some(5), &HeuristicCounter);
        assert_eq!(fitted.text, "one two\nthree");
        let context = fitted.into_context(items.len());
        assert_eq!((context.items, context.omitted), (2, 1));
    }

    #[test]
    fn an_item_cannot_pass_for_another() {
        assert_eq!(indent("a\n2. b"), "a\n  2. b");
        assert_eq!(fold(" a\r\n\tb "), "a b");
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
