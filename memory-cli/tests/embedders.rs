//! Embedders as a person selects them: a service by its API, and a real model.
//!
//! The model is all-MiniLM-L6-v2, which `cargo xtask models` makes. Without it its test is ignored,
//! or fails where `MEMQUILL_REQUIRE` names fastembed.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a test")]

mod common;
#[path = "../../memory-models/tests/support/server.rs"]
mod server;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use memquill::embed::models_folder;
use serde_json::{Value, json};

use self::common::Place;
use self::server::{Reply, Server};

const MODEL: &str = "all-MiniLM-L6-v2";

fn main() -> ExitCode {
    let there = models_folder().is_some_and(|models| models.join(MODEL).is_dir());
    let required = std::env::var("MEMQUILL_REQUIRE").unwrap_or_default().contains("fastembed");
    let kind = if there { "" } else { "no model: cargo xtask models" };
    let trial = |name: &str, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    let trials = vec![
        trial("a_service_is_selected_by_option_and_environment", service),
        trial("e3_a_key_that_is_refused_is_not_shown", refused),
        trial("a_model_finds_by_meaning", meaning)
            .with_kind(kind)
            .with_ignored_flag(!there && !required),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn contents(answer: &Value) -> Vec<&str> {
    let hits = answer["results"].as_array().unwrap();
    hits.iter().map(|hit| hit["content"].as_str().unwrap()).collect()
}

fn service() {
    // A text's vector points where its length does.
    let server = Server::start(|_, request| Reply::vectors(request, 1_536));
    let url = server.url();
    let environment = [
        ("OPENAI_BASE_URL", url.as_str()),
        ("OPENAI_API_KEY", "sk-CANARY"),
        ("MEMQUILL_EMBEDDER", "openai:text-embedding-3-small"),
    ];
    let place = Place::new();
    let long = "a passage ".repeat(40);
    let lines = ["short", long.trim()].map(|text| json!({"content": text}).to_string()).join("\n");
    place.file("two.jsonl", &lines);
    place.run_in(&environment, ["ingest", "two.jsonl"], "").json(0);
    let search = ["search", "--search", "vector", "sharp"];
    let found = place.run_in(&environment, search, "").json(0);
    assert_eq!(contents(&found)[0], "short");
    for request in server.seen() {
        assert_eq!(request.header("authorization"), Some("Bearer sk-CANARY"));
        assert_eq!(request.body["model"], "text-embedding-3-small");
    }

    // The option stands above the environment; the namespace keeps to its space (V3).
    let other = place.run_in(&environment, ["--embedder", "hashing"].into_iter().chain(search), "");
    let other = other.json(1);
    assert_eq!(other["error"]["code"], "conflict");
    assert!(other["error"]["message"].as_str().unwrap().contains("text-embedding-3-small"));
}

fn refused() {
    let server = Server::start(|_, _| Reply::new(401, json!({"error": {"message": "sk-CANARY"}})));
    let place = Place::new();
    let url = server.url();
    let environment = [("OPENAI_BASE_URL", url.as_str()), ("OPENAI_API_KEY", "sk-CANARY")];
    let embedder = ["--embedder", "openai:text-embedding-3-small", "--store", "memory:"];
    let arguments = embedder.into_iter().chain(["--log", "debug", "search", "x"]);
    let run = place.run_in(&environment, arguments, "");
    assert!(!format!("{}{}", run.stdout, run.stderr).contains("CANARY"), "{}", run.stderr);
    assert_eq!(run.json(1)["error"]["code"], "permission_denied");
}

fn meaning() {
    let place = Place::new();
    let models = models_folder().unwrap().display().to_string();
    let environment =
        [("MEMQUILL_MODELS", models.as_str()), ("MEMQUILL_EMBEDDER", "fastembed:all-MiniLM-L6-v2")];
    let passages = [
        "The vehicle refuses to start when its battery is flat.",
        "Simmer the tomatoes for twenty minutes, then add basil.",
        "Employees may take thirty days of paid leave each year.",
        "The cat slept on the windowsill all afternoon.",
    ];
    for (at, passage) in passages.iter().enumerate() {
        place.file(&format!("docs/{at}.md"), passage);
    }
    place.run_in(&environment, ["ingest", "docs"], "").json(0);
    // A question shares no more than articles and prepositions with its passage.
    for (question, passage) in [
        ("my car won't turn on", passages[0]),
        ("recipe for a pasta sauce", passages[1]),
        ("how long is the annual holiday", passages[2]),
        ("where did the kitten nap", passages[3]),
    ] {
        let search = ["search", "--search", "vector", question];
        let found = place.run_in(&environment, search, "").json(0);
        assert_eq!(contents(&found)[0], passage, "{question}");
    }
}
