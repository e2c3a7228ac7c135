//! The chat model of OpenAI's API, against an HTTP server on loopback.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a test")]

#[path = "support/server.rs"]
mod server;

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use memquill_core::{
    AnswerSchema, ChatModel as _, Completion, Error, ErrorKind, Message, Prompt, Result,
    SecretString, TokenUsage, complete_json,
};
use memquill_models::{JsonOutput, OpenAiChat, OpenAiChatConfig};
use serde::Deserialize;
use serde_json::{Value, json};

use self::server::{Reply, Server};

const KEY: &str = "sk-CANARY";

fn config(server: &Server) -> OpenAiChatConfig {
    let mut config = OpenAiChatConfig::new("some-model");
    config.base_url = Some(server.url());
    config.api_key = Some(SecretString::from(KEY));
    config.retries = 2;
    config
}

fn model(server: &Server) -> OpenAiChat {
    OpenAiChat::new(config(server)).unwrap()
}

fn prompt() -> Prompt {
    Prompt::new(vec![Message::system("Be brief."), Message::user("Why?")])
}

fn schema() -> AnswerSchema {
    AnswerSchema::new(
        "answer",
        json!({"type": "object", "properties": {"points": {"type": "array"}}}),
    )
}

fn said(content: impl Into<Value>) -> Reply {
    finished(content, "stop")
}

fn finished(content: impl Into<Value>, reason: &str) -> Reply {
    Reply::new(
        200,
        json!({
            "id": "x", "object": "chat.completion", "system_fingerprint": null,
            "choices": [{"index": 0, "logprobs": null, "finish_reason": reason,
                         "message": {"role": "assistant", "content": content.into()}}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
        }),
    )
}

/// The error of a service that answers as told, and how often it was asked.
async fn error(answer: impl Fn(usize) -> Reply + Send + Sync + 'static) -> (Error, usize) {
    let server = Server::start(move |number, _| answer(number));
    let error = model(&server).complete(&prompt()).await.unwrap_err();
    assert!(!error.maybe_applied(), "{error}");
    assert_eq!((error.backend(), error.operation()), (Some("openai"), Some("complete")));
    let told = format!("{error} {error:?}");
    assert!(!told.contains("CANARY") && !told.contains("PRIVATE"), "{error:?}");
    assert!(told.len() < 2_000, "{} bytes are told", told.len());
    (error, server.seen().len())
}

#[tokio::test]
async fn a_request_is_what_the_api_says_and_its_usage_is_told() {
    let server = Server::start(|_, _| said(" Because.\n"));
    let mut asked = prompt().with_max_tokens(50);
    asked.messages[1] = Message::user("Why?")
        .with_id("ours")
        .with_name("alice")
        .with_metadata([("ours", 1)])
        .with_token_count(3);
    let usage = TokenUsage { prompt_tokens: 9, completion_tokens: 2 };
    let answer = model(&server).complete(&asked).await.unwrap();
    assert_eq!(answer, Completion::new("Because.").with_usage(usage));

    let [request] = server.seen().try_into().unwrap();
    assert_eq!(request.line, "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(request.header("authorization"), Some("Bearer sk-CANARY"));
    assert_eq!(
        request.body,
        json!({
            "model": "some-model",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Why?", "name": "alice"},
            ],
            "max_tokens": 50,
        })
    );
}

#[tokio::test]
async fn json_is_asked_for_as_the_service_knows_it() {
    let server = Server::start(|_, _| said("{}"));
    let asked = prompt().with_schema(schema());
    for json in [JsonOutput::Schema, JsonOutput::Object, JsonOutput::Prompt] {
        let mut config = config(&server);
        (config.json, config.temperature) = (json, Some(0.0));
        OpenAiChat::new(config).unwrap().complete(&asked).await.unwrap();
    }
    let [schema, object, prompt] = server.seen().try_into().unwrap();
    assert_eq!(schema.body["response_format"]["type"], "json_schema");
    assert_eq!(schema.body["response_format"]["json_schema"]["name"], "answer");
    assert_eq!(schema.body["response_format"]["json_schema"]["strict"], true);
    assert_eq!(schema.body["messages"][0]["content"], "Be brief.");
    assert_eq!(schema.body["temperature"], 0.0);
    assert_eq!(object.body["response_format"], json!({"type": "json_object"}));
    assert_eq!(prompt.body["response_format"], Value::Null);
    for told in [object, prompt] {
        assert!(told.body["messages"][0]["content"].as_str().unwrap().contains("\"points\""));
    }
}

#[tokio::test]
async fn thoughts_are_no_part_of_an_answer() {
    for (text, answer) in
        [("<think>\nIs it {\"a\": 1}?\n</think>\n\n{}", "{}"), ("I <think> so", "I <think> so")]
    {
        let server = Server::start(move |_, _| said(text));
        assert_eq!(model(&server).complete(&prompt()).await.unwrap().text, answer);
    }
}

#[tokio::test]
async fn an_answer_that_was_cut_says_so() {
    let server = Server::start(|_, _| finished("half of it", "length"));
    assert!(model(&server).complete(&prompt()).await.unwrap().cut);
}

#[tokio::test]
async fn nothing_is_no_answer() {
    for reply in [said(""), said(" \n"), said(Value::Null), said("<think>and then"), {
        finished("<think>and then", "length")
    }] {
        let (error, asked) = error(move |_| reply.clone()).await;
        assert_eq!((error.kind(), asked), (ErrorKind::Internal, 1), "{error}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_without_its_words() {
    let refusal = json!({"choices": [{"finish_reason": "stop",
        "message": {"content": null, "refusal": "PRIVATE is not to be told"}}]});
    for reply in [Reply::new(200, refusal), finished("PRIVATE", "content_filter")] {
        let (error, asked) = error(move |_| reply.clone()).await;
        assert_eq!((error.kind(), asked), (ErrorKind::InvalidInput, 1), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_chat_api_is_a_config_error() {
    let text = "PRIVATE words ".repeat(4_000);
    for reply in [
        Reply::new(200, "<html>Welcome</html>"),
        Reply::new(200, json!({ "data": text })),
        Reply::new(200, json!({"choices": text})),
        Reply::new(200, json!({"choices": [{"message": text}]})),
        Reply::new(200, json!({"choices": [{"message": {"content": {"text": text}}}]})),
        Reply::new(200, json!({"choices": []})),
        Reply::new(404, json!({"detail": "Not Found"})),
        Reply::new(307, "").header("location", "http://127.0.0.1:1/v1/chat/completions"),
    ] {
        let (error, asked) = error(move |_| reply.clone()).await;
        assert_eq!((error.kind(), asked), (ErrorKind::Config, 1), "{error}");
        assert!(error.hint().is_some());
    }
}

#[tokio::test]
async fn an_answer_without_end_is_given_up() {
    let reply = said("PRIVATE ".repeat(1 << 20));
    let (error, asked) = error(move |_| reply.clone()).await;
    assert_eq!((error.kind(), asked), (ErrorKind::Internal, 1), "{error}");
    assert!(error.message().contains("4194304 bytes"), "{error}");
}

#[tokio::test]
async fn a_model_that_never_answers_is_a_timeout() {
    let server = Server::start(|_, _| said("late").after(Duration::from_secs(30)));
    let mut config = config(&server);
    (config.timeout, config.retries) = (Duration::from_millis(200), 0);
    let begun = Instant::now();
    let error = OpenAiChat::new(config).unwrap().complete(&prompt()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Timeout, true), "{error}");
    assert!(error.hint().unwrap().contains("less text"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn transient_failures_are_repeated_and_then_told() {
    let server = Server::start(|number, _| match number {
        0 => Reply::new(429, "{}").header("retry-after-ms", "1"),
        1 => said("whole").missing(100),
        _ => said("whole"),
    });
    assert_eq!(model(&server).complete(&prompt()).await.unwrap().text, "whole");
    assert_eq!(server.seen().len(), 3);

    let (error, asked) = self::error(|_| Reply::new(503, "{}").header("retry-after", "0")).await;
    assert_eq!((error.kind(), asked), (ErrorKind::Unavailable, 3));
    let (error, asked) = self::error(|_| Reply::new(429, "{}").header("retry-after", "600")).await;
    assert_eq!((error.kind(), asked), (ErrorKind::RateLimited, 1));
    assert_eq!(error.retry_after(), Some(Duration::from_mins(10)));
}

#[tokio::test]
async fn what_the_service_refuses_is_not_repeated() {
    let body = json!({"error": {"message": format!("Incorrect API key: {KEY}")}});
    for (status, kind) in [
        (401, ErrorKind::PermissionDenied),
        (400, ErrorKind::InvalidInput),
        (413, ErrorKind::InvalidInput),
    ] {
        let body = body.clone();
        let (error, asked) = error(move |_| Reply::new(status, &body)).await;
        assert_eq!((error.kind(), asked), (kind, 1), "{error}");
    }
}

#[tokio::test]
async fn clones_share_the_bound_of_requests() {
    let server = Server::start(|_, _| said("yes").after(Duration::from_millis(50)));
    let mut config = config(&server);
    config.concurrency = NonZeroUsize::new(2).unwrap();
    let model = OpenAiChat::new(config).unwrap();
    let asked = prompt();
    let clones: Vec<_> = (0..6).map(|_| model.clone()).collect();
    let calls = clones.iter().map(|model| model.complete(&asked));
    futures_util::future::try_join_all(calls).await.unwrap();
    assert_eq!(server.most_at_once(), 2);
}

#[derive(Debug, Deserialize, PartialEq)]
struct Answer {
    points: Vec<String>,
}

/// Asks a model for JSON that gives these answers, one after another.
async fn ask(answers: Vec<Reply>) -> (Result<(Answer, TokenUsage)>, Vec<Vec<String>>) {
    let server = Server::start(move |number, _| answers[number].clone());
    let answer = complete_json(&model(&server), prompt(), schema()).await;
    let texts = |messages: &Value| -> Vec<String> {
        let texts = messages.as_array().unwrap().iter();
        texts.map(|message| message["content"].as_str().unwrap().to_owned()).collect()
    };
    (answer, server.seen().iter().map(|request| texts(&request.body["messages"])).collect())
}

#[tokio::test]
async fn json_is_found_in_what_a_model_writes_around_it() {
    for text in [
        r#"{"points": ["a"]}"#,
        "```json\n{\"points\": [\"a\"]}\n```",
        "Here you are:\n\n{\"points\": [\"a\"]}\nAnything else?",
    ] {
        let (answer, asked) = ask(vec![said(text)]).await;
        let usage = TokenUsage { prompt_tokens: 9, completion_tokens: 2 };
        assert_eq!(answer.unwrap(), (Answer { points: vec!["a".into()] }, usage));
        assert_eq!(asked.len(), 1);
    }
}

#[tokio::test]
async fn a_wrong_answer_is_repaired_once_and_both_are_counted() {
    for wrong in [
        said(r#"{"points": ["a"#),
        said("no"),
        said(r#"{"points": 7}"#),
        said(r#"{"point": []}"#),
        said("[1]"),
        finished(r#"{"points": []}"#, "length"),
    ] {
        let (answer, asked) = ask(vec![wrong, said(r#"{"points": []}"#)]).await;
        let usage = TokenUsage { prompt_tokens: 18, completion_tokens: 4 };
        assert_eq!(answer.unwrap(), (Answer { points: vec![] }, usage));
        assert_eq!((asked[0].len(), asked[1].len()), (2, 4));
    }
}

#[tokio::test]
async fn an_answer_that_is_wrong_twice_is_the_models_fault() {
    let long = said("PRIVATE ".repeat(100_000));
    let (answer, asked) = ask(vec![long.clone(), long]).await;
    let error = answer.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Internal, false), "{error}");
    assert!(!format!("{error:?}").contains("PRIVATE"), "{error:?}");
    let repeated: usize = asked[1].iter().map(String::len).sum();
    assert!(repeated < 10_000, "the model was shown {repeated} bytes");
}

#[test]
fn what_is_wrong_in_itself_is_told_at_once() {
    let mut config = OpenAiChatConfig::new("m");
    config.base_url = Some("http://u:CANARY@h/v1".into());
    let error = OpenAiChat::new(config).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(!format!("{error:?}").contains("CANARY"), "{error:?}");
}
