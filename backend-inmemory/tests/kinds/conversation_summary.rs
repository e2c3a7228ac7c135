//! A conversation whose older part is a summary (section S).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use memquill_core::kinds::{
    SummarizedConversation, SummarizedConversationConfig, SummaryTrigger, WhenUnsummarised,
};
use memquill_core::{
    Backend, Delete, Error, ExtractiveSummarizer, Get, HeuristicCounter, Message, ReadMessages,
    Result, Retention, Scope, Summarize, Summarizer, Summary, SummaryStyle, TokenCounter as _,
    Trim, Truncate,
};
use serde_json::json;

use crate::support::{backend, run, scope, summarized_by as summarized};

/// Summarizes by listing the numbers of its messages; fails while `fails` is set.
#[derive(Debug, Default)]
struct Listing {
    fails: AtomicBool,
    asked: AtomicUsize,
}

#[async_trait]
impl Summarizer for Listing {
    fn name(&self) -> &'static str {
        "listing"
    }

    fn version(&self) -> u32 {
        7
    }

    async fn summarize(&self, request: &Summarize<'_>) -> Result<Summary> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.fails.load(Ordering::Relaxed) {
            return Err(Error::unavailable("the model is away"));
        }
        let mut parts: Vec<String> = request.previous.into_iter().map(str::to_owned).collect();
        parts.extend(request.messages.iter().map(|m| format!("{}.", m.seq)));
        Ok(Summary::new(parts.join(" ")))
    }
}

fn small() -> SummarizedConversationConfig {
    SummarizedConversationConfig {
        trigger_threshold: 3,
        buffer_window_size: 2,
        ..SummarizedConversationConfig::default()
    }
}

async fn say(kind: &SummarizedConversation, count: usize) -> Option<u64> {
    let mut through = None;
    for _ in 0..count {
        let (_, advanced) = kind.store(vec![Message::user("x")]).await.unwrap();
        assert!(advanced.error.is_none(), "{advanced:?}");
        if advanced.updated {
            through = Some(advanced.through_seq);
        }
    }
    through
}

async fn held(backend: &Backend) -> Vec<u64> {
    let store = backend.conversations().unwrap();
    let read = store.read(&scope(), &ReadMessages::all("default")).await.unwrap();
    read.messages.iter().map(|message| message.seq).collect()
}

async fn text(kind: &SummarizedConversation) -> String {
    kind.digest().await.unwrap().map(|digest| digest.text).unwrap_or_default()
}

#[tokio::test]
async fn s1_messages_leave_when_a_stored_summary_covers_them() {
    let (backend, _) = backend();
    let kind = summarized(&backend, Arc::new(Listing::default()), small());
    assert_eq!(say(&kind, 4).await, None);
    assert_eq!(held(&backend).await, [1, 2, 3, 4]);
    assert_eq!(say(&kind, 1).await, Some(3));
    assert_eq!(held(&backend).await, [4, 5]);
    assert_eq!(say(&kind, 3).await, Some(6));
    assert_eq!(text(&kind).await, "1. 2. 3. 4. 5. 6.");
    let digest = kind.digest().await.unwrap().unwrap();
    assert_eq!((digest.messages, digest.generation), (6, 2));
    assert_eq!((digest.model.as_str(), digest.version), ("listing", 7));
    assert!(digest.time_range.is_some());
}

/// Stores as a process that dies between the summary and letting go would leave it.
async fn with_a_death_before_letting_go(backend: &Backend, kind: &SummarizedConversation) {
    say(kind, 5).await;
    let working = backend.working().unwrap();
    let entry = working.get(&scope(), &Get::new("summary/default")).await.unwrap().unwrap();
    let conversations = backend.conversations().unwrap();
    let mut value = entry.value.into_json().unwrap();
    let lineage = conversations.statistics(&scope(), "default").await.unwrap().lineage;
    value["text"] = json!("1. 2. 3. 4.");
    value["through_seq"] = json!(4);
    value["messages"] = json!(4);
    value["lineage"] = json!(lineage);
    working.put(&scope(), &memquill_core::Put::new("summary/default", value)).await.unwrap();
}

#[tokio::test]
async fn s1_a_death_between_summary_and_trim_loses_and_doubles_nothing() {
    let (backend, _) = backend();
    let kind = summarized(&backend, Arc::new(Listing::default()), small());
    with_a_death_before_letting_go(&backend, &kind).await;
    assert_eq!(held(&backend).await, [4, 5]);
    let found = kind.retrieve(None).await.unwrap();
    let shown: Vec<u64> = found.messages.iter().map(|m| m.seq).collect();
    assert_eq!((text(&kind).await.as_str(), shown), ("1. 2. 3. 4.", vec![5]));
    kind.summarize().await.unwrap();
    assert_eq!(held(&backend).await, [5]);
    say(&kind, 4).await;
    assert_eq!(text(&kind).await, "1. 2. 3. 4. 5. 6. 7.");
}

#[tokio::test]
async fn s2_of_two_summarizers_one_wins_and_nothing_is_counted_twice() {
    let (backend, _) = backend();
    let kind = summarized(&backend, Arc::new(Listing::default()), small());
    let plain = Arc::clone(backend.conversations().unwrap());
    let messages = vec![Message::user("x"); 9];
    plain.append(&scope(), &memquill_core::Append::new("default", messages)).await.unwrap();
    let all = futures_util::future::join_all((0..8).map(|_| kind.summarize())).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(text(&kind).await, "1. 2. 3. 4. 5. 6. 7.");
    assert_eq!(held(&backend).await, [8, 9]);
}

#[tokio::test]
async fn s5_a_failing_summarizer_fails_no_store_and_the_oldest_go_past_twice_the_limit() {
    let (backend, _) = backend();
    let listing = Arc::new(Listing::default());
    let kind = summarized(&backend, listing.clone(), small());
    listing.fails.store(true, Ordering::Relaxed);
    let mut evicted = 0;
    for n in 1..=15 {
        let (_, advanced) = kind.store(vec![Message::user("x")]).await.unwrap();
        assert_eq!(advanced.error.is_some(), n >= 5, "{n}");
        evicted += advanced.unsummarised_evicted;
    }
    assert_eq!((held(&backend).await.len(), evicted), (10, 5));
    listing.fails.store(false, Ordering::Relaxed);
    say(&kind, 1).await;
    assert_eq!(text(&kind).await, "6. 7. 8. 9. 10. 11. 12. 13. 14.");

    let strict = SummarizedConversationConfig {
        when_unsummarised: WhenUnsummarised::Refuse,
        conversation_id: "strict".into(),
        ..small()
    };
    let kind = summarized(&backend, listing.clone(), strict);
    listing.fails.store(true, Ordering::Relaxed);
    for _ in 0..10 {
        kind.store(vec![Message::user("x")]).await.unwrap();
    }
    let error = kind.store(vec![Message::user("x")]).await.unwrap_err();
    assert!(error.message().contains("10 messages wait"), "{error}");
    listing.fails.store(false, Ordering::Relaxed);
    kind.store(vec![Message::user("x")]).await.unwrap();
}

#[tokio::test]
async fn s4_an_exchange_is_covered_whole_or_not_at_all() {
    let (backend, _) = backend();
    let kind = summarized(&backend, Arc::new(Listing::default()), small());
    let call = Message {
        content: None,
        tool_calls: vec![json!({"id": "a", "type": "function", "function": {"name": "f"}})],
        ..Message::assistant("")
    };
    let turns = [Message::user("x"), Message::user("x"), Message::user("x"), call];
    kind.store(turns.to_vec()).await.unwrap();
    kind.store(vec![Message::user("wait"), Message::tool("a", "42")]).await.unwrap();
    assert_eq!(text(&kind).await, "1. 2. 3.");
    assert_eq!(held(&backend).await, [4, 5, 6]);
    let shown = kind.context(None).await.unwrap();
    assert_eq!(shown.messages.len(), 3);
}

#[tokio::test]
async fn system_messages_stay_and_are_not_summarized() {
    let (backend, _) = backend();
    let kind = summarized(&backend, Arc::new(Listing::default()), small());
    kind.store(vec![Message::system("be kind")]).await.unwrap();
    say(&kind, 5).await;
    assert_eq!(text(&kind).await, "2. 3. 4.");
    assert_eq!(held(&backend).await, [1, 5, 6]);
    let shown = kind.context(None).await.unwrap();
    assert_eq!(
        shown.context.text,
        "Summary of 3 earlier messages:\n  2. 3. 4.\n\nSystem: be kind\nUser: x\nUser: x"
    );
}

#[tokio::test]
async fn c15_a_corrected_conversation_has_no_summary_of_what_it_does_not_hold() {
    let (backend, _) = backend();
    let conversations = backend.conversations().unwrap();
    let kind = summarized(&backend, Arc::new(Listing::default()), small());
    say(&kind, 8).await;
    assert_eq!(text(&kind).await, "1. 2. 3. 4. 5. 6.");
    // What is taken back behind the summary leaves it alone, and so does retention.
    conversations.truncate(&scope(), &Truncate::new("default", 7)).await.unwrap();
    let trim = Trim::new("default", Retention::messages(1));
    conversations.trim(&scope(), &trim).await.unwrap();
    assert_eq!(text(&kind).await, "1. 2. 3. 4. 5. 6.");
    conversations.truncate(&scope(), &Truncate::new("default", 5)).await.unwrap();
    assert_eq!(text(&kind).await, "");
    assert_eq!(say(&kind, 5).await, Some(11));
    assert_eq!(text(&kind).await, "9. 10. 11.");
    conversations.clear(&scope(), "default").await.unwrap();
    assert_eq!(text(&kind).await, "");
    say(&kind, 5).await;
    assert_eq!(text(&kind).await, "14. 15. 16.");
    conversations.delete(&scope(), "default").await.unwrap();
    say(&kind, 2).await;
    assert_eq!(text(&kind).await, "");
    let shown = kind.context(None).await.unwrap();
    assert_eq!(shown.context.text, "User: x\nUser: x");
    say(&kind, 3).await;
    assert_eq!(text(&kind).await, "1. 2. 3.");
}

/// Truncates the conversation while it is asked.
#[derive(Debug)]
struct Overtaken(Backend, Scope);

#[async_trait]
impl Summarizer for Overtaken {
    fn name(&self) -> &'static str {
        "overtaken"
    }

    fn version(&self) -> u32 {
        1
    }

    async fn summarize(&self, _: &Summarize<'_>) -> Result<Summary> {
        let conversations = self.0.conversations()?;
        conversations.truncate(&self.1, &Truncate::new("default", 1)).await?;
        conversations
            .append(&self.1, &memquill_core::Append::new("default", vec![Message::user("new"); 3]))
            .await?;
        Ok(Summary::new("of what is gone"))
    }
}

#[tokio::test]
async fn c15_what_is_corrected_while_a_summary_is_made_is_neither_covered_nor_let_go() {
    let (backend, _) = backend();
    let kind = summarized(&backend, Arc::new(Overtaken(backend.clone(), scope())), small());
    kind.store(vec![Message::user("x"); 5]).await.unwrap();
    assert_eq!(text(&kind).await, "");
    assert_eq!(held(&backend).await, [1, 6, 7, 8]);
}

#[tokio::test]
async fn tokens_and_age_can_be_the_trigger() {
    let (backend, clock) = backend();
    let config = SummarizedConversationConfig {
        summary_trigger: SummaryTrigger::TokenCount,
        trigger_threshold: 27,
        ..small()
    };
    let kind = summarized(&backend, Arc::new(Listing::default()), config.clone());
    assert_eq!(say(&kind, 5).await, None);
    let (_, advanced) = kind.store(vec![Message::user("y").with_token_count(30)]).await.unwrap();
    assert!(!advanced.updated, "the window is not counted");
    assert_eq!(say(&kind, 2).await, Some(6));

    let config = SummarizedConversationConfig {
        summary_trigger: SummaryTrigger::TimeInterval,
        conversation_id: "aged".into(),
        ..config
    };
    let kind = summarized(&backend, Arc::new(Listing::default()), config);
    assert_eq!(say(&kind, 5).await, None);
    clock.advance(std::time::Duration::from_mins(28));
    assert_eq!(say(&kind, 1).await, Some(4));
}

#[tokio::test]
async fn s6_summaries_of_every_style_are_bounded() {
    for style in [SummaryStyle::Progressive, SummaryStyle::KeyPoints, SummaryStyle::Hierarchical] {
        let (backend, _) = backend();
        let config = SummarizedConversationConfig {
            summary_style: style,
            summary_tokens: Some(60),
            ..small()
        };
        let kind = summarized(&backend, Arc::new(ExtractiveSummarizer), config);
        for n in 0..120 {
            let text = format!("Message {n} tells of topic{n} and of the city of place{}.", n % 7);
            kind.store(vec![Message::user(text)]).await.unwrap();
            let Some(digest) = kind.digest().await.unwrap() else { continue };
            assert!(HeuristicCounter.count(&digest.text) <= 60, "{style:?}: {digest:?}");
            assert!(digest.key_points.len() <= 20 && !digest.text.is_empty());
        }
        for max_tokens in [1, 5, 20, 50, 100, 400] {
            let shown = kind.context(Some(max_tokens)).await.unwrap();
            assert!(u64::from(HeuristicCounter.count(&shown.context.text)) <= max_tokens);
        }
    }
}

#[tokio::test]
async fn m1_the_node_says_what_it_did() {
    let (backend, _) = backend();
    let listing = Arc::new(Listing::default());
    let kind = summarized(&backend, listing.clone(), small());
    for _ in 0..4 {
        run(&kind, "store", &json!({"message": "x"}));
    }
    let stored = run(&kind, "store", &json!({"message": "x"}));
    assert_eq!((&stored["summary_updated"], &stored["through_seq"]), (&json!(true), &json!(3)));
    let found = run(&kind, "retrieve", &json!({}));
    assert_eq!(found["summary"], "1. 2. 3.");
    assert_eq!(found["summary_metadata"]["messages_summarized"], 3);
    assert_eq!(found["count"], 2);
    let shown = run(&kind, "get_context", &json!({"max_tokens": 100}));
    assert!(shown["context"].as_str().unwrap().starts_with("Summary of 3 earlier messages:"));
    listing.fails.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        run(&kind, "store", &json!({"message": "x"}));
    }
    let stored = run(&kind, "store", &json!({"message": "x"}));
    assert_eq!(stored["success"], true);
    assert_eq!(stored["summary_error"]["code"], "unavailable");
    assert_eq!(run(&kind, "summarize", &json!({}))["error"]["code"], "unavailable");
    assert_eq!(run(&kind, "clear", &json!({}))["success"], true);
    assert_eq!(run(&kind, "retrieve", &json!({}))["summary_metadata"], json!(null));
    let working = backend.working().unwrap();
    assert!(!working.delete(&scope(), &Delete::new("summary/default")).await.unwrap());
}

#[test]
fn another_summarizer_than_the_node_counts_on_is_refused() {
    let (backend, _) = backend();
    let conversations = Arc::clone(backend.conversations().unwrap());
    let working = Arc::clone(backend.working().unwrap());
    let config =
        SummarizedConversationConfig { summarization_model: Some("gpt-5-nano".into()), ..small() };
    let counter = Arc::new(HeuristicCounter);
    let summarizer = Arc::new(ExtractiveSummarizer);
    let error =
        SummarizedConversation::new(scope(), conversations, working, counter, summarizer, config)
            .unwrap_err();
    assert_eq!(error.kind(), memquill_core::ErrorKind::Config);
}

#[test]
fn g2_a_name_whose_summary_could_not_be_stored_is_refused() {
    let (backend, _) = backend();
    let kind = summarized(&backend, Arc::new(ExtractiveSummarizer), small());
    for (length, success) in [(247, true), (248, false), (255, false)] {
        let name = "x".repeat(length);
        let stored = run(&kind, "store", &json!({"message": "x", "conversation_id": name}));
        assert_eq!(stored["success"], success, "{length}: {stored}");
    }
}
