//! The runs of letters that the tokens of `o200k_base` hold.

/// A set of runs of one to three letters, by the hash of each: a bit for each hash, the low bit of a
/// byte first. One run in fourteen that no token holds is taken for one that some token holds. The
/// test `m5_the_runs_of_letters_are_those_of_the_vocabulary` writes it.
const RUNS: &[u8] = include_bytes!("runs.bits");

/// The number of bits of a hash.
const HASH_BITS: u32 = 19;

/// Returns whether a character belongs to an alphabet whose runs are known: those from Greek to
/// Thai, and Georgian.
pub(super) const fn is_letter(c: char) -> bool {
    matches!(c, '\u{370}'..='\u{e7f}' | '\u{1080}'..='\u{10ff}')
}

/// Returns whether a token holds the run, which begins with `\0`s where it is shorter than three.
pub(super) fn contains(run: [char; 3]) -> bool {
    let at = hash(run);
    RUNS.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
}

fn hash([first, second, third]: [char; 3]) -> usize {
    let run = u64::from(first) << 42 | u64::from(second) << 21 | u64::from(third);
    // Multiplicative hashing by the golden ratio.
    let hash = run.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - HASH_BITS);
    usize::try_from(hash).unwrap_or_default()
}

#[cfg(all(test, feature = "tiktoken"))]
mod tests {
    use super::*;

    /// Run it with `MEMQUILL_WRITE_RUNS=1` to write the file.
    #[test]
    fn m5_the_runs_of_letters_are_those_of_the_vocabulary() {
        let vocabulary = tiktoken_rs::o200k_base_singleton();
        let mut bits = vec![0_u8; 1 << (HASH_BITS - 3)];
        let mut insert = |run| {
            let at = hash(run);
            bits[at / 8] |= 1 << (at % 8);
        };
        for rank in 0..200_000 {
            let Ok(token) = vocabulary.decode_bytes(&[rank]) else { continue };
            let Ok(token) = String::from_utf8(token) else { continue };
            let token: Vec<char> = token.chars().collect();
            for at in (0..token.len()).filter(|&at| token.len() > 1 && is_letter(token[at])) {
                insert(['\0', '\0', token[at]]);
                let before = token[..at].iter().rev().copied().collect::<Vec<char>>();
                let Some(&first) = before.first().filter(|c| is_letter(**c)) else { continue };
                insert(['\0', first, token[at]]);
                if let Some(&second) = before.get(1).filter(|c| is_letter(**c) || **c == ' ') {
                    insert([second, first, token[at]]);
                }
            }
        }
        if std::env::var_os("MEMQUILL_WRITE_RUNS").is_some() {
            let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tokens/runs.bits");
            std::fs::write(file, &bits).unwrap();
        } else {
            assert!(bits == RUNS, "write runs.bits again");
        }
    }
}
