//! `VECTOR_DATABASE` (M3).

use std::sync::Arc;
use std::time::Duration;

use memquill_core::kinds::{VectorDatabase, VectorDatabaseConfig};
use memquill_core::{Backend, BackendParts, Capabilities, Durability, Feature, content_hash};
use serde_json::{Value, json};

use crate::support::{Toy, backend, fails, ok, texts, try_vectors, vectors};

fn database() -> VectorDatabase {
    vectors(&backend().0, &Toy::new(), VectorDatabaseConfig::default())
}

/// Four documents, of which two are about the same thing in other words.
fn filled() -> VectorDatabase {
    let database = database();
    let documents = json!([
        {"id": "cat", "content": "the cat sleeps", "document_type": "faq"},
        {"id": "feline", "content": "a feline rests", "metadata": {"page": 2}},
        {"id": "car", "content": "the car is red", "metadata": {"page": 2}},
        {"id": "soup", "content": "soup of the day"},
    ]);
    ok(&database, "store", &json!({"documents": documents}));
    database
}

fn ids(answer: &Value) -> Vec<&str> {
    texts(&answer["results"], "/id")
}

#[test]
fn m3_a_document_is_stored_under_its_hash() {
    let database = database();
    let input = json!({"content": "the cat", "metadata": {"a": 1}});
    let answer = ok(&database, "store", &input);
    let hash = content_hash("the cat");
    assert_eq!(
        answer,
        json!({"success": true, "id": hash, "content_hash": hash, "embedding_dimensions": 4,
               "outcome": "inserted", "created_at": "2026-11-22T20:31:00.000Z", "expires_at": null})
    );
    assert_eq!(ok(&database, "store", &input)["outcome"], "unchanged");
    let other = json!({"content": "the cat", "metadata": {"a": 2}});
    assert_eq!(ok(&database, "store", &other)["outcome"], "updated");
}

#[test]
fn m3_documents_are_embedded_as_a_batch() {
    let embedder = Toy::new();
    let database = vectors(&backend().0, &embedder, VectorDatabaseConfig::default());
    let documents = json!([
        {"content": "a"}, {"content": "b", "embedding": [1, 0, 0, 0.5]}, {"content": "c"},
        {"content": "d"}, {"content": "a"},
    ]);
    let answer = ok(&database, "store", &json!({"documents": documents}));
    assert_eq!(answer["results"].as_array().unwrap().len(), 5);
    assert_eq!(*embedder.batches.lock().unwrap(), [2, 2], "what has an embedding is not embedded");
    assert_eq!(ok(&database, "get_statistics", &json!({}))["total_documents"], 4);
}

#[test]
fn g4_a_batch_too_large_is_refused_before_it_is_embedded() {
    let embedder = Toy::new();
    let database = vectors(&backend().0, &embedder, VectorDatabaseConfig::default());
    let documents: Vec<Value> = (0..1001).map(|n| json!({"content": n.to_string()})).collect();
    let error = fails(&database, "store", &json!({"documents": documents}));
    assert_eq!(error["code"], "invalid_input");
    assert!(embedder.batches.lock().unwrap().is_empty());
}

#[test]
fn e4_what_is_wrong_is_told_before_anything_is_embedded() {
    let embedder = Toy::new();
    let database = vectors(&backend().0, &embedder, VectorDatabaseConfig::default());
    for wrong in [
        json!({"content": "a", "id": ""}),
        json!({"content": "a", "metadata": {"k": "\0"}}),
        json!({"content": "a".repeat((1 << 20) + 1)}),
        json!({"content": "a", "namespace": ""}),
        json!({"content": "a", "embedding": [1, 0, 0, 0], "embedded_text": "b"}),
    ] {
        let documents = json!({"documents": [{"content": "right"}, wrong]});
        let input = if wrong["namespace"].is_null() { &documents } else { &wrong };
        assert_eq!(fails(&database, "store", input)["code"], "invalid_input", "{wrong:.100}");
    }
    for wrong in [
        json!({"query": "a", "limit": 20_000}),
        json!({"query": "a", "namespace": ""}),
        json!({"query": "a", "similarity_threshold": 2}),
        json!({"query": "a".repeat((1 << 20) + 1)}),
    ] {
        assert_eq!(fails(&database, "retrieve", &wrong)["code"], "invalid_input", "{wrong:.100}");
    }
    assert!(embedder.batches.lock().unwrap().is_empty());
}

#[test]
fn m3_store_takes_either_a_document_or_documents() {
    let database = database();
    for wrong in [
        json!({}),
        json!({"content": "a", "documents": []}),
        json!({"documents": [{"content": "a"}], "id": "x"}),
        json!({"documents": [{"id": "x"}]}),
        json!({"documents": [{"content": "a", "namespace": "x"}]}),
        json!({"content": "a", "embedding": [1.0, 2.0]}),
        json!({"content": "a", "embedding": [0, 0, 0, 0]}),
        json!({"content": "a", "ttl_seconds": -1}),
        json!({"content": "a", "language": "xx"}),
    ] {
        assert_eq!(fails(&database, "store", &wrong)["code"], "invalid_input", "{wrong}");
    }
    let error = fails(&database, "store", &json!({"documents": [{"contents": "a"}]}));
    assert_eq!(error["hint"], r#"did you mean "content"?"#);
    assert_eq!(ok(&database, "get_statistics", &json!({}))["total_documents"], 0);
}

#[test]
fn m3_a_hybrid_search_finds_by_meaning_and_by_words() {
    let answer = ok(&filled(), "retrieve", &json!({"query": "feline"}));
    assert_eq!(ids(&answer), ["feline", "cat"], "words and meaning stand above meaning alone");
    assert_eq!((&answer["search"], &answer["complete"]), (&json!("hybrid"), &json!(true)));
    let hit = &answer["results"][0];
    assert_eq!(hit["content"], "a feline rests");
    assert_eq!(hit["metadata"], json!({"page": 2}));
    assert_eq!(hit["content_hash"], content_hash("a feline rests"));
    assert!(hit["similarity"].as_f64().unwrap() > 0.999);
    assert!(answer["results"][1]["similarity"].as_f64().unwrap() > 0.999);
    let answer = ok(&filled(), "retrieve", &json!({"query": "feline", "search": "text"}));
    assert_eq!(ids(&answer), ["feline"]);
    let answer = ok(&filled(), "retrieve", &json!({"query": "feline", "search": "vector"}));
    assert_eq!(ids(&answer), ["cat", "feline"]);
    let answer = ok(&filled(), "retrieve", &json!({"query": "feline", "limit": 1}));
    assert_eq!(ids(&answer), ["feline"]);
}

#[test]
fn m3_a_threshold_that_the_query_states_holds_for_every_hit() {
    let database = filled();
    // "the" stands in three documents; only one of them means a cat.
    let answer = ok(&database, "retrieve", &json!({"query": "the feline"}));
    assert_eq!(answer["result_count"], 4, "the configured one does not hold for words");
    for search in ["hybrid", "text", "vector"] {
        let input = json!({"query": "the cat", "similarity_threshold": 0.9, "search": search});
        for hit in ok(&database, "retrieve", &input)["results"].as_array().unwrap() {
            assert!(hit["similarity"].as_f64().unwrap() >= 0.9, "{search}: {hit}");
        }
    }
    let wrong = json!({"query": "cat", "similarity_threshold": 1.1});
    assert_eq!(fails(&database, "retrieve", &wrong)["code"], "invalid_input");
}

#[test]
fn m3_an_embedding_alone_is_searched_by_meaning() {
    let database = filled();
    let embedding = json!([1.0, 0.1, 0.1, 0.1]);
    let answer = ok(&database, "retrieve", &json!({"embedding": embedding, "limit": 2}));
    assert_eq!((ids(&answer), &answer["search"]), (vec!["cat", "feline"], &json!("vector")));
    for wrong in [
        json!({}),
        json!({"embedding": embedding, "search": "hybrid"}),
        json!({"embedding": [1.0]}),
        json!({"query": "cat", "limit": 0}),
        json!({"query": "cat", "filter": {"page": 2}}),
        json!({"query": "cat", "search": "fuzzy"}),
    ] {
        assert_eq!(fails(&database, "retrieve", &wrong)["code"], "invalid_input", "{wrong}");
    }
}

#[test]
fn m3_document_type_and_filter_combine() {
    let database = filled();
    let find = |input: Value| {
        let answer = ok(&database, "retrieve", &input);
        ids(&answer).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(find(json!({"query": "feline", "document_type": "faq"})), ["cat"]);
    let filter = json!({"metadata.page": 2});
    assert_eq!(find(json!({"query": "feline", "filter": filter})), ["feline"]);
    let both = json!({"query": "feline", "filter": filter, "document_type": "faq"});
    assert!(find(both).is_empty());
}

#[test]
fn m3_what_is_embedded_may_be_more_than_the_content() {
    let database = filled();
    let input = json!({"content": "it purrs", "embedded_text": "a cat; it purrs", "id": "it"});
    ok(&database, "store", &input);
    let by = |search: &str, query: &str| {
        let input = json!({"query": query, "search": search, "limit": 9});
        let answer = ok(&database, "retrieve", &input);
        ids(&answer).contains(&"it")
    };
    assert!(by("vector", "feline"), "by the meaning of what was embedded");
    assert!(by("text", "purrs") && !by("text", "cat"), "by the words of the content alone");
}

#[test]
fn m3_neighbours_come_with_their_hit_and_stand_once() {
    let database = filled();
    let documents: Vec<Value> = ["zero", "one", "two", "three", "four"]
        .iter()
        .enumerate()
        .map(|(n, word)| {
            let metadata = json!({"source": "count.txt", "passage": n});
            json!({"content": format!("passage {word}"), "id": word, "metadata": metadata})
        })
        .collect();
    let other = json!({"source": "other.txt", "passage": 1});
    ok(&database, "store", &json!({"documents": documents}));
    ok(&database, "store", &json!({"content": "elsewhere", "id": "x", "metadata": other}));
    let find = |query: &str, extra: Value| {
        let mut input = json!({"query": query, "search": "text", "neighbours": 1});
        input.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        ok(&database, "retrieve", &input)["results"].clone()
    };
    let beside = |hit: &Value, side: &str| -> Vec<String> {
        let records = hit[side].as_array().unwrap().iter();
        records.map(|record| record["id"].as_str().unwrap().to_owned()).collect()
    };
    let hits = find("two", json!({}));
    assert_eq!(
        (beside(&hits[0], "before"), beside(&hits[0], "after")),
        (vec!["one".into()], vec!["three".into()])
    );
    let hits = find("one three", json!({}));
    assert_eq!(
        (beside(&hits[0], "before"), beside(&hits[0], "after")),
        (vec!["zero".into()], vec!["two".into()])
    );
    assert_eq!(
        (beside(&hits[1], "before"), beside(&hits[1], "after")),
        (vec![], vec!["four".into()])
    );
    let hits = find("two", json!({"neighbours": 0}));
    assert!(hits[0].get("before").is_none());
    let context = json!({"query": "two", "search": "text", "neighbours": 1, "format": "compact"});
    let context = ok(&database, "get_context", &context);
    assert_eq!(context["context"], "passage one passage two passage three");
    for wrong in [
        json!({"neighbours": 101}),
        json!({"neighbours": -1}),
        json!({"diversity": 1.5}),
        json!({"diversity": -0.1}),
        json!({"recency_half_life": -1}),
    ] {
        let mut input = json!({"query": "two"});
        input.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        assert_eq!(fails(&database, "retrieve", &input)["code"], "invalid_input", "{wrong}");
    }
}

#[test]
fn m3_diversity_prefers_what_is_unlike() {
    let database = filled();
    let find = |extra: Value| {
        let mut input = json!({"query": "feline", "search": "vector", "limit": 2,
                               "similarity_threshold": -1});
        input.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        ok(&database, "retrieve", &input)
    };
    assert_eq!(ids(&find(json!({}))), ["cat", "feline"]);
    let diverse = find(json!({"diversity": 0.9}));
    assert_eq!(ids(&diverse)[0], "cat");
    assert_ne!(ids(&diverse)[1], "feline", "it means the same");
    assert_eq!(ids(&find(json!({"recency_half_life": 3600}))), ["cat", "feline"]);
}

/// Whoever chooses among the candidates chooses among the same ones (V10).
#[test]
fn m3_a_trace_of_diversity_changes_no_score() {
    let database = database();
    let documents: Vec<Value> = (0..400)
        .map(|n| json!({"id": format!("{n:03}"), "content": format!("{} {n}", ["cat", "car"][n % 2])}))
        .collect();
    ok(&database, "store", &json!({"documents": documents}));
    let scores = |diversity: f64| {
        let input = json!({"query": "cat 7", "limit": 3, "diversity": diversity,
                           "similarity_threshold": -1});
        let answer = ok(&database, "retrieve", &input);
        let scores = answer["results"].as_array().unwrap().iter();
        let scores: Vec<f64> = scores.map(|hit| hit["score"].as_f64().unwrap()).collect();
        scores.iter().map(|score| score / scores[0]).collect::<Vec<_>>()
    };
    for (plain, diverse) in scores(0.0).into_iter().zip(scores(1e-12)) {
        assert!((plain - diverse).abs() < 1e-6, "{plain} {diverse}");
    }
}

#[test]
fn m3_namespaces_are_apart() {
    let database = filled();
    ok(&database, "store", &json!({"content": "another cat", "id": "b", "namespace": "other"}));
    let answer = ok(&database, "retrieve", &json!({"query": "cat", "namespace": "other"}));
    assert_eq!(ids(&answer), ["b"]);
    let statistics = ok(&database, "get_statistics", &json!({"namespace": "other"}));
    assert_eq!(statistics["total_documents"], 1);
    let other = json!({"namespace": "other", "documents": 1, "embedding_model": "toy",
                       "embedding_dimensions": 4});
    assert!(statistics["namespaces"].as_array().unwrap().contains(&other), "{statistics}");
    assert_eq!(ok(&database, "clear", &json!({"namespace": "other"}))["deleted"], 1);
    assert_eq!(ok(&database, "get_statistics", &json!({}))["total_documents"], 4);
}

#[test]
fn m3_a_context_is_cut_between_documents_and_says_what_it_left_out() {
    let database = filled();
    let answer = ok(&database, "get_context", &json!({"query": "feline"}));
    assert_eq!(
        answer["context"],
        "1. [text, similarity 1.00] a feline rests\n2. [faq, similarity 1.00] the cat sleeps"
    );
    let input = json!({"query": "feline", "format": "list", "max_tokens": 5});
    let answer = ok(&database, "get_context", &input);
    assert_eq!(answer["context"], "- a feline rests");
    assert_eq!((&answer["document_count"], &answer["omitted"]), (&json!(1), &json!(1)));
    assert_eq!((&answer["tokens"], &answer["format"]), (&json!(5), &json!("list")));
    let input = json!({"query": "feline", "format": "compact"});
    let answer = ok(&database, "get_context", &input);
    assert_eq!(answer["context"], "a feline rests | the cat sleeps");
    let error = fails(&database, "get_context", &json!({}));
    assert!(error["hint"].as_str().unwrap().contains("query"));
    let error = fails(&database, "get_context", &json!({"query": "cat", "max_tokens": 0}));
    assert!(error["message"].as_str().unwrap().contains("max_tokens"));
}

#[test]
fn m3_clear_takes_ids_a_filter_or_the_namespace() {
    let database = filled();
    assert_eq!(ok(&database, "clear", &json!({"ids": ["cat", "nobody"]}))["deleted"], 1);
    let filter = json!({"filter": {"metadata.page": 2}});
    assert_eq!(ok(&database, "clear", &filter)["deleted"], 2);
    let both = json!({"ids": ["soup"], "document_type": "text"});
    assert_eq!(fails(&database, "clear", &both)["code"], "invalid_input");
    assert_eq!(ok(&database, "clear", &json!({"document_type": "text"}))["deleted"], 1);
    assert_eq!(ok(&database, "clear", &json!({}))["deleted"], 0, "G9");
    assert_eq!(ok(&database, "get_statistics", &json!({}))["namespaces"], json!([]));
}

#[test]
fn v11_a_document_expires() {
    let (backend, clock) = backend();
    let database = vectors(&backend, &Toy::new(), VectorDatabaseConfig::default());
    let answer = ok(&database, "store", &json!({"content": "cat", "ttl_seconds": 1.5}));
    assert_eq!(answer["expires_at"], "2026-11-22T20:31:01.500Z");
    ok(&database, "store", &json!({"content": "feline", "ttl_seconds": 0}));
    clock.advance(Duration::from_millis(1500));
    let answer = ok(&database, "retrieve", &json!({"query": "cat"}));
    assert_eq!(texts(&answer["results"], "/content"), ["feline"]);
}

#[test]
fn m3_another_model_than_the_configured_one_is_refused() {
    let (backend, _) = backend();
    let model = |name: &str| VectorDatabaseConfig {
        embedding_model: Some(name.into()),
        ..VectorDatabaseConfig::default()
    };
    assert!(try_vectors(&backend, &Toy::new(), model("toy")).is_ok());
    let error = try_vectors(&backend, &Toy::new(), model("minilm")).unwrap_err();
    assert_eq!(error.code(), "config");
    assert!(error.message().contains("minilm") && error.message().contains("toy"));
}

#[test]
fn m3_a_wrong_configuration_names_its_key() {
    let (backend, _) = backend();
    let default = VectorDatabaseConfig::default;
    for (key, config) in [
        (
            "similarity_threshold",
            VectorDatabaseConfig { similarity_threshold: f32::NAN, ..default() },
        ),
        ("max_results", VectorDatabaseConfig { max_results: 0, ..default() }),
        ("namespace", VectorDatabaseConfig { namespace: String::new(), ..default() }),
        ("dense_weight", VectorDatabaseConfig { dense_weight: 2.0, ..default() }),
    ] {
        let error = try_vectors(&backend, &Toy::new(), config).unwrap_err();
        assert!(error.message().contains(key), "{key}: {error}");
    }
}

#[test]
fn g10_a_hybrid_search_is_never_weakened() {
    let (full, _) = backend();
    let backend = Backend::new(BackendParts {
        name: "wordless",
        capabilities: Capabilities::new(Durability::Process, [Feature::RecordExpiry]),
        conversations: None,
        vectors: Some(Arc::clone(full.vectors().unwrap())),
        working: None,
        control: Arc::clone(full.control()),
    });
    let database = vectors(&backend, &Toy::new(), VectorDatabaseConfig::default());
    ok(&database, "store", &json!({"content": "cat"}));
    let error = fails(&database, "retrieve", &json!({"query": "cat"}));
    assert_eq!((&error["code"], &error["backend"]), (&json!("unsupported"), &json!("wordless")));
    assert!(error["hint"].as_str().unwrap().contains("set search to vector"), "{error}");
    let answer = ok(&database, "retrieve", &json!({"query": "cat", "search": "vector"}));
    assert_eq!(answer["result_count"], 1);
    let filtered = json!({"query": "cat", "document_type": "faq"});
    let error = fails(&database, "retrieve", &filtered);
    assert!(error["message"].as_str().unwrap().contains("filters"), "{error}");
}
