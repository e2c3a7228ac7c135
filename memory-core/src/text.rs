//! What a word is, and how words rank (contract, V9).

mod language;
mod parts;

use std::collections::{HashMap, HashSet};

use rust_stemmers::Stemmer;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;
use unicode_script::{Script, UnicodeScript as _};
use unicode_segmentation::UnicodeSegmentation as _;

pub use self::language::Language;

/// The longest indexed word in bytes; longer words are cut there, on every driver alike.
const WORD_BYTES: usize = 128;

/// The most characters of punctuation between two words that are one compound.
const MAX_CONNECTORS: usize = 3;

/// Returns the words of `text` in their order, repeats included.
///
/// Words are Unicode's (UAX #29), compatibility-normalised, case-folded, and without diacritics.
/// Runs of a script that is written without spaces become overlapping pairs of characters, a lone
/// character itself. Where a `language` is given, words are stemmed with its Snowball stemmer.
///
/// Drivers index [`terms`], which has the parts of words too.
///
/// ```
/// use memquill_core::text::{Language, words};
/// assert_eq!(words("Crème BRÛLÉE!", None), ["creme", "brulee"]);
/// assert_eq!(words("running shoes", Some(Language::English)), ["run", "shoe"]);
/// assert_eq!(words("东京塔", None), ["东京", "京塔"]);
/// ```
pub fn words(text: &str, language: Option<Language>) -> Vec<String> {
    let mut out = Vec::new();
    analyze(text, language, &mut |kind, _, word| {
        if matches!(kind, Kind::Word | Kind::Symbolic) {
            out.push(word);
        }
    });
    out
}

/// The terms of a text: what a driver indexes (V9).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// How often each term occurs.
    pub frequencies: HashMap<String, u32>,
    /// The length of the text for [`bm25::weight`]: the number of its terms, repeats included and
    /// the single characters of longer runs aside.
    pub length: u32,
}

/// Returns the terms that a record with the content `text` is found by.
///
/// They are its [`words`]; beside them the parts of joined words (`get_user_profile`, `node.js`,
/// `camelCase`, `v1.2.3`), compounds with their punctuation (`CVE-2024-1234`, `a@example.org`,
/// `C++`, `#tag`), and every single character of a script that is written without spaces.
///
/// ```
/// use memquill_core::text::terms;
/// let found = terms("see node.js", None).frequencies;
/// assert!(["see", "node.js", "node", "js"].iter().all(|term| found[*term] == 1));
/// assert_eq!(terms("东京塔", None).frequencies["京"], 1);
/// ```
pub fn terms(text: &str, language: Option<Language>) -> Terms {
    let mut terms = Terms::default();
    analyze(text, language, &mut |kind, _, word| {
        *terms.frequencies.entry(word).or_insert(0) += 1;
        if kind != Kind::Character {
            terms.length = terms.length.saturating_add(1);
        }
    });
    terms
}

/// Returns the terms that a query of `text` looks for, each once, in their order.
///
/// They are those of [`terms`] without the language's stop words, unless there are no others, and
/// without what is too short to say something of a compound or a joined word. What is indexed does
/// not depend on the list, so that a record can be found by any of its words: "The Who", or a stop
/// word of one language that is a name in another.
///
/// ```
/// use memquill_core::text::{Language, query_words};
/// assert_eq!(query_words("Where is the castle?", Some(Language::English)), ["castl"]);
/// assert_eq!(query_words("to be or to be", Some(Language::English)), ["to", "be", "or"]);
/// assert_eq!(query_words("the castle", None), ["the", "castle"]);
/// assert_eq!(query_words("C++", None), ["c++"]);
/// assert_eq!(query_words("东京", None), ["东京"]);
/// ```
pub fn query_words(text: &str, language: Option<Language>) -> Vec<String> {
    let stop_words = language.map(Language::stop_words);
    let (mut words, mut dropped) = (Vec::new(), Vec::new());
    analyze(text, language, &mut |kind, folded, word| match kind {
        Kind::Word | Kind::Part | Kind::Compound => {
            let stops = stop_words.is_some_and(|list| list.contains(folded));
            if stops { dropped.push(word) } else { words.push(word) }
        }
        Kind::Symbolic | Kind::Fragment | Kind::Character => {}
    });
    let mut words = if words.is_empty() { dropped } else { words };
    let mut seen = HashSet::with_capacity(words.len());
    words.retain(|word| seen.insert(word.clone()));
    words
}

/// What a term is in its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A word, or a pair of characters.
    Word,
    /// The letter of a compound with a symbol, such as the "c" of "C++".
    Symbolic,
    /// Words and the punctuation that joins them.
    Compound,
    /// A part of a joined word.
    Part,
    /// A part of a joined word that is too short for a query.
    Fragment,
    /// One character of a longer run without spaces.
    Character,
}

/// Calls `out` with each term: its kind, its folded form and its indexed form.
fn analyze(text: &str, language: Option<Language>, out: &mut impl FnMut(Kind, &str, String)) {
    let normalized = (!text.is_ascii()).then(|| normalize(text));
    let text = normalized.as_deref().unwrap_or(text);
    let stemmer = language.map(Language::stemmer);
    let mut analysis = Analysis { text, stemmer, run: 0..0, compound: Compound::default(), out };
    for (start, word) in text.unicode_word_indices() {
        analysis.word(start, word);
    }
    analysis.end_run();
    analysis.end_compound();
}

/// A text at one of its words.
struct Analysis<'a, F> {
    text: &'a str,
    stemmer: Option<Stemmer>,
    /// The run of a script without spaces that ends here.
    run: std::ops::Range<usize>,
    /// The words that end here and may be one compound.
    compound: Compound,
    out: &'a mut F,
}

/// Words that only punctuation separates.
#[derive(Default)]
struct Compound {
    start: usize,
    /// The start of the last word.
    last: usize,
    end: usize,
    words: usize,
    /// Whether a character before the first word belongs to it, as in "#tag".
    prefixed: bool,
}

impl<F: FnMut(Kind, &str, String)> Analysis<'_, F> {
    fn word(&mut self, start: usize, word: &str) {
        let end = start + word.len();
        // Marks that follow a space are one segment with it; drivers separate words by spaces.
        let word = word.trim_start();
        let start = end - word.len();
        if word.chars().all(is_unspaced) {
            if start != self.run.end {
                self.end_run();
                self.run.start = start;
            }
            self.run.end = end;
            return;
        }
        self.end_run();
        let gap = &self.text[self.compound.end..start];
        let joins = self.compound.words > 0
            && (1..=MAX_CONNECTORS).contains(&gap.len())
            && gap.chars().all(is_connector);
        if joins {
            self.with_symbol();
            self.compound.words += 1;
        } else {
            self.end_compound();
            let before = self.text[..start].chars().next_back();
            let prefix = before.filter(|c| matches!(c, '.' | '#' | '@')).filter(|prefix| {
                // "...and" and "## Title" have no prefix.
                let earlier = self.text[..start - prefix.len_utf8()].chars().next_back();
                earlier.is_none_or(|c| c != *prefix && (is_unspaced(c) || !c.is_alphanumeric()))
            });
            let start = start - prefix.map_or(0, char::len_utf8);
            self.compound.start = start;
            self.compound.words = 1;
            self.compound.prefixed = prefix.is_some();
        }
        self.compound.last = start;
        self.compound.end = end;
        let symbolic = symbol(&self.text[end..]).is_some() && word.chars().count() == 1;
        self.split_mixed(word, if symbolic { Kind::Symbolic } else { Kind::Word });
    }

    /// Gives the last word with the symbol after it, such as "C++".
    fn with_symbol(&mut self) {
        let Compound { last, end, .. } = self.compound;
        if let Some(symbol) = symbol(&self.text[end..]) {
            self.give_compound(last..end + symbol.len());
        }
    }

    /// Gives the compound, unless it is one word.
    fn end_compound(&mut self) {
        let Compound { start, end, words, prefixed, .. } = self.compound;
        if words > 0 {
            self.with_symbol();
        }
        if words > 1 || prefixed {
            self.give_compound(start..end);
        }
        self.compound = Compound { end, ..Compound::default() };
    }

    fn give_compound(&mut self, range: std::ops::Range<usize>) {
        let folded = fold_word(cut(&self.text[range]));
        (self.out)(Kind::Compound, &folded, cut(&folded).to_owned());
    }

    /// Splits a word that joins scripts, as `データ_base` does, and gives each piece.
    fn split_mixed(&mut self, word: &str, kind: Kind) {
        let mut rest = word;
        while let Some(first) = rest.chars().next() {
            let unspaced = is_unspaced(first);
            let end = rest
                .char_indices()
                .find(|(_, c)| is_unspaced(*c) != unspaced)
                .map_or(rest.len(), |(at, _)| at);
            let (part, tail) = rest.split_at(end);
            rest = tail;
            if unspaced {
                pairs(part, self.out);
            } else if part.chars().any(char::is_alphanumeric) {
                self.stemmed(kind, part);
                let mut found: Vec<(Kind, String)> = Vec::new();
                parts::each(part, &mut |part, searched| {
                    let kind = if searched { Kind::Part } else { Kind::Fragment };
                    found.push((kind, part.to_owned()));
                });
                for (kind, part) in found {
                    self.stemmed(kind, &part);
                }
            }
        }
    }

    fn stemmed(&mut self, kind: Kind, word: &str) {
        let folded = fold_word(word);
        let stem = self.stemmer.as_ref().map_or((&*folded).into(), |stemmer| stemmer.stem(&folded));
        // Of some words, such as the Greek έως, nothing is left.
        let stem = if stem.is_empty() { &*folded } else { &*stem };
        if !stem.is_empty() {
            (self.out)(kind, &folded, cut(stem).to_owned());
        }
    }

    fn end_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        if !run.is_empty() {
            let behind = run.end;
            pairs(&self.text[run], self.out);
            self.run = behind..behind;
        }
    }
}

/// Gives the pairs of a run without spaces and each of its characters; a lone one is a word.
fn pairs(run: &str, out: &mut impl FnMut(Kind, &str, String)) {
    let mut before = None;
    for (at, c) in run.char_indices() {
        let end = at + c.len_utf8();
        if let Some(before) = before {
            let pair = &run[before..end];
            out(Kind::Word, pair, pair.to_owned());
        }
        let kind = if end == run.len() && before.is_none() { Kind::Word } else { Kind::Character };
        out(kind, &run[at..end], run[at..end].to_owned());
        before = Some(at);
    }
}

/// Returns the start of a word of at most [`WORD_BYTES`].
fn cut(word: &str) -> &str {
    &word[..word.floor_char_boundary(WORD_BYTES)]
}

/// Returns whether a character may join words to a compound: a path, an address, an identifier.
fn is_connector(c: char) -> bool {
    matches!(
        c,
        '-' | '_' | '.' | '@' | '/' | '\\' | ':' | '+' | '#' | '=' | '&' | '?' | '%' | '~' | '\''
    )
}

/// Returns the symbol of a name that `rest` follows: that of "C++", "C#".
fn symbol(rest: &str) -> Option<&'static str> {
    let follows = |symbol: &str| rest.strip_prefix(symbol).map(|rest| rest.chars().next());
    if follows("++").is_some_and(|next| next != Some('+')) {
        return Some("++");
    }
    let ends = |next: char| next != '#' && !next.is_alphanumeric();
    follows("#").filter(|next| next.is_none_or(ends)).map(|_| "#")
}

/// Returns the folded form of `text`: normalised, without case, and without marks that decorate.
fn fold(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_lowercase() } else { fold_word(&normalize(text)) }
}

/// Returns the compatibility form of `text`, with its case, and without what nobody sees.
fn normalize(text: &str) -> String {
    text.chars().filter(|c| !is_invisible(*c)).map(plain).nfkc().collect()
}

/// Folds the case of a word in compatibility form, and drops marks where the base letter can do
/// without them.
fn fold_word(word: &str) -> String {
    if word.is_ascii() {
        return word.to_ascii_lowercase();
    }
    let folded = caseless::default_case_fold_str(word);
    // Marks of Indic and other scripts are vowels, not decoration: only those of scripts where
    // they decorate are dropped. The Kana voicing marks are letters too and are composed again.
    folded.nfkd().filter(|c| !is_combining_mark(*c) || !decorates(*c)).nfc().collect()
}

/// Returns whether a character changes how its neighbours are shown and not what they say: soft
/// hyphens, joiners, directions, variations, and the Arabic stretching of a line.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{640}' | '\u{180B}'..='\u{180F}'
            | '\u{200C}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}'
            | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{E0100}'..='\u{E01EF}'
    )
}

/// Replaces typographic apostrophes and hyphens by those that stemmers and identifiers know, and
/// the mark of a trade, whose letters would grow on to the word, by a space.
fn plain(c: char) -> char {
    match c {
        '‘' | '’' => '\'',
        '‐' | '‑' => '-',
        '™' | '℠' => ' ',
        c => c,
    }
}

fn decorates(mark: char) -> bool {
    // Latin, Greek and Cyrillic diacritics; Hebrew points; Arabic vowel signs.
    matches!(u32::from(mark), 0x300..=0x36F | 0x591..=0x5C7 | 0x610..=0x61A | 0x64B..=0x65F | 0x670)
}

/// Returns whether a character belongs to a script whose words are written without spaces.
fn is_unspaced(c: char) -> bool {
    if c.is_ascii() {
        return false;
    }
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
            | Script::Tai_Le
            | Script::New_Tai_Lue
            | Script::Tai_Tham
            | Script::Tai_Viet
            | Script::Javanese
            | Script::Balinese
            | Script::Yi
            | Script::Tangut
            | Script::Nushu
    ) || matches!(c, 'ー' | '〆')
}

/// Returns the sentences of a text (UAX #29), each with the white space behind it; a line is at
/// least one.
pub(crate) fn sentences(text: &str) -> impl Iterator<Item = &str> {
    text.split_sentence_bounds()
}

/// Okapi BM25 (Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and
/// Beyond"), with the idf of Lucene, which is never negative.
pub mod bm25 {
    /// Saturation of repeated words.
    pub const K1: f64 = 1.2;
    /// Weight of the document's length.
    pub const B: f64 = 0.75;

    /// Returns `ln(1 + (documents - with_word + 0.5) / (with_word + 0.5))`.
    pub fn idf(documents: u64, with_word: u64) -> f64 {
        let (n, df) = (count(documents), count(with_word));
        ((n - df + 0.5) / (df + 0.5)).ln_1p()
    }

    /// Returns a word's part in a document's score, to be multiplied by its idf:
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

    fn indexed(text: &str) -> Vec<String> {
        let mut found: Vec<String> = terms(text, None).frequencies.into_keys().collect();
        found.sort();
        found
    }

    #[test]
    fn v9_a_lone_character_is_indexed_beside_the_pairs() {
        assert_eq!(indexed("好猫"), ["好", "好猫", "猫"]);
        assert_eq!(indexed("第3章"), ["3", "章", "第"]);
        assert_eq!(query_words("猫 东京", None), ["猫", "东京"]);
        for (text, part) in [
            ("私は猫が好きです", "猫"),
            ("ラーメン", "ラ"),
            ("ﾗｰﾒﾝ", "ン"),
            ("ฉันรักแมว", "ม"),
            ("ភាសាខ្មែរ", "ភ"),
            ("ພາສາລາວ", "ລ"),
            ("မြန်မာ", "မ"),
            ("고양이를", "고"),
            ("葛\u{E0100}飾", "飾"),
            ("Tシャツ2枚", "枚"),
            ("ꆈꌠꁱꂷ", "ꌠ"),
            ("〆切", "〆"),
        ] {
            let query = query_words(part, None);
            assert_eq!(query.len(), 1, "{part}");
            assert!(indexed(text).contains(&query[0]), "{part} in {text}");
        }
    }

    #[test]
    fn v9_single_characters_do_not_make_a_text_longer() {
        assert_eq!(terms("东京塔", None).length, 2);
        assert_eq!(terms("塔", None).length, 1);
        assert_eq!(terms("node.js", None).length, 3);
    }

    #[test]
    fn v9_compounds_are_indexed_beside_their_words() {
        for (text, compound) in [
            ("we write it in C++ not C#.", "c++"),
            ("we write it in C++ not C#.", "c#"),
            ("C++/C#, both", "c++"),
            ("on .NET 8", ".net"),
            ("用.NET写", ".net"),
            ("CVE-2024-1234 was fixed", "cve-2024-1234"),
            ("mail alice@example.org!", "alice@example.org"),
            ("see https://docs.example.org/a?x=1#top.", "https://docs.example.org/a?x=1#top"),
            (r"Path C:\repo\main.py was", r"c:\repo\main.py"),
            ("report-2024_final.PDF", "report-2024_final.pdf"),
            ("#Hashtag (@alice)", "#hashtag"),
            ("#Hashtag (@alice)", "@alice"),
            ("in .gitignore", ".gitignore"),
            ("non‑breaking", "non-breaking"),
            ("AT&T", "at&t"),
        ] {
            assert!(indexed(text).contains(&compound.to_owned()), "{:?}", indexed(text));
            assert!(query_words(text, None).contains(&compound.to_owned()), "{compound}");
        }
        for text in ["and... so", "a, b; c", "## Title", "end. Begin", "a - b", "(x) [y]"] {
            assert_eq!(terms(text, None).length as usize, words(text, None).len(), "{text}");
        }
    }

    #[test]
    fn v9_a_query_leaves_out_what_says_too_little() {
        assert_eq!(query_words("C++", None), ["c++"]);
        assert_eq!(query_words("U.S.A.", None), ["u.s.a", "usa"]);
        assert_eq!(query_words("19th", None), ["19th"]);
        assert_eq!(query_words("HTTPServer2", None), ["httpserver2", "http", "server"]);
        assert_eq!(query_words("v1.2.3", None), ["v1.2.3", "1.2.3", "v1"]);
        let english = query_words("unlockWithBiometrics", Some(Language::English));
        assert_eq!(english, ["unlockwithbiometr", "unlock", "biometr"]);
    }

    #[test]
    fn v9_what_nobody_sees_is_no_part_of_a_word() {
        assert_eq!(words("co\u{AD}operate", None), ["cooperate"]);
        assert_eq!(words("كتــاب", None), words("كتاب", None));
        assert_eq!(words("می\u{200C}خواهم", None), ["میخواهم"]);
        assert_eq!(words("\u{FEFF}word", None), ["word"]);
        assert_eq!(words("葛\u{E0100}飾", None), ["葛飾"]);
        let spaced = terms("΄\u{1E000} a΄\u{1E000}", None).frequencies;
        assert!(spaced.keys().all(|term| !term.contains(char::is_whitespace)), "{spaced:?}");
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
