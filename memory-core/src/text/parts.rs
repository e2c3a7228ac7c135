//! The parts of joined words, such as identifiers, file names and versions.

use super::WORD_BYTES;

/// The most parts of one word. A word with more of them is no name but data, such as base64, and
/// has no parts.
const MAX_PARTS: usize = 16;

/// The most changes between letters and digits in a name. A word with more is a hash or an id.
const MAX_DIGIT_BOUNDARIES: usize = 3;

/// Fragments below this length in characters are indexed but not searched for where a digit is
/// their neighbour: "19th" would find every ordinal number.
const MIN_BESIDE_DIGITS: usize = 3;

/// Calls `out` with each part of `word`, and whether a query of the word looks for the part too.
///
/// Parts are separated by punctuation (`get_user`, `node.js`), by case (`camelCase`, `HTTPServer`)
/// and between letters and digits (`ORD2024`). Of an acronym the letters together are a part
/// (`U.S.A`), of a version its number (`v1.2.3`), of a grouped number its digits (`1,299`).
/// A word without parts calls nothing. The case of `word` has to be as it was written.
pub(super) fn each(word: &str, out: &mut impl FnMut(&str, bool)) {
    let plain = |c: char| !(c.is_uppercase() || c.is_numeric() || is_separator(c));
    let mut chars = word.chars();
    let begins_plainly = chars.next().is_none_or(|c| c.is_uppercase() || plain(c));
    if word.len() > WORD_BYTES || (begins_plainly && chars.all(plain)) {
        return;
    }
    if word.chars().all(|c| c.is_numeric() || is_separator(c)) {
        return numbers(word, out);
    }
    let number = word.trim_start_matches(char::is_alphabetic);
    if number.len() < word.len() && number.contains('.') && is_number(number) {
        out(number, true);
    }
    let atoms: Vec<&str> = word.split(is_separator).filter(|atom| !atom.is_empty()).collect();
    if atoms.len() > MAX_PARTS {
        return;
    }
    let joined = atoms.iter().any(|atom| atom.len() < word.len());
    if joined {
        let acronym = atoms.len() > 1 && atoms.iter().all(|atom| is_letter(atom));
        if acronym {
            out(&atoms.concat(), true);
        }
        for atom in &atoms {
            let least = if atom.chars().all(char::is_numeric) { MIN_BESIDE_DIGITS } else { 2 };
            out(atom, atom.chars().count() >= least);
        }
    }
    for atom in atoms {
        within_atom(atom, out);
    }
}

/// Returns whether a character separates the parts of a word. Apostrophes do not, nor does what
/// belongs to the spelling of a word, as in the Catalan "col·lecció".
fn is_separator(c: char) -> bool {
    matches!(c, '_' | '‿' | '⁀' | '.' | ',' | ':' | ';')
}

fn is_number(text: &str) -> bool {
    text.starts_with(char::is_numeric) && text.chars().all(|c| c.is_numeric() || c == '.')
}

fn is_letter(atom: &str) -> bool {
    let mut chars = atom.chars();
    chars.next().is_some_and(char::is_alphabetic) && chars.next().is_none()
}

/// The parts of a word of digits: those of an address or a date, or the number without separators
/// of thousands.
fn numbers(word: &str, out: &mut impl FnMut(&str, bool)) {
    let (whole, fraction) = word.split_once('.').unwrap_or((word, ""));
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default();
    let grouped = whole.len() > first.len()
        && (1..=3).contains(&first.len())
        && groups.all(|group| group.len() == 3);
    if grouped {
        let plain = whole.replace(',', "");
        if !fraction.is_empty() {
            out(&format!("{plain}.{fraction}"), true);
        }
        out(&plain, true);
    } else if word.matches(is_separator).count() > 1 {
        for part in word.split(is_separator).filter(|part| !part.is_empty()) {
            out(part, part.len() >= MIN_BESIDE_DIGITS);
        }
    }
}

/// The parts of a word without separators, by case and by digits.
fn within_atom(atom: &str, out: &mut impl FnMut(&str, bool)) {
    if atom.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return;
    }
    let chars: Vec<(usize, char)> = atom.char_indices().collect();
    let digits = |at: usize| chars[at].1.is_numeric();
    let by_digits = (1..chars.len()).filter(|at| digits(at - 1) != digits(*at)).count();
    let mut bounds = vec![0];
    for at in 1..chars.len() {
        let (before, this) = (chars[at - 1].1, chars[at].1);
        let next = chars.get(at + 1).map(|(_, next)| *next);
        // "PDFs" is the plural of an acronym, not "PD" and "Fs".
        let plural = next == Some('s') && at + 2 == chars.len();
        let ends_acronym = before.is_uppercase()
            && this.is_uppercase()
            && next.is_some_and(char::is_lowercase)
            && !plural;
        let begins = before.is_lowercase() && this.is_uppercase() || ends_acronym;
        let turns = digits(at - 1) != digits(at) && by_digits <= MAX_DIGIT_BOUNDARIES;
        if begins || turns {
            bounds.push(chars[at].0);
        }
    }
    bounds.push(atom.len());
    match bounds.len() - 1 {
        0 => {}
        1 => {
            let acronym = atom.strip_suffix('s').unwrap_or_default();
            if acronym.chars().count() > 1 && acronym.chars().all(char::is_uppercase) {
                out(acronym, true);
            }
        }
        2..=MAX_PARTS => {
            let parts: Vec<&str> = bounds.windows(2).map(|ends| &atom[ends[0]..ends[1]]).collect();
            let numeric = |part: &&&str| part.starts_with(char::is_numeric);
            for (at, part) in parts.iter().enumerate() {
                let beside = [at.wrapping_sub(1), at, at + 1];
                let digits = beside.iter().filter_map(|at| parts.get(*at)).any(|p| numeric(&p));
                let least = if digits { MIN_BESIDE_DIGITS } else { 2 };
                let length = part.chars().count();
                if length > 1 || numeric(&part) {
                    out(part, length >= least);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of a word; those that only the index has are in brackets.
    fn parts(word: &str) -> String {
        let mut found = Vec::new();
        each(word, &mut |part, searched| {
            found.push(if searched { part.to_owned() } else { format!("[{part}]") });
        });
        found.join(" ")
    }

    #[test]
    fn v9_joined_words_have_parts() {
        for (word, expected) in [
            ("get_user_profile", "get user profile"),
            ("__init__", "init"),
            ("node.js", "node js"),
            ("finished.Then", "finished Then"),
            ("camelCase", "camel Case"),
            ("softLogout", "soft Logout"),
            ("HTTPServer2", "HTTP Server [2]"),
            ("XMLHttpRequest", "XML Http Request"),
            ("parseHTMLResponse", "parse HTML Response"),
            ("2024_final.PDF", "2024 final PDF"),
            ("ORD20240001", "ORD 20240001"),
            ("v18.2.0", "18.2.0 v18 [2] [0] [18]"),
            ("1990s", "1990"),
            ("PDFs", "PDF"),
            ("U.S.A", "USA [U] [S] [A]"),
            ("1,299.00", "1299.00 1299"),
            ("192.168.1.10", "192 168 [1] [10]"),
            ("19th", "[19] [th]"),
            ("écoleÉlève", "école Élève"),
        ] {
            assert_eq!(parts(word), expected, "{word}");
        }
    }

    #[test]
    fn v9_plain_words_have_no_parts() {
        for word in [
            "word",
            "Word",
            "WORD",
            "don't",
            "O'Reilly",
            "3.14",
            "2024",
            "col·lecció",
            "Straße",
            "3f2504e04f89",
            "x",
        ] {
            assert_eq!(parts(word), "", "{word}");
        }
        assert_eq!(parts(&"aB".repeat(40)), "", "data has no parts");
        assert_eq!(parts(&"ab_".repeat(60)), "", "a word over the longest is data");
    }
}
