//! What a word is, and how words rank (contract, V9).

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use rust_stemmers::{Algorithm, Stemmer};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;
use unicode_script::{Script, UnicodeScript as _};
use unicode_segmentation::UnicodeSegmentation as _;

/// The longest word that is indexed, in bytes; what is longer is cut there, on every driver alike.
const WORD_BYTES: usize = 128;

/// English words that the list of stop words has, and that say something in a question: negations
/// and quantities.
const TELLING: [&str; 22] = [
    "no", "nor", "not", "all", "any", "both", "each", "few", "more", "most", "other", "some",
    "such", "only", "own", "same", "too", "very", "once", "just", "further", "again",
];

/// A language with a stemmer and a list of stop words, by its ISO 639-1 code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub enum Language {
    #[serde(rename = "ar")]
    Arabic,
    #[serde(rename = "da")]
    Danish,
    #[serde(rename = "nl")]
    Dutch,
    #[serde(rename = "en")]
    English,
    #[serde(rename = "fi")]
    Finnish,
    #[serde(rename = "fr")]
    French,
    #[serde(rename = "de")]
    German,
    #[serde(rename = "el")]
    Greek,
    #[serde(rename = "hu")]
    Hungarian,
    #[serde(rename = "it")]
    Italian,
    #[serde(rename = "no")]
    Norwegian,
    #[serde(rename = "pt")]
    Portuguese,
    #[serde(rename = "ro")]
    Romanian,
    #[serde(rename = "ru")]
    Russian,
    #[serde(rename = "es")]
    Spanish,
    #[serde(rename = "sv")]
    Swedish,
    #[serde(rename = "ta")]
    Tamil,
    #[serde(rename = "tr")]
    Turkish,
}

impl Language {
    /// Every language, in the order of their codes' names.
    pub const ALL: [(Self, &'static str); 18] = [
        (Self::Arabic, "ar"),
        (Self::Danish, "da"),
        (Self::German, "de"),
        (Self::Greek, "el"),
        (Self::English, "en"),
        (Self::Spanish, "es"),
        (Self::Finnish, "fi"),
        (Self::French, "fr"),
        (Self::Hungarian, "hu"),
        (Self::Italian, "it"),
        (Self::Dutch, "nl"),
        (Self::Norwegian, "no"),
        (Self::Portuguese, "pt"),
        (Self::Romanian, "ro"),
        (Self::Russian, "ru"),
        (Self::Swedish, "sv"),
        (Self::Tamil, "ta"),
        (Self::Turkish, "tr"),
    ];

    /// The ISO 639-1 code.
    pub fn code(self) -> &'static str {
        Self::ALL.iter().find(|(language, _)| *language == self).map_or("", |(_, code)| code)
    }

    /// The language of an ISO 639-1 code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == code).map(|(language, _)| *language)
    }

    /// Its stop words, folded.
    fn stop_words(self) -> &'static HashSet<String> {
        static LISTS: [OnceLock<HashSet<String>>; Language::ALL.len()] =
            [const { OnceLock::new() }; Language::ALL.len()];
        LISTS[self as usize].get_or_init(|| {
            let list = stop_words::lookup(self.code()).unwrap_or_default();
            let says_nothing = |word: &&&str| {
                self != Self::English || !(TELLING.contains(*word) || word.contains("n't"))
            };
            list.iter().filter(says_nothing).map(|word| fold(word)).collect()
        })
    }

    fn stemmer(self) -> Stemmer {
        Stemmer::create(match self {
            Self::Arabic => Algorithm::Arabic,
            Self::Danish => Algorithm::Danish,
            Self::Dutch => Algorithm::Dutch,
            Self::English => Algorithm::English,
            Self::Finnish => Algorithm::Finnish,
            Self::French => Algorithm::French,
            Self::German => Algorithm::German,
            Self::Greek => Algorithm::Greek,
            Self::Hungarian => Algorithm::Hungarian,
            Self::Italian => Algorithm::Italian,
            Self::Norwegian => Algorithm::Norwegian,
            Self::Portuguese => Algorithm::Portuguese,
            Self::Romanian => Algorithm::Romanian,
            Self::Russian => Algorithm::Russian,
            Self::Spanish => Algorithm::Spanish,
            Self::Swedish => Algorithm::Swedish,
            Self::Tamil => Algorithm::Tamil,
            Self::Turkish => Algorithm::Turkish,
        })
    }
}

/// The words of `text`, in their order, repeats included: what drivers index and query.
///
/// Words are Unicode's (UAX #29), compatibility-normalised, case-folded, and without diacritics.
/// Runs of a script that is written without spaces become overlapping pairs of characters, a lone
/// character itself. Where a `language` is given, words are stemmed with its Snowball stemmer.
///
/// ```
/// use memquill_core::text::{Language, words};
/// assert_eq!(words("Crème BRÛLÉE!", None), ["creme", "brulee"]);
/// assert_eq!(words("running shoes", Some(Language::English)), ["run", "shoe"]);
/// assert_eq!(words("东京塔", None), ["东京", "京塔"]);
/// ```
pub fn words(text: &str, language: Option<Language>) -> Vec<String> {
    let mut out = Vec::new();
    analyze(text, language, &mut |_, word| out.push(word));
    out
}

/// The words that a query of `text` looks for, each once, in their order.
///
/// They are the [`words`] without the language's stop words, unless there are no others. What is
/// indexed does not depend on the list, so that a record can be found by any of its words: "The
/// Who", or a stop word of one language that is a name in another.
///
/// ```
/// use memquill_core::text::{Language, query_words};
/// assert_eq!(query_words("Where is the castle?", Some(Language::English)), ["castl"]);
/// assert_eq!(query_words("to be or to be", Some(Language::English)), ["to", "be", "or"]);
/// assert_eq!(query_words("the castle", None), ["the", "castle"]);
/// ```
pub fn query_words(text: &str, language: Option<Language>) -> Vec<String> {
    let stop_words = language.map(Language::stop_words);
    let (mut telling, mut all) = (Vec::new(), Vec::new());
    analyze(text, language, &mut |folded, word| {
        if stop_words.is_none_or(|list| !list.contains(folded)) {
            telling.push(word);
        } else {
            all.push(word);
        }
    });
    let mut words = if telling.is_empty() { all } else { telling };
    let mut seen = HashSet::with_capacity(words.len());
    words.retain(|word| seen.insert(word.clone()));
    words
}

/// Gives each word twice: folded, and as it is indexed.
fn analyze(text: &str, language: Option<Language>, out: &mut impl FnMut(&str, String)) {
    let folded = fold(text);
    let stemmer = language.map(Language::stemmer);
    let mut run: Vec<char> = Vec::new();
    let mut run_end = 0;
    for (start, word) in folded.unicode_word_indices() {
        if word.chars().all(without_spaces) {
            if start != run_end {
                flush_pairs(&mut run, out);
            }
            run.extend(word.chars());
            run_end = start + word.len();
            continue;
        }
        flush_pairs(&mut run, out);
        split_mixed(word, stemmer.as_ref(), out);
    }
    flush_pairs(&mut run, out);
}

/// Compatibility form, case folding, and no marks where the base letter stands without them too.
fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    // The compatibility form of a small letter may be a capital one, so it comes first, too.
    let compatible: String = text.chars().map(plain).nfkd().collect();
    let folded = caseless::default_case_fold_str(&compatible);
    let decomposed = folded.nfkd();
    // Marks of Indic and other scripts are vowels, not decoration: only those of scripts where
    // they decorate are dropped. The Kana voicing marks are letters too and are composed again.
    decomposed.filter(|c| !is_combining_mark(*c) || !decorates(*c)).nfc().collect::<String>()
}

/// A typographic apostrophe as the stemmers and stop words know it, and no mark of a trade, whose
/// letters would grow on to the word.
fn plain(c: char) -> char {
    match c {
        '‘' | '’' => '\'',
        '™' | '℠' => ' ',
        c => c,
    }
}

fn decorates(mark: char) -> bool {
    // Latin, Greek and Cyrillic diacritics; Hebrew points; Arabic vowel signs.
    matches!(u32::from(mark), 0x300..=0x36F | 0x591..=0x5C7 | 0x610..=0x61A | 0x64B..=0x65F | 0x670)
}

fn without_spaces(c: char) -> bool {
    matches!(
        c.script(),
        Script::Han
            | Script::Hiragana
            | Script::Katakana
            | Script::Hangul
            | Script::Bopomofo
            | Script::Thai
            | Script::Lao
            | Script::Khmer
            | Script::Myanmar
    ) || c == 'ー'
}

/// A segment may join scripts, as "2026年" does; each part goes its own way.
fn split_mixed(word: &str, stemmer: Option<&Stemmer>, out: &mut impl FnMut(&str, String)) {
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let paired = without_spaces(first);
        let end = rest
            .char_indices()
            .find(|(_, c)| without_spaces(*c) != paired)
            .map_or(rest.len(), |(at, _)| at);
        let (part, tail) = rest.split_at(end);
        rest = tail;
        if paired {
            flush_pairs(&mut part.chars().collect(), out);
        } else if part.chars().any(char::is_alphanumeric) {
            let stem = stemmer.map_or(part.into(), |stemmer| stemmer.stem(part));
            // Of some words, such as the Greek έως, nothing is left.
            let stem = if stem.is_empty() { part.into() } else { stem };
            out(part, stem[..stem.floor_char_boundary(WORD_BYTES)].to_owned());
        }
    }
}

fn flush_pairs(run: &mut Vec<char>, out: &mut impl FnMut(&str, String)) {
    for pair in run.windows(run.len().clamp(1, 2)) {
        let pair: String = pair.iter().collect();
        out(&pair.clone(), pair);
    }
    run.clear();
}

/// How often each word occurs.
pub fn term_frequencies(words: Vec<String>) -> HashMap<String, u32> {
    let mut counts = HashMap::with_capacity(words.len());
    for word in words {
        *counts.entry(word).or_insert(0) += 1;
    }
    counts
}

/// Okapi BM25 (Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and
/// Beyond"), with the idf of Lucene, which is never negative.
pub mod bm25 {
    /// Saturation of repeated words.
    pub const K1: f64 = 1.2;
    /// Weight of the document's length.
    pub const B: f64 = 0.75;

    /// `ln(1 + (documents - with_word + 0.5) / (with_word + 0.5))`.
    pub fn idf(documents: u64, with_word: u64) -> f64 {
        let (n, df) = (count(documents), count(with_word));
        ((n - df + 0.5) / (df + 0.5)).ln_1p()
    }

    /// A word's part in a document's score, to be multiplied by its idf:
    /// `tf (k1 + 1) / (tf + k1 (1 - b + b length / mean_length))`. Lengths are in words.
    pub fn weight(term_frequency: u32, length: u32, mean_length: f64) -> f64 {
        let tf = f64::from(term_frequency);
        let norm = 1.0 - B + B * f64::from(length) / mean_length;
        tf * (K1 + 1.0) / (tf + K1 * norm)
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of records is far below 2^53")]
    fn count(n: u64) -> f64 {
        n as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v9_words_are_folded_and_without_marks() {
        assert_eq!(
            words("Straße STRASSE ﬁne Ångström", None),
            ["strasse", "strasse", "fine", "angstrom"]
        );
        assert_eq!(words("كِتَابٌ", None), words("كتاب", None));
        assert_eq!(words("𝐀𝐜𝐦𝐞 2㎒ Windows™", None), ["acme", "2mhz", "windows"]);
        assert_eq!(words("Alice’s", Some(Language::English)), ["alic"]);
        let query = query_words("Alice’s castle isn’t", Some(Language::English));
        assert_eq!(query, query_words("Alice's castle isn't", Some(Language::English)));
    }

    #[test]
    fn v9_no_word_is_empty() {
        assert_eq!(words("έως", Some(Language::Greek)), ["εωσ"]);
        assert_eq!(
            words("ـ", Some(Language::Arabic)).iter().filter(|word| word.is_empty()).count(),
            0
        );
    }

    #[test]
    fn v9_scripts_without_spaces_become_pairs() {
        assert_eq!(words("2026年东京", None), ["2026", "年东", "东京"]);
        assert_eq!(words("ガード", None), ["ガー", "ード"]);
        assert_eq!(words("서울 시", None), ["서울", "시"]);
        assert_eq!(words("水", None), ["水"]);
    }

    #[test]
    fn v9_operators_are_plain_words() {
        assert_eq!(
            words(r#"a AND "b" OR NOT c* NEAR(d) col:e -f"#, None),
            ["a", "and", "b", "or", "not", "c", "near", "d", "col:e", "f"]
        );
    }

    #[test]
    fn v9_a_query_drops_what_its_language_says_in_every_sentence() {
        let english = |text| query_words(text, Some(Language::English));
        assert_eq!(english("What did the fox do when it was caught?"), ["fox", "caught"]);
        assert_eq!(english("not all of them"), ["not", "all"]);
        assert_eq!(english("who? WHO!"), ["who"], "a query of stop words alone keeps them");
        assert_eq!(query_words("fox the fox", None), ["fox", "the"]);
        assert_eq!(query_words("Où est le château", Some(Language::French)), ["chateau"]);
        for (language, code) in Language::ALL {
            assert!(language.stop_words().len() > 40, "{code} has a list");
        }
    }

    #[test]
    fn indic_vowel_signs_are_kept() {
        assert_ne!(words("कि", None), words("की", None));
    }

    #[test]
    fn every_language_has_one_code() {
        for (language, code) in Language::ALL {
            assert_eq!(Language::from_code(code), Some(language));
            assert_eq!(serde_json::to_value(language).unwrap(), code);
        }
    }

    #[test]
    fn a_common_word_never_counts_against_a_document() {
        assert!(bm25::idf(10, 10) > 0.0);
        assert!(bm25::weight(2, 5, 5.0) > bm25::weight(1, 5, 5.0));
    }
}
