//! A real model: all-MiniLM-L6-v2, which `cargo xtask models` makes.
//!
//! Without it these tests are ignored, or fail where `MEMQUILL_REQUIRE` names fastembed.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use memquill_core::{Embedder as _, ErrorKind, cosine_similarity, embed_documents};
use memquill_models::{FastembedConfig, FastembedEmbedder, Pooling, models_folder};

const MODEL: &str = "all-MiniLM-L6-v2";

type Test = fn(FastembedEmbedder);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let there = models_folder().is_some_and(|models| models.join(MODEL).is_dir());
    if !there && std::env::var("MEMQUILL_REQUIRE").unwrap_or_default().contains("fastembed") {
        eprintln!("MEMQUILL_REQUIRE names fastembed, and there is no model: cargo xtask models");
        return ExitCode::FAILURE;
    }
    let tests: [(&str, Test); 8] = [
        ("texts_are_near_by_meaning", |embedder| block_on(meaning(embedder))),
        ("vectors_are_those_of_the_model", |embedder| block_on(reference(embedder))),
        ("a_batch_is_in_order_whatever_the_lengths", |embedder| block_on(order(embedder))),
        ("queries_are_answered_while_a_batch_is_computed", |embedder| block_on(fairness(embedder))),
        ("g7_a_dropped_call_leaves_the_model_usable", |embedder| block_on(dropped(embedder))),
        ("a_model_is_found_by_name_and_by_folder", |embedder| block_on(places(embedder))),
        ("prefixes_and_the_limit_of_tokens_are_kept", |embedder| block_on(prefixes(embedder))),
        ("what_is_wrong_with_a_folder_is_told", |embedder| block_on(wrong(embedder))),
    ];
    // One model for all, loaded once.
    let shared = there.then(|| FastembedEmbedder::new(FastembedConfig::new(MODEL)).unwrap());
    let trials = tests
        .into_iter()
        .map(|(name, test)| {
            let embedder = shared.clone();
            let kind = if there { "" } else { "no model: cargo xtask models" };
            Trial::test(name, move || {
                test(embedder.ok_or_else(|| Failed::from("no model"))?);
                Ok(())
            })
            .with_kind(kind)
            .with_ignored_flag(!there)
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn block_on<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap().block_on(test)
}

fn folder() -> PathBuf {
    models_folder().unwrap().join(MODEL)
}

async fn meaning(embedder: FastembedEmbedder) {
    assert_eq!((embedder.space().model.as_str(), embedder.space().dimensions), (MODEL, 384));
    assert_eq!(embedder.limits().tokens, Some(256));
    let texts = ["The automobile would not start.", "She cooked a tomato soup."];
    let vectors = embedder.embed_documents(&texts).await.unwrap();
    let query = embedder.embed_query("a broken car").await.unwrap();
    // No word of the question is in the text.
    let [near, far] = [0, 1].map(|at| cosine_similarity(&query, &vectors[at]));
    assert!(near > 0.45 && far < 0.2, "{near} and {far}");
    for vector in vectors.iter().chain([&query]) {
        assert!((cosine_similarity(vector, vector) - 1.0).abs() < 1e-12);
        let length: f64 = vector.iter().map(|x| f64::from(*x).powi(2)).sum();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
    }
}

/// The similarities that are published of the model for its example sentences, to three places.
async fn reference(embedder: FastembedEmbedder) {
    let texts = [
        "That is a happy person",
        "That is a happy dog",
        "That is a very happy person",
        "Today is a sunny day",
    ];
    let vectors = embedder.embed_documents(&texts).await.unwrap();
    for (at, expected) in [(1, 0.695), (2, 0.943), (3, 0.257)] {
        let found = cosine_similarity(&vectors[0], &vectors[at]);
        assert!((found - expected).abs() < 0.002, "{}: {found}, not {expected}", texts[at]);
    }
}

async fn order(embedder: FastembedEmbedder) {
    let texts: Vec<String> = (0..70_usize)
        .map(|n| format!("text number {n} {}", "and so on ".repeat(n * 13 % 20)))
        .chain([String::new(), "汉字".into()])
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let all = embed_documents(&embedder, &texts).await.unwrap();
    assert_eq!(all.len(), texts.len());
    for at in [0, 1, 35, 69, 70, 71] {
        let alone = embedder.embed_documents(&texts[at..=at]).await.unwrap();
        let similarity = cosine_similarity(&alone[0], &all[at]);
        assert!(similarity > 0.99999, "{:?}: {similarity}", texts[at]);
    }
    assert!(embedder.embed_documents(&[]).await.unwrap().is_empty());
    let error = embedder.embed_documents(&vec!["x"; 1_001]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

async fn fairness(embedder: FastembedEmbedder) {
    let texts = vec!["a text of some words that takes a while to compute"; 400];
    let clone = embedder.clone();
    let mut batch = tokio::spawn(async move { clone.embed_documents(&texts).await });
    // Three one after the other, each of which waits for no more than one batch of the 13.
    for _ in 0..3 {
        tokio::select! {
            biased;
            query = embedder.embed_query("question") => drop(query.unwrap()),
            _ = &mut batch => panic!("the batch was done before the question was answered"),
        }
    }
    assert_eq!(batch.await.unwrap().unwrap().len(), 400);
}

async fn dropped(embedder: FastembedEmbedder) {
    for _ in 0..5 {
        let mut call = Box::pin(embedder.embed_query("dropped"));
        assert!(futures_util::poll!(&mut call).is_pending());
    }
    assert_eq!(embedder.embed_query("kept").await.unwrap().len(), 384);
}

async fn places(embedder: FastembedEmbedder) {
    let mut config = FastembedConfig::new(folder().display().to_string());
    config.threads = NonZeroUsize::new(1);
    let by_folder = FastembedEmbedder::new(config.clone()).unwrap();
    by_folder.load().await.unwrap();
    assert_eq!(by_folder.space(), embedder.space());
    let [a, b] = [&by_folder, &embedder].map(|embedder| embedder.embed_query("one text"));
    assert!(cosine_similarity(&a.await.unwrap(), &b.await.unwrap()) > 0.99999);

    config.name = Some("mine".into());
    assert_eq!(FastembedEmbedder::new(config).unwrap().space().model, "mine");
    let error = FastembedEmbedder::new(FastembedConfig::new("all-MiniLM-L6-v3")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

async fn prefixes(embedder: FastembedEmbedder) {
    let mut config = FastembedConfig::new(MODEL);
    config.query_prefix = Some("query: ".into());
    config.document_prefix = Some("passage: ".into());
    config.max_tokens = NonZeroUsize::new(8);
    let prefixed = FastembedEmbedder::new(config).unwrap();
    assert_eq!(prefixed.limits().tokens, Some(8));
    let query = prefixed.embed_query("cats").await.unwrap();
    let document = prefixed.embed_documents(&["cats"]).await.unwrap();
    let spelled = embedder.embed_documents(&["query: cats", "passage: cats"]).await.unwrap();
    assert!(cosine_similarity(&query, &spelled[0]) > 0.99999);
    assert!(cosine_similarity(&document[0], &spelled[1]) > 0.99999);
    // What is beyond the limit does not count.
    let texts = ["one two three four five six", "one two three four five six seven"];
    let cut = prefixed.embed_documents(&texts).await.unwrap();
    assert!(cosine_similarity(&cut[0], &cut[1]) > 0.99999);
}

async fn wrong(_: FastembedEmbedder) {
    let scratch = tempfile::tempdir().unwrap();
    let copy = scratch.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    let refused = |path: &Path| {
        let error =
            FastembedEmbedder::new(FastembedConfig::new(path.display().to_string())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        error.to_string()
    };
    assert!(refused(&copy).contains("model.onnx"));
    std::fs::copy(folder().join("model.onnx"), copy.join("model.onnx")).unwrap();
    assert!(refused(&copy).contains("config.json"));
    std::fs::copy(folder().join("config.json"), copy.join("config.json")).unwrap();
    assert!(refused(&copy).contains("pooled"));

    // Found out when it is loaded: an error, no panic, and the next call tries again.
    let mut config = FastembedConfig::new(copy.display().to_string());
    config.pooling = Some(Pooling::Mean);
    let embedder = FastembedEmbedder::new(config).unwrap();
    for _ in 0..2 {
        let error = embedder.embed_query("text").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("tokenizer.json"), "{error}");
    }
    for file in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"] {
        std::fs::copy(folder().join(file), copy.join(file)).unwrap();
    }
    assert_eq!(embedder.embed_query("text").await.unwrap().len(), 384);
    std::fs::write(copy.join("model.onnx"), "no model").unwrap();
    let mut config = FastembedConfig::new(copy.display().to_string());
    config.pooling = Some(Pooling::Mean);
    let error = FastembedEmbedder::new(config).unwrap().embed_query("text").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}
