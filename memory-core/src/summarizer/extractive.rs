//! Summaries without a model: the sentences that say most.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use async_trait::async_trait;

use super::{MAX_KEY_POINTS, Summarize, Summarizer, Summary, SummaryStyle, cut};
use crate::error::Result;
use crate::json;
use crate::kinds::context::fold;
use crate::kinds::speaker;
use crate::text::{Terms, bm25, sentences, terms};

/// The most sentences that are compared; the newest of more.
const MAX_SENTENCES: usize = 5_000;
/// How much of its weight a word keeps each time that a chosen sentence says it: what was said
/// counts less, so that sentences do not repeat each other.
const SAID: f64 = 0.5;
/// Saturation of words that are said often (BM25's `k3`).
const K3: f64 = 8.0;
/// Sentences of fewer words ("Yes.", "Thanks, bye.") are chosen only where there are no others.
const WORDS: u32 = 3;

/// Summarizes by the sentences with the most BM25 weight against the whole, in their order, the
/// speaker before them. It is deterministic, asks nobody, and says nothing that was not said.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExtractiveSummarizer;

impl ExtractiveSummarizer {
    /// The name that summaries keep of it.
    pub const NAME: &'static str = "extractive";
}

#[async_trait]
impl Summarizer for ExtractiveSummarizer {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn version(&self) -> u32 {
        1
    }

    async fn summarize(&self, request: &Summarize<'_>) -> Result<Summary> {
        let mut said = said(request);
        let first = said.len().saturating_sub(MAX_SENTENCES);
        said.drain(..first);
        Ok(match request.style {
            SummaryStyle::KeyPoints => {
                let chosen = choose(&said, MAX_KEY_POINTS, request, points);
                let mut key_points: Vec<String> = chosen.iter().map(Said::line).collect();
                key_points.dedup();
                Summary { text: key_points.join("\n"), key_points, ..Summary::default() }
            }
            SummaryStyle::Progressive | SummaryStyle::Hierarchical => {
                let chosen = choose(&said, usize::MAX, request, lines);
                Summary::new(lines(&chosen.iter().collect::<Vec<_>>()))
            }
        })
    }
}

/// A sentence, and who says it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    speaker: Option<String>,
    text: String,
    /// The number of its message among those that are compared.
    message: usize,
}

impl Said {
    fn line(&self) -> String {
        match &self.speaker {
            Some(speaker) => format!("{speaker}: {}", self.text),
            None => self.text.clone(),
        }
    }
}

/// The sentences of the summary before, whose lines begin with their speakers, and of the messages.
/// What is JSON, as many results of tools are, has none.
fn said(request: &Summarize<'_>) -> Vec<Said> {
    let before = request.previous.into_iter().flat_map(str::lines).map(|line| {
        match line.split_once(": ").filter(|(speaker, _)| is_speaker(speaker)) {
            Some((speaker, text)) => (Some(speaker.to_owned()), text),
            None => (None, line),
        }
    });
    let messages = request.messages.iter().map(|stored| {
        let text = stored.message.text();
        let text = if is_data(text) { "" } else { text };
        (Some(speaker(&stored.message, false)), text)
    });
    let mut said = Vec::new();
    for (message, (speaker, text)) in before.chain(messages).enumerate() {
        said.extend(sentences(text).map(fold).filter(|text| !text.is_empty()).map(|text| Said {
            speaker: speaker.clone(),
            text,
            message,
        }));
    }
    said
}

/// Whether a summary's line begins with who says it: a role, or a role and a name.
fn is_speaker(text: &str) -> bool {
    ["System", "User", "Assistant", "Tool"].iter().any(|role| {
        text.strip_prefix(role)
            .is_some_and(|name| name.is_empty() || name.starts_with('(') && name.ends_with(')'))
    })
}

fn is_data(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[']) && json::parse::<serde_json::Value>(text).is_ok()
}

/// Chooses sentences that fit, the one of the greatest weight first, and gives them in their order.
fn choose(
    said: &[Said],
    most: usize,
    request: &Summarize<'_>,
    write: fn(&[&Said]) -> String,
) -> Vec<Said> {
    let &Summarize { max_tokens, counter, .. } = request;
    let mut weighing = Weighing::new(said);
    let says_something = |at: &usize| weighing.sentences[*at].length >= WORDS;
    let nothing = !(0..said.len()).any(|at| says_something(&at));
    let mut queue: BinaryHeap<Candidate> = (0..said.len())
        .filter(|at| nothing || says_something(at))
        .map(|at| Candidate { score: weighing.score(at), at })
        .filter(|candidate| candidate.score > 0.0)
        .collect();
    let mut chosen: Vec<usize> = Vec::new();
    while chosen.len() < most
        && let Some(Candidate { score, at }) = queue.pop()
    {
        // Words only lose weight: a sentence whose score still holds is the best of all.
        let now = weighing.score(at);
        if now < score {
            queue.push(Candidate { score: now, at });
            continue;
        }
        let place = chosen.partition_point(|other| *other < at);
        chosen.insert(place, at);
        let written = write(&chosen.iter().map(|at| &said[*at]).collect::<Vec<_>>());
        if counter.count(&written) > max_tokens {
            chosen.remove(place);
            continue;
        }
        weighing.say(at);
    }
    if let (true, Some(newest)) = (chosen.is_empty(), said.last()) {
        // Every sentence is longer than the budget.
        let text = cut(&newest.line(), max_tokens, counter);
        let whole = Said { speaker: None, text, message: 0 };
        return Some(whole).filter(|one| !one.text.is_empty()).into_iter().collect();
    }
    chosen.into_iter().map(|at| said[at].clone()).collect()
}

/// What is left to say: the weight of each word, and the sentences' words.
struct Weighing {
    sentences: Vec<Terms>,
    weights: HashMap<String, f64>,
    mean_length: f64,
}

impl Weighing {
    /// A word weighs as in BM25 with the whole as the query: its idf among the sentences, times how
    /// often it is said, saturated.
    fn new(said: &[Said]) -> Self {
        let sentences: Vec<Terms> = said.iter().map(|one| terms(&one.text, None)).collect();
        let mut counts: HashMap<String, (u64, u32)> = HashMap::new();
        for (term, times) in sentences.iter().flat_map(|one| &one.frequencies) {
            let (with_term, said) = counts.entry(term.clone()).or_default();
            *with_term += 1;
            *said = said.saturating_add(*times);
        }
        let total = sentences.len() as u64;
        let weights = counts
            .into_iter()
            .map(|(term, (with_term, said))| {
                let said = f64::from(said);
                (term, bm25::idf(total, with_term) * said * (K3 + 1.0) / (said + K3))
            })
            .collect();
        let lengths: f64 = sentences.iter().map(|one| f64::from(one.length)).sum();
        let mean_length = lengths / f64::from(u32::try_from(total).unwrap_or(u32::MAX).max(1));
        Self { sentences, weights, mean_length }
    }

    fn score(&self, at: usize) -> f64 {
        let one = &self.sentences[at];
        if one.length == 0 {
            return 0.0;
        }
        let weight = |term: &str| self.weights.get(term).copied().unwrap_or_default();
        let mut parts: Vec<f64> = one
            .frequencies
            .iter()
            .map(|(term, times)| weight(term) * bm25::weight(*times, one.length, self.mean_length))
            .collect();
        // In one order, so that the sum is the same in every process.
        parts.sort_by(f64::total_cmp);
        parts.into_iter().sum()
    }

    fn say(&mut self, at: usize) {
        for term in self.sentences[at].frequencies.keys() {
            if let Some(weight) = self.weights.get_mut(term) {
                *weight *= SAID;
            }
        }
    }
}

/// A sentence by its score, the newer of equal ones first.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    score: f64,
    at: usize,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(self.at.cmp(&other.at))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

/// Writes sentences, those of one message on one line behind its speaker.
fn lines(said: &[&Said]) -> String {
    let mut out = String::new();
    let mut message = None;
    for one in said {
        if message == Some(one.message) {
            out.push(' ');
            out.push_str(&one.text);
        } else {
            if message.is_some() {
                out.push('\n');
            }
            out.push_str(&one.line());
        }
        message = Some(one.message);
    }
    out
}

/// Writes sentences, each on a line behind its speaker.
fn points(said: &[&Said]) -> String {
    said.iter().map(|one| one.line()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::conversation::{Message, StoredMessage};
    use crate::time::Timestamp;
    use crate::tokens::{HeuristicCounter, TokenCounter as _};

    fn stored(messages: Vec<Message>) -> Vec<StoredMessage> {
        (1..)
            .zip(messages)
            .map(|(seq, message)| StoredMessage { seq, created_at: Timestamp::default(), message })
            .collect()
    }

    fn summarize(
        previous: Option<&str>,
        messages: Vec<Message>,
        style: SummaryStyle,
        max_tokens: u32,
    ) -> Summary {
        let messages = stored(messages);
        let counter = &HeuristicCounter;
        let request = Summarize { previous, messages: &messages, style, max_tokens, counter };
        futures_util::FutureExt::now_or_never(ExtractiveSummarizer.summarize(&request))
            .unwrap()
            .unwrap()
    }

    fn booking() -> Vec<Message> {
        vec![
            Message::user("Hi! I need a table for four in Oakland on Friday."),
            Message::assistant("Sure. What kind of food would you like?"),
            Message::user("Thai food, and one of us is allergic to peanuts."),
            Message::tool("c1", r#"{"restaurants": [{"name": "Thai House"}]}"#),
            Message::assistant("Thai House in Oakland has a table for four at 7 pm. Shall I book?"),
            Message::user("Yes. Thanks! Bye."),
        ]
    }

    #[test]
    fn what_says_most_is_kept_in_its_order_behind_who_said_it() {
        let summary = summarize(None, booking(), SummaryStyle::Progressive, 60);
        assert_eq!(
            summary.text,
            "User: I need a table for four in Oakland on Friday.\n\
             User: Thai food, and one of us is allergic to peanuts.\n\
             Assistant: Thai House in Oakland has a table for four at 7 pm. Shall I book?"
        );
        assert_eq!(summary, summarize(None, booking(), SummaryStyle::Progressive, 60));
    }

    #[test]
    fn a_summary_grows_from_the_one_before() {
        let before = summarize(None, booking(), SummaryStyle::Progressive, 60).text;
        let next = vec![Message::user("Make it eight o'clock instead, and add a high chair.")];
        let summary = summarize(Some(&before), next, SummaryStyle::Progressive, 80);
        assert!(
            summary.text.starts_with("User: I need a table for four in Oakland"),
            "{summary:?}"
        );
        assert!(
            summary.text.ends_with("User: Make it eight o'clock instead, and add a high chair.")
        );
    }

    #[test]
    fn key_points_are_a_list_of_at_most_twenty_lines() {
        let many = (0..50).map(|n| Message::user(format!("Fact number {n} is about topic{n}.")));
        let summary = summarize(None, many.collect(), SummaryStyle::KeyPoints, 10_000);
        assert_eq!(summary.key_points.len(), MAX_KEY_POINTS);
        assert_eq!(summary.text, summary.key_points.join("\n"));
    }

    #[test]
    fn equal_sentences_are_said_once_where_others_say_more() {
        let messages = [vec![Message::user("The server is down again."); 6], booking()].concat();
        let text = summarize(None, messages, SummaryStyle::Progressive, 60).text;
        assert_eq!(text.matches("server is down").count(), 1, "{text}");
    }

    proptest! {
        #[test]
        fn s6_a_summary_is_within_its_budget_and_made_of_what_was_said(
            texts in prop::collection::vec("[a-z人.!?\n ]{0,80}", 0..20),
            previous in prop::option::of("[A-Za-z:.\n ]{0,80}"),
            max_tokens in 0..60_u32,
        ) {
            let messages: Vec<Message> = texts.iter().map(Message::user).collect();
            for style in [SummaryStyle::Progressive, SummaryStyle::KeyPoints] {
                let summary = summarize(previous.as_deref(), messages.clone(), style, max_tokens);
                prop_assert!(HeuristicCounter.count(&summary.text) <= max_tokens, "{:?}", summary);
                let all = format!("{}{}", previous.clone().unwrap_or_default(), texts.concat());
                let all: String = all.split_whitespace().collect();
                for word in summary.text.split_whitespace().filter(|word| *word != "User:") {
                    let said = word.strip_prefix("User:").unwrap_or(word);
                    prop_assert!(all.contains(said), "{word:?} of {:?}", summary.text);
                }
            }
        }
    }
}
