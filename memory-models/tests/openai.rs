//! The embedder of OpenAI's API, against an HTTP server on loopback.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a test")]

#[path = "support/server.rs"]
mod server;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use memquill_core::{Embedder as _, Error, ErrorKind, SecretString, normalize};
use memquill_models::{OpenAiConfig, OpenAiEmbedder};
use serde_json::json;

use self::server::{Reply, Server, Stream, vector};

const KEY: &str = "sk-CANARY";

fn config(server: &Server) -> OpenAiConfig {
    let mut config = OpenAiConfig::new("some-model");
    config.base_url = Some(server.url());
    config.api_key = Some(SecretString::from(KEY));
    config.dimensions = Some(4);
    config
}

fn embedder(server: &Server) -> OpenAiEmbedder {
    OpenAiEmbedder::new(config(server)).unwrap()
}

fn number(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap()
}

/// The error of a service that answers as told.
async fn error(answer: impl Fn(usize) -> Reply + Send + Sync + 'static) -> (Error, usize) {
    let server = Server::start(move |number, _| answer(number));
    let mut config = config(&server);
    config.retries = 2;
    let embedder = OpenAiEmbedder::new(config).unwrap();
    let error = embedder.embed_documents(&["text"]).await.unwrap_err();
    assert!(!error.maybe_applied(), "{error}");
    assert_eq!((error.backend(), error.operation()), (Some("openai"), Some("embed_documents")));
    assert!(!format!("{error} {error:?}").contains("CANARY"), "{error:?}");
    (error, server.seen().len())
}

#[tokio::test]
async fn a_request_is_what_the_api_says_and_vectors_have_length_one() {
    let server = Server::start(|_, request| Reply::vectors(request, 4));
    let found = embedder(&server).embed_documents(&["one", "seven, and more"]).await.unwrap();
    assert_eq!(found, ["one", "seven, and more"].map(|text| normalize(vector(text, 4))));

    let [request] = server.seen().try_into().unwrap();
    assert_eq!(request.line, "POST /v1/embeddings HTTP/1.1");
    assert_eq!(request.header("authorization"), Some("Bearer sk-CANARY"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.body, json!({"model": "some-model", "input": ["one", "seven, and more"]}));
}

#[tokio::test]
async fn no_texts_are_no_request_and_an_empty_text_is_a_space() {
    let server = Server::start(|_, request| Reply::vectors(request, 4));
    let embedder = embedder(&server);
    assert!(embedder.embed_documents(&[]).await.unwrap().is_empty());
    assert!(server.seen().is_empty());
    embedder.embed_documents(&[""]).await.unwrap();
    assert_eq!(server.seen()[0].texts(), [" "]);
}

#[tokio::test]
async fn vectors_of_openais_third_generation_are_shortened_when_asked() {
    let server = Server::start(|_, request| Reply::vectors(request, 256));
    let mut config = config(&server);
    config.model = "text-embedding-3-small".into();
    config.dimensions = Some(256);
    let embedder = OpenAiEmbedder::new(config.clone()).unwrap();
    assert_eq!(embedder.space().dimensions, 256);
    assert_eq!(embedder.limits().tokens, Some(8_191));
    embedder.embed_query("text").await.unwrap();
    assert_eq!(server.seen()[0].body["dimensions"], 256);

    config.dimensions = None;
    assert_eq!(OpenAiEmbedder::new(config).unwrap().space().dimensions, 1_536);
}

#[tokio::test]
async fn queries_and_documents_have_the_prefixes_of_the_models_family() {
    let server = Server::start(|_, request| Reply::vectors(request, 4));
    let mut config = config(&server);
    config.model = "nomic-embed-text".into();
    config.document_prefix = Some("doc: ".into());
    let embedder = OpenAiEmbedder::new(config).unwrap();
    embedder.embed_query("text").await.unwrap();
    embedder.embed_documents(&["text"]).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].texts(), ["search_query: text"]);
    assert_eq!(seen[1].texts(), ["doc: text"]);
}

#[tokio::test]
async fn many_texts_go_in_several_requests_at_once_and_come_back_in_order() {
    // The first request is answered last.
    let server = Server::start(|_, request| {
        let wait = if request.texts()[0] == "x" { 400 } else { 50 };
        Reply::vectors(request, 4).after(Duration::from_millis(wait))
    });
    let mut config = config(&server);
    (config.batch_texts, config.concurrency) = (number(2), number(3));
    let embedder = OpenAiEmbedder::new(config).unwrap();
    let texts: Vec<String> = (1..=19).map(|n| "x".repeat(n)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();

    // Clones share the bound.
    let clone = embedder.clone();
    let (found, again) =
        tokio::join!(embedder.embed_documents(&texts), clone.embed_documents(&texts[..6]));
    let expected: Vec<_> = texts.iter().map(|text| normalize(vector(text, 4))).collect();
    assert_eq!(found.unwrap(), expected);
    assert_eq!(again.unwrap(), expected[..6]);
    assert_eq!(server.seen().len(), 10 + 3);
    assert_eq!(server.most_at_once(), 3);
}

#[tokio::test]
async fn tokens_bound_a_request_too() {
    let server = Server::start(|_, request| Reply::vectors(request, 4));
    let mut config = config(&server);
    config.batch_tokens = number(5);
    let texts = ["a b c", "a b", "c", "a b c d e f g", "h"];
    OpenAiEmbedder::new(config).unwrap().embed_documents(&texts).await.unwrap();
    let mut sizes: Vec<_> = server.seen().iter().map(|request| request.texts().len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 1, 1, 2]);
}

#[tokio::test]
async fn indexes_out_of_order_are_put_in_order() {
    let server = Server::start(|_, _| {
        let data = json!([
            {"index": 2, "embedding": [0, 0, 1, 0]},
            {"index": 0, "embedding": [1, 0, 0, 0]},
            {"index": 1, "embedding": [0, 1, 0, 0]},
        ]);
        Reply::new(200, json!({"data": data}))
    });
    let found = embedder(&server).embed_documents(&["a", "b", "c"]).await.unwrap();
    assert_eq!(found, [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]);
}

#[tokio::test]
async fn an_answer_without_one_vector_for_each_text_is_refused() {
    for indexes in [vec![], vec![1], vec![0, 0], vec![0, 1]] {
        let data: Vec<_> =
            indexes.iter().map(|at| json!({"index": at, "embedding": [1, 0, 0, 0]})).collect();
        let (error, asked) = error(move |_| Reply::new(200, json!({"data": data}))).await;
        assert_eq!((error.kind(), asked), (ErrorKind::Config, 1), "{indexes:?}: {error}");
    }
}

#[tokio::test]
async fn wrong_dimensions_are_a_config_error_that_names_both() {
    let body = json!({"data": [{"index": 0, "embedding": [1, 0, 0]}]});
    let (error, asked) = error(move |_| Reply::new(200, &body)).await;
    assert_eq!((error.kind(), asked), (ErrorKind::Config, 1));
    assert!(error.message().contains("3 dimensions"), "{error}");
    assert!(error.message().contains("some-model (4 dimensions)"), "{error}");
}

#[tokio::test]
async fn e2_a_key_that_is_refused_is_permission_denied_and_not_repeated() {
    let body = json!({"error": {"message": format!("Incorrect API key: {KEY}")}});
    let (error, asked) = error(move |_| Reply::new(401, &body)).await;
    assert_eq!((error.kind(), asked), (ErrorKind::PermissionDenied, 1));
    assert!(!error.is_transient());
    assert!(error.hint().unwrap().contains("OPENAI_API_KEY"));
}

#[tokio::test]
async fn e3_a_key_with_space_around_it_is_not_told() {
    let body = json!({"error": {"message": format!("bad parameter for {KEY}")}});
    let server = Server::start(move |_, _| Reply::new(400, &body));
    let mut config = config(&server);
    config.api_key = Some(SecretString::from(format!(" {KEY}\n")));
    let embedder = OpenAiEmbedder::new(config).unwrap();
    let error = embedder.embed_documents(&["text"]).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("CANARY"), "{error:?}");
}

#[tokio::test]
async fn a_limit_is_waited_for_as_long_as_the_service_asks() {
    let server = Server::start(|number, request| match number {
        0 => Reply::new(429, "{}").header("retry-after", "1"),
        _ => Reply::vectors(request, 4),
    });
    let begun = Instant::now();
    embedder(&server).embed_query("text").await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_limit_that_lasts_is_told_and_not_waited_for() {
    let (error, asked) = error(|_| Reply::new(429, "{}").header("retry-after", "3600")).await;
    assert_eq!((error.kind(), asked), (ErrorKind::RateLimited, 1));
    assert!(error.is_transient());
    assert_eq!(error.retry_after(), Some(Duration::from_hours(1)));
}

#[tokio::test]
async fn an_account_without_credit_is_not_asked_again() {
    let body = json!({"error": {"message": "no credit", "code": "insufficient_quota"}});
    let (error, asked) = error(move |_| Reply::new(429, &body)).await;
    assert_eq!((error.kind(), error.is_transient(), asked), (ErrorKind::RateLimited, false, 1));
}

#[tokio::test]
async fn a_fault_of_the_service_is_asked_again_and_then_told() {
    let body = json!({"error": {"message": "out of memory"}});
    let (error, asked) = error(move |_| Reply::new(500, &body).header("retry-after-ms", "1")).await;
    assert_eq!((error.kind(), asked), (ErrorKind::Unavailable, 3));
    assert!(error.is_transient() && error.message().contains("out of memory"), "{error}");

    let server = Server::start(|number, request| match number {
        0 => Reply::new(503, "<html>busy</html>").header("retry-after", "0"),
        _ => Reply::vectors(request, 4),
    });
    embedder(&server).embed_query("text").await.unwrap();
}

#[tokio::test]
async fn a_slow_service_is_a_timeout() {
    let server =
        Server::start(|_, request| Reply::vectors(request, 4).after(Duration::from_secs(30)));
    let mut config = config(&server);
    (config.timeout, config.retries) = (Duration::from_millis(200), 0);
    let begun = Instant::now();
    let error = OpenAiEmbedder::new(config).unwrap().embed_query("text").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(!error.maybe_applied() && error.is_transient());
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_truncated_answer_is_unavailable_and_asked_again() {
    let server = Server::start(|number, request| match number {
        0 => Reply::vectors(request, 4).missing(100),
        1 => Reply::new(200, r#"{"data": [{"index": 0, "embed"#),
        _ => Reply::vectors(request, 4),
    });
    embedder(&server).embed_query("text").await.unwrap();
    assert_eq!(server.seen().len(), 3);

    let server = Server::start(|_, request| Reply::vectors(request, 4).missing(100));
    let mut config = config(&server);
    config.retries = 0;
    let error = OpenAiEmbedder::new(config).unwrap().embed_query("text").await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Unavailable, true), "{error}");
}

#[tokio::test]
async fn what_is_no_embeddings_api_is_a_config_error() {
    for reply in [
        Reply::new(200, "<html>Welcome</html>"),
        Reply::new(404, json!({"detail": "Not Found"})),
        // A key is not carried to another place.
        Reply::new(307, "").header("location", "http://127.0.0.1:1/v1/embeddings"),
    ] {
        let (error, asked) = error(move |_| reply.clone()).await;
        assert_eq!((error.kind(), asked), (ErrorKind::Config, 1), "{error}");
        assert!(error.hint().unwrap().contains("base_url"));
    }
}

/// What is logged, at every level.
#[derive(Debug, Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn e3_a_wrong_answer_is_neither_logged_nor_told_whole() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let text = "PRIVATE words ".repeat(4_000);
    for body in [
        json!({ "data": text }),
        json!({"data": [{"index": 0, "embedding": text}]}),
        json!({"data": [{"index": text, "embedding": [1, 0, 0, 0]}]}),
        json!({"object": "list", "data": null, "input": text}),
        json!({"choices": [{"message": {"content": text}}]}),
        json!(text),
        json!([text, text]),
    ] {
        let (error, asked) = error(move |_| Reply::new(200, &body)).await;
        assert_eq!((error.kind(), asked), (ErrorKind::Config, 1), "{error}");
        let told = format!("{error} {error:?}");
        assert!(told.len() < 2_000, "{} bytes are told", told.len());
    }
    let page = format!("<html>{text}</html>");
    let (error, _) = error(move |_| Reply::new(200, &page)).await;
    assert!(format!("{error} {error:?}").len() < 2_000);
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!logged.contains("PRIVATE"), "{} bytes are logged", logged.len());
    assert!(logged.len() < 20_000, "{} bytes are logged", logged.len());
}

#[tokio::test]
async fn fields_that_the_api_does_not_name_are_passed_over() {
    let body = json!({
        "id": "x", "object": "list", "created": 1, "extra": {"deep": [1, null]},
        "data": [{"index": 0, "object": "embedding", "text": "a", "embedding": [3, 0, 4, 0]}],
        "usage": null,
    });
    let server = Server::start(move |_, _| Reply::new(200, &body));
    let found = embedder(&server).embed_query("a").await.unwrap();
    assert_eq!(found, [0.6, 0.0, 0.8, 0.0]);
}

#[tokio::test]
async fn v3_numbers_that_are_no_embedding_are_the_services_fault() {
    for numbers in [json!([0, 0, 0, 0]), json!([1e39, 0, 0, 0]), json!([1, 0, 0]), json!([])] {
        let body = json!({"data": [{"index": 0, "embedding": numbers}]});
        let server = Server::start(move |_, _| Reply::new(200, &body));
        let embedder = embedder(&server);
        for error in [
            memquill_core::embed_query(&embedder, "a").await.unwrap_err(),
            memquill_core::embed_documents(&embedder, &["a"]).await.unwrap_err(),
        ] {
            assert!(matches!(error.kind(), ErrorKind::Internal | ErrorKind::Config), "{error}");
        }
    }
}

#[tokio::test]
async fn a_text_that_the_service_refuses_is_invalid_input() {
    let body = json!({"error": {"message": "maximum context length is 8192 tokens"}});
    let (error, asked) = error(move |_| Reply::new(400, &body)).await;
    assert_eq!((error.kind(), asked), (ErrorKind::InvalidInput, 1));
    assert!(error.message().contains("8192 tokens"));
}

#[tokio::test]
async fn e2_a_refused_connection_is_unavailable() {
    let mut config = OpenAiConfig::new("m");
    // Nobody listens at the discard port.
    config.base_url = Some("http://127.0.0.1:9/v1".into());
    (config.dimensions, config.retries) = (Some(4), 0);
    let error = OpenAiEmbedder::new(config).unwrap().embed_query("text").await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Unavailable, true), "{error}");
}

#[test]
fn what_is_wrong_in_itself_is_told_at_once() {
    let refused = |change: &dyn Fn(&mut OpenAiConfig)| {
        let mut config = OpenAiConfig::new("m");
        config.base_url = Some("http://127.0.0.1:9/v1".into());
        config.dimensions = Some(4);
        change(&mut config);
        let error = OpenAiEmbedder::new(config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!format!("{error:?}").contains("CANARY"), "{error:?}");
        error.to_string()
    };
    assert!(refused(&|config| config.dimensions = None).contains("dimensions"));
    assert!(refused(&|config| config.dimensions = Some(16_001)).contains("16000"));
    for url in ["localhost:8080/v1", "ftp://h/v1", "http://u:CANARY@h/v1", "no URL"] {
        assert!(
            refused(&|config| config.base_url = Some(url.into())).contains("base_url"),
            "{url}"
        );
    }
    let key = Some(SecretString::from("CANARY\nx"));
    assert!(refused(&|config| config.api_key = key.clone()).contains("key"));
}

#[tokio::test]
async fn too_many_texts_in_a_call_are_invalid_input() {
    let server = Server::start(|_, request| Reply::vectors(request, 4));
    let texts = vec!["text"; 1_001];
    let error = embedder(&server).embed_documents(&texts).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn tls_works_without_a_provider_of_the_process_and_trusts_what_it_is_told_to() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let tls = Arc::new(tls);
    let accept = move |stream| -> Box<dyn Stream> {
        let session = rustls::ServerConnection::new(tls.clone()).unwrap();
        Box::new(rustls::StreamOwned::new(session, stream))
    };
    let server = Server::start_behind(accept, |_, request| Reply::vectors(request, 4));
    let mut config = config(&server);
    let url = server.url().replace("http://127.0.0.1", "https://localhost");
    (config.base_url, config.retries) = (Some(url), 0);

    let error = OpenAiEmbedder::new(config.clone()).unwrap().embed_query("text").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("certificate"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, made.cert.pem()).unwrap();
    config.ca = Some(ca);
    let found = OpenAiEmbedder::new(config.clone()).unwrap().embed_query("text").await.unwrap();
    assert_eq!(found, normalize(vector("text", 4)));

    config.ca = Some(folder.path().join("none.pem"));
    assert_eq!(OpenAiEmbedder::new(config).unwrap_err().kind(), ErrorKind::Config);
}
