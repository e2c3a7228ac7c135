//! Text into passages, in time that grows with its length alone.

use text_splitter::{Characters, ChunkConfig, ChunkSizer, TextSplitter};

/// How many passages' worth of text the splitter sees at once. It looks at all of what it sees for
/// each passage, so it never sees more.
const WINDOW: usize = 8;

/// Cuts text into passages of at most `size` characters, at paragraphs, sentences, words or
/// characters, and gives each with its offset in bytes.
pub(super) fn split(text: &str, size: usize) -> Vec<(usize, &str)> {
    split_with(text, size, Characters)
}

fn split_with<S: ChunkSizer + Clone>(text: &str, size: usize, sizer: S) -> Vec<(usize, &str)> {
    let splitter = TextSplitter::new(ChunkConfig::new(size).with_sizer(sizer));
    let mut passages = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let end = rest.char_indices().nth(WINDOW * size).map(|(end, _)| end);
        let window = &rest[..end.unwrap_or(rest.len())];
        let mut chunks: Vec<(usize, &str)> = splitter.chunk_indices(window).collect();
        let next = match (end, chunks.last()) {
            (None, _) => text.len(),
            (Some(end), None) => at + end,
            // The last one may go on after the window: the next window begins with it.
            (Some(_), Some((begin, _))) if *begin > 0 => {
                let next = at + begin;
                chunks.pop();
                next
            }
            (Some(_), Some((begin, chunk))) => at + begin + chunk.len(),
        };
        passages.extend(chunks.into_iter().map(|(begin, chunk)| (at + begin, chunk)));
        at = next;
    }
    passages
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Counts the bytes that are measured, which is the splitter's work.
    #[derive(Clone, Default)]
    struct Counting(Arc<AtomicUsize>);

    impl ChunkSizer for Counting {
        fn size(&self, chunk: &str) -> usize {
            self.0.fetch_add(chunk.len(), Ordering::Relaxed);
            Characters.size(chunk)
        }
    }

    fn work(text: &str, size: usize) -> usize {
        let sizer = Counting::default();
        split_with(text, size, sizer.clone());
        sizer.0.load(Ordering::Relaxed)
    }

    #[test]
    fn the_work_grows_with_the_text_and_no_faster() {
        for unit in
            ["x", "word ", "A sentence of some words. ", "a\n", "人工智能", "- a\n", "\u{301}"]
        {
            let text = |bytes: usize| unit.repeat(bytes / unit.len());
            let (once, twice) = (work(&text(12_000), 100), work(&text(24_000), 100));
            assert!(twice < once * 5 / 2, "{unit:?}: {once}, then {twice}");
        }
    }

    #[test]
    fn nothing_is_lost_or_too_long() {
        for unit in
            ["x", "word ", "A sentence of some words. ", "a\n", "人工智能", "¶ one\n\ntwo. "]
        {
            let text = unit.repeat(600);
            let passages = split(&text, 100);
            let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).count();
            let kept: usize = passages.iter().map(|(_, passage)| letters(passage)).sum();
            assert_eq!(kept, letters(&text), "{unit:?}");
            assert!(passages.iter().all(|(_, passage)| passage.chars().count() <= 100));
            assert!(passages.iter().all(|(at, passage)| text[*at..].starts_with(passage)));
        }
    }

    #[test]
    fn windows_show_nowhere() {
        let text: Vec<String> = (0..300).map(|n| format!("Sentence {n} is short.")).collect();
        let text = text.join(" ");
        let whole: Vec<_> = TextSplitter::new(200).chunk_indices(&text).collect();
        assert_eq!(split(&text, 200), whole);
    }
}
