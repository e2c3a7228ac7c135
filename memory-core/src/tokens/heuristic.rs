//! Estimates tokens without a vocabulary.

use super::runs;

/// What a token is in the units that are summed up.
const TOKEN: u64 = 16;

/// The tokens of a text, estimated.
///
/// The text is divided as OpenAI's `o200k_base` divides it before it looks for tokens: words with
/// their capitals, up to three digits, punctuation, white space. A Latin word is the sum of its
/// pairs of letters ([`PAIRS`]), so that one of a language costs less than letters at random; other
/// scripts cost by the character, and by the runs of letters that tokens hold ([`runs`]). It takes time linear in the text, and allocates nothing.
pub(super) fn estimate(text: &str) -> u32 {
    let mut sum = 0_u64;
    let (mut rest, mut state) = (text, State::default());
    while let Some(c) = rest.chars().next() {
        let (cost, bytes) = match c {
            _ if is_latin(c) => latin(rest),
            '0'..='9' => digits(rest),
            ' ' | '\t'..='\r' => spaces(rest, state.after_punctuation),
            '!'..='~' => punctuation(rest),
            _ => (state.other(c), c.len_utf8()),
        };
        state.after_punctuation = c.is_ascii_punctuation();
        let read;
        (read, rest) = rest.split_at(bytes);
        state.last = [state.last[1], read.chars().next_back().unwrap_or_default()];
        sum = sum.saturating_add(cost);
    }
    u32::try_from(sum.div_ceil(TOKEN)).unwrap_or(u32::MAX)
}

/// What came before.
#[derive(Default)]
struct State {
    after_punctuation: bool,
    /// The two characters directly before.
    last: [char; 2],
}

impl State {
    /// Returns the cost of a character that is neither ASCII nor Latin.
    ///
    /// A letter of an alphabet costs little in a text of its language. After letters that no token
    /// has before it, a token ends, whatever the text: it is random, reversed, all capitals.
    fn other(&self, c: char) -> u64 {
        let cost = character(c);
        if !runs::is_letter(c) {
            return cost;
        }
        let [second, first] = self.last;
        let is_thai = matches!(c, '\u{e00}'..='\u{e7f}');
        let surprise = if !runs::contains(['\0', '\0', c]) {
            36
        } else if !runs::is_letter(first) {
            0
        } else if !runs::contains(['\0', first, c]) {
            if is_thai { 22 } else { 23 }
        } else if (runs::is_letter(second) || second == ' ') && !runs::contains([second, first, c])
        {
            // Thai has no spaces, and so more tokens that end inside what a token has.
            if is_thai { 9 } else { 20 }
        } else {
            0
        };
        cost.max(surprise)
    }
}

fn is_latin(c: char) -> bool {
    c.is_ascii_alphabetic()
        || matches!(
            c,
            '\u{c0}'..='\u{d6}'
                | '\u{d8}'..='\u{f6}'
                | '\u{f8}'..='\u{17f}'
                | '\u{1a0}'
                | '\u{1a1}'
                | '\u{1af}'
                | '\u{1b0}'
                | '\u{1ea0}'..='\u{1ef9}'
        )
}

/// A word of Latin letters: capitals, then small ones, and apostrophes inside.
fn latin(text: &str) -> (u64, usize) {
    const ACCENTED: usize = 27;
    let (mut cost, mut last, mut letters, mut small) = (0, 0, 0_u32, false);
    let mut chars = text.char_indices().peekable();
    let mut end = text.len();
    while let Some((at, c)) = chars.next() {
        let class = if is_latin(c) {
            if c.is_uppercase() && small {
                end = at;
                break;
            }
            small |= !c.is_uppercase();
            match c.to_ascii_lowercase() {
                c @ 'a'..='z' => c as usize - 'a' as usize + 1,
                _ => ACCENTED,
            }
        } else if c == '\'' && small && chars.peek().is_some_and(|(_, c)| c.is_ascii_alphabetic()) {
            ACCENTED
        } else {
            end = at;
            break;
        };
        cost += pair(last, class);
        last = class;
        letters += 1;
    }
    cost += pair(last, 0);
    if !small && letters > 1 {
        cost = cost * 21 / 16;
    }
    if letters > 16 {
        cost = cost * 5 / 4;
    }
    (cost.max(TOKEN), end)
}

fn pair(first: usize, second: usize) -> u64 {
    let digit = PAIRS.get(first).and_then(|row| row.get(second)).copied().unwrap_or_default();
    char::from(digit).to_digit(36).unwrap_or_default().into()
}

/// A number: three digits are a token.
fn digits(text: &str) -> (u64, usize) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (TOKEN * (digits as u64).div_ceil(3), digits)
}

/// White space. A space before a word belongs to the word.
fn spaces(text: &str, after_punctuation: bool) -> (u64, usize) {
    const CHANGE: u64 = 12;
    let is_space = |c: char| c == ' ' || ('\t'..='\r').contains(&c);
    let end = text.find(|c| !is_space(c)).unwrap_or(text.len());
    let (run, after) = text.split_at(end);
    let (lines, indent) = run.split_at(run.rfind(['\n', '\r']).map_or(0, |at| at + 1));
    let kind = |byte: u8| if byte == b'\r' { b'\n' } else { byte };
    let changes = |run: &str| {
        let pairs = run.as_bytes().windows(2).filter(|pair| kind(pair[0]) != kind(pair[1]));
        CHANGE * pairs.count() as u64
    };
    let mut cost = 0;
    if !lines.is_empty() {
        let joined = after_punctuation && matches!(lines, "\n" | "\r\n");
        let returns = lines.bytes().filter(|byte| *byte == b'\r').count();
        cost += if joined { 0 } else { TOKEN }
            + (lines.len() - 1 + 2 * returns) as u64
            + changes(lines);
    }
    let alone = after.chars().next().is_none_or(char::is_numeric);
    if indent.len() > 1 || (indent.len() == 1 && (indent != " " || alone)) {
        let length = indent.len() as u64;
        let blank = indent.bytes().all(|byte| byte == b' ');
        cost += TOKEN + if blank { length / 6 } else { length } + changes(indent);
    }
    (cost, end)
}

/// A run of punctuation; repeated characters cost little.
fn punctuation(text: &str) -> (u64, usize) {
    let bytes = text.as_bytes();
    let length = bytes.iter().take_while(|byte| byte.is_ascii_punctuation()).count();
    let run = bytes.get(..length).unwrap_or_default();
    let further: u64 = run.windows(2).map(|pair| if pair[0] == pair[1] { 1 } else { 11 }).sum();
    let before_word = text.get(length..).and_then(|rest| rest.chars().next());
    let joined = match run {
        [mark] if before_word.is_some_and(char::is_alphabetic) => {
            if *mark == b'_' {
                12
            } else {
                4
            }
        }
        _ => 0,
    };
    (TOKEN + further - joined, length)
}

/// The cost of a character outside ASCII, as it is in a text of its script.
#[expect(clippy::match_same_arms, reason = "a table by script")]
fn character(c: char) -> u64 {
    match c {
        '\u{4e00}'..='\u{9fff}' if is_single(c) => 15,
        '\u{4e00}'..='\u{9fff}' => 34,
        '\u{ac00}'..='\u{d7a3}' if is_single(c) => 14,
        '\u{ac00}'..='\u{d7a3}' => 38,
        '\0'..='\u{1fff}' if c.is_numeric() => 17,
        '\0'..='\u{7f}' => 16,
        '\u{80}'..='\u{bf}' => 20,
        '\u{c0}'..='\u{24f}' | '\u{300}'..='\u{36f}' => 30,
        '\u{250}'..='\u{2ff}' => 32,
        '\u{370}'..='\u{3ff}' => 5,
        '\u{530}'..='\u{590}' => 7,
        '\u{400}'..='\u{460}' => 6,
        '\u{461}'..='\u{52f}' => 12,
        '\u{591}'..='\u{5cf}' => 20,
        '\u{5d0}'..='\u{5ff}' => 6,
        '\u{64b}'..='\u{65f}' | '\u{670}' => 12,
        '\u{600}'..='\u{6ff}' => 6,
        '\u{700}'..='\u{8ff}' => 30,
        '\u{900}'..='\u{97f}' => 6,
        '\u{980}'..='\u{dff}' | '\u{10a0}'..='\u{10ff}' => 6,
        '\u{e00}'..='\u{e7f}' => 4,
        '\u{e80}'..='\u{109f}' => 32,
        '\u{1200}'..='\u{139f}' => 33,
        '\u{1100}'..='\u{1fff}' => 44,
        '\u{2000}'..='\u{206f}' | '\u{2500}'..='\u{259f}' => 16,
        '\u{2070}'..='\u{27ff}' => 30,
        '\u{2800}'..='\u{28ff}' => 48,
        '\u{2900}'..='\u{2fff}' => 32,
        '\u{3000}'..='\u{309f}' | '\u{fe0e}' | '\u{fe0f}' | '\u{feff}' => 16,
        '\u{30a0}'..='\u{30ff}' => 17,
        '\u{ff00}'..='\u{ffef}' => 24,
        '\u{1f000}'..='\u{1faff}' => 36,
        '\u{1d400}'..='\u{1d7ff}' => 34,
        '\u{10000}'.. => 64,
        _ => 46,
    }
}

/// Whether `o200k_base` has a token for an ideograph or a syllable by itself.
fn is_single(c: char) -> bool {
    /// A bit for each character from U+4E00 to U+D7A3, the low bit of a byte first.
    const SINGLE: &[u8] = include_bytes!("single.bits");
    let at = (u32::from(c) as usize).wrapping_sub(0x4e00);
    SINGLE.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
}

/// The cost of a letter after another, in base 36: rows are the first, columns the second, each 0
/// for the end of a word, 1 to 26 for a to z, and 27 for any other. Fitted by least squares to the
/// tokens that `o200k_base` has for the words of 27 languages and for letters at random.
const PAIRS: [&[u8; 28]; 28] = [
    b"562446135644645647634965b899",
    b"66101c215342011a25132657b676",
    b"968cd5acb5ab3ce6cf89b7edfbfa",
    b"8497c3ac017459c1ca5c05cdeb98",
    b"448b84aab38b9a75ca76c7ccfab9",
    b"5221042264542218480046682b89",
    b"97bed72de4beadg6ea9d79efgbg7",
    b"669cc3b8448d9b95ae68a8cdebe9",
    b"538ca3abd17aaba2dc8b489dfaf6",
    b"854026228a3433106a432f3hcc77",
    b"969e95ade6b6bcc6d8g8e8gegdk8",
    b"66abb4aa74968ba6cdb658dbfbh9",
    b"539c5278a15727a49de766ade5h8",
    b"743bb388b3aa95c429d8c6bdfce8",
    b"5592243053568963aac2088bd8b8",
    b"6a143a22966522033b035264cac8",
    b"65abc39d469d3be33a2878cdedh9",
    b"bcbddgehdffgdcffb6ddd0icedj8",
    b"526741548295736189823589e7a8",
    b"4695d48c339688a449d126abg9b8",
    b"44a9d2ad11a88ab3ab3446b9e7b7",
    b"631432429263110a2b011a9aaaa4",
    b"84abb07ab2898b829a9aa89ccbc6",
    b"626a717841999b629bb5ccbba8e2",
    b"46557739848a96a838b979ac8ab2",
    b"01857677959964637b737999dbc2",
    b"5288615781a666547a997696a394",
    b"76527556369655237157789356a5",
];
