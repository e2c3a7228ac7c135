//! Input that is made to break out of its scope, its literal or its query.

mod conversations;
mod scopes;
mod vectors;
mod working;

use memquill_core::{IDENTIFIER_BYTES, Scope};

use crate::scenario::{Scenario, Test};

pub(crate) fn all() -> Vec<Scenario> {
    [scopes::ALL, conversations::ALL, working::ALL, vectors::ALL].concat()
}

/// Strings that mean something to some store, parser or terminal, and that are plain text here.
const STRINGS: &[&str] = &[
    // SQL and its patterns
    "'",
    "''",
    "\"",
    "' OR '1'='1",
    "'; DROP TABLE messages; --",
    "x' UNION SELECT * FROM entries --",
    "$1",
    "?",
    ":name",
    "@p1",
    "%",
    "_",
    "%_%",
    "\\%",
    "\\",
    "\\\\",
    "$$ body $$",
    "/* comment */",
    "-- comment",
    "NULL",
    "E'\\x41'",
    // Redis keys, patterns and slots, and Lua
    "*",
    "a*",
    "?a",
    "[a-z]",
    "h[^e]llo",
    "{tag}",
    "{}",
    "{",
    "a:b",
    ":",
    "::",
    "KEYS[1]",
    "']] redis.call('FLUSHALL') --[[",
    "return 1",
    // Text queries
    "a AND b",
    "NOT",
    "NEAR(a b, 5)",
    "\"phrase\"",
    "a & !b | (c <-> d):*",
    "content:a",
    "-a +b ~c ^2",
    "@field:{a|b}",
    "(",
    ")",
    // JSON, its paths and pointers
    "$.a.b[0]",
    "$",
    "a.b",
    ".",
    "..",
    "[0]",
    "a[0]",
    "{\"a\": 1}",
    "[]",
    "null",
    "true",
    "1",
    "#>>'{a}'",
    "a->>'b'",
    "~0~1",
    "__proto__",
    "\\u0041",
    // Shells, URLs, formats and files
    "${x}",
    "$(id)",
    "`id`",
    "{{7*7}}",
    "%s%n",
    "%00",
    "/",
    "//",
    "../../etc/passwd",
    "C:\\",
    "a/b",
    "user/node",
    "user:pass@host",
    "http://[::1]/",
    "<script>alert(1)</script>",
    "&amp;",
    "a,b",
    "a;b",
    "a|b",
    "a=b",
    "#",
    "!",
    "~",
    // Spaces
    " ",
    "  ",
    " a",
    "a ",
    "\u{A0}",
    "\u{3000}",
    "\u{2028}",
    // Unicode
    "é",
    "e\u{301}",
    "\u{301}",
    "ß",
    "SS",
    "ss",
    "ſ",
    "İ",
    "i",
    "I",
    "ı",
    "K",
    "\u{212A}",
    "ﬁ",
    "Ａ",
    "\u{200B}",
    "a\u{200B}",
    "\u{200D}",
    "\u{FEFF}",
    "\u{FEFF}a",
    "\u{202E}abc",
    "\u{2066}a\u{2069}",
    "مرحبا",
    "👩‍👩‍👧",
    "🏳️‍🌈",
    "🙂",
    "\u{FFFD}",
    "\u{FFFF}",
    "\u{E000}",
    "\u{10FFFF}",
    "𝒜",
    "東京",
    "Z͑ͫ̓a̴͋l͜g̷o",
];

/// All of them, and the longest that there may be.
fn strings() -> Vec<String> {
    let mut strings: Vec<String> = STRINGS.iter().copied().map(String::from).collect();
    strings.push("x".repeat(IDENTIFIER_BYTES));
    strings.push("%".repeat(IDENTIFIER_BYTES));
    strings.push("'".repeat(IDENTIFIER_BYTES));
    strings.push("é".repeat(IDENTIFIER_BYTES / 2));
    strings.push("🙂".repeat(IDENTIFIER_BYTES / 4));
    strings
}

/// Scopes whose parts make the same text when they are joined by a common separator, or that meet
/// when a part is taken for a pattern, trimmed, folded or normalised.
fn colliding_scopes(test: &Test) -> Vec<Scope> {
    let user = test.user();
    let mut pairs = Vec::new();
    for separator in [":", "/", "|", ".", "-", "_", ",", " ", "::", "\\", "\u{1F}", "'", "}{"] {
        pairs.push((format!("{user}{separator}b"), "c".to_owned()));
        pairs.push((user.clone(), format!("b{separator}c")));
        pairs.push((format!("{user}{separator}b{separator}c"), "c".to_owned()));
        pairs.push((user.clone(), format!("b{separator}c{separator}c")));
    }
    for (user, node) in [
        (format!("{user}b"), "c"),
        (user.clone(), "bc"),
        (user.clone(), "c"),
        (user.clone(), "C"),
        (user.clone(), "c "),
        (user.clone(), " c"),
        (user.clone(), "%"),
        (user.clone(), "*"),
        (user.clone(), "_"),
        (user.clone(), "é"),
        (user.clone(), "e\u{301}"),
        (user.to_uppercase(), "c"),
        (format!("{user} "), "c"),
        (format!("{user}%"), "c"),
        (format!("{user}*"), "c"),
        (format!("{{{user}}}"), "c"),
        (format!("{user}\u{200B}"), "c"),
    ] {
        pairs.push((user, node.to_owned()));
    }
    // A separator that is a control character makes no legal scope.
    pairs.into_iter().filter_map(|(user, node)| Scope::new(user, node).ok()).collect()
}

/// A user of this hostile name, whom nobody else has.
fn hostile_user(test: &Test, name: &str) -> String {
    let user = test.user();
    let room = IDENTIFIER_BYTES - user.len();
    format!("{user}{}", &name[..name.floor_char_boundary(room)])
}
