//! `WORKING_MEMORY` (M4).

use std::sync::Arc;
use std::time::Duration;

use memquill_core::kinds::{WorkingMemory, WorkingMemoryConfig, strict};
use memquill_core::{HeuristicCounter, ManualClock};
use serde_json::{Value, json};

use crate::support::{backend, fails, ok, scope, working};

fn memory() -> (WorkingMemory, Arc<ManualClock>) {
    with(json!({}))
}

fn with(config: Value) -> (WorkingMemory, Arc<ManualClock>) {
    let (backend, clock) = backend();
    let config: WorkingMemoryConfig =
        strict::from_object("config", config.as_object().unwrap()).unwrap();
    (working(&backend, config), clock)
}

#[test]
fn m4_an_entry_lives_for_an_hour_unless_it_says_otherwise() {
    let (memory, _) = memory();
    let answer = ok(&memory, "store", &json!({"key": "goal", "value": {"n": 1}}));
    let version = &answer["version"];
    assert_eq!(
        answer,
        json!({"success": true, "key": "goal", "version": version,
               "expires_at": "2026-11-22T21:31:00.000Z", "ttl_seconds": 3600, "ttl_capped": false})
    );
    let answer = ok(&memory, "retrieve", &json!({"key": "goal"}));
    assert_eq!(
        answer,
        json!({"success": true, "key": "goal", "found": true, "value": {"n": 1},
               "version": version, "metadata": {}, "created_at": "2026-11-22T20:31:00.000Z",
               "updated_at": "2026-11-22T20:31:00.000Z", "expires_at": "2026-11-22T21:31:00.000Z"})
    );
}

#[test]
fn m4_a_ttl_of_zero_never_expires_and_fractions_count() {
    let (memory, clock) = memory();
    let answer = ok(&memory, "store", &json!({"key": "a", "value": 1, "ttl_seconds": 0}));
    assert_eq!((&answer["expires_at"], &answer["ttl_seconds"]), (&Value::Null, &json!(0)));
    let answer = ok(&memory, "store", &json!({"key": "b", "value": 1, "ttl_seconds": 0.25}));
    assert_eq!(answer["ttl_seconds"], 0.25);
    clock.advance(Duration::from_millis(250));
    assert_eq!(ok(&memory, "retrieve", &json!({}))["data"], json!({"a": 1}));
    for wrong in [json!(-1), json!(1e-9), json!("1h"), json!(1e300)] {
        let error = fails(&memory, "store", &json!({"key": "c", "value": 1, "ttl_seconds": wrong}));
        assert!(error["message"].as_str().unwrap().contains("ttl"), "{error}");
    }
}

#[test]
fn m4_a_ttl_above_the_longest_is_cut_and_the_answer_says_so() {
    let (memory, _) = with(json!({"max_ttl": 10, "default_ttl": 20}));
    for input in
        [json!({"key": "a", "value": 1, "ttl_seconds": 11}), json!({"key": "a", "value": 1})]
    {
        let answer = ok(&memory, "store", &input);
        assert_eq!((&answer["ttl_seconds"], &answer["ttl_capped"]), (&json!(10), &json!(true)));
    }
    let answer = ok(&memory, "store", &json!({"key": "a", "value": 1, "ttl_seconds": 10}));
    assert_eq!(answer["ttl_capped"], false);
    let answer = ok(&memory, "store", &json!({"key": "a", "value": 1, "ttl_seconds": 0}));
    assert_eq!((&answer["ttl_seconds"], &answer["ttl_capped"]), (&json!(0), &json!(false)));
}

#[test]
fn g3_values_come_back_as_they_went_in() {
    let (memory, _) = memory();
    for value in [json!(null), json!(5.0), json!(u64::MAX), json!({"b": [null], "a": -0.0})] {
        ok(&memory, "store", &json!({"key": "v", "value": value}));
        let answer = ok(&memory, "retrieve", &json!({"key": "v"}));
        assert_eq!(answer["value"].to_string(), value.to_string());
    }
    assert_eq!(fails(&memory, "store", &json!({"key": "v"}))["code"], "invalid_input");
}

#[test]
fn w3_a_store_may_be_conditional() {
    let (memory, _) = memory();
    let put = |condition: Value| {
        let mut input = json!({"key": "k", "value": 1});
        input.as_object_mut().unwrap().extend(condition.as_object().unwrap().clone());
        input
    };
    let error = fails(&memory, "store", &put(json!({"if_version": 7})));
    assert_eq!((&error["code"], &error["current_version"]), (&json!("conflict"), &json!(0)));
    let version = ok(&memory, "store", &put(json!({"if_version": 0})))["version"].clone();
    let error = fails(&memory, "store", &put(json!({"if_absent": true})));
    assert_eq!(error["current_version"], version);
    ok(&memory, "store", &put(json!({"if_version": version})));
    assert_eq!(fails(&memory, "store", &put(json!({"if_version": version})))["code"], "conflict");
    let both = put(json!({"if_version": 1, "if_absent": true}));
    assert_eq!(fails(&memory, "store", &both)["code"], "invalid_input");
}

#[test]
fn w7_entries_are_stored_all_or_none() {
    let (memory, _) = memory();
    let entries = json!([{"key": "a", "value": 1, "ttl_seconds": 0}, {"key": "b", "value": null}]);
    let answer = ok(&memory, "store", &json!({"entries": entries}));
    assert_eq!(answer["entries"][1]["key"], "b");
    assert_eq!(answer["entries"][0]["ttl_seconds"], 0);
    let entries = json!([{"key": "c", "value": 1}, {"key": "a", "value": 2, "if_absent": true}]);
    assert_eq!(fails(&memory, "store", &json!({"entries": entries}))["code"], "conflict");
    let data = ok(&memory, "retrieve", &json!({}))["data"].clone();
    assert_eq!(data, json!({"a": 1, "b": null}));
    for wrong in [
        json!({"entries": [], "key": "a"}),
        json!({"entries": [1]}),
        json!({"entries": []}),
        json!({"entries": [{"key": "a", "val": 1}]}),
    ] {
        assert_eq!(fails(&memory, "store", &wrong)["code"], "invalid_input", "{wrong}");
    }
}

#[test]
fn m4_a_missing_key_is_an_answer() {
    let (memory, _) = memory();
    assert_eq!(
        ok(&memory, "retrieve", &json!({"key": "nobody"})),
        json!({"success": true, "key": "nobody", "found": false, "value": null})
    );
    ok(&memory, "store", &json!({"key": "a", "value": 1}));
    assert_eq!(
        ok(&memory, "retrieve", &json!({"keys": ["b", "a", "c"]})),
        json!({"success": true, "total_keys": 1, "data": {"a": 1}, "missing": ["b", "c"]})
    );
}

#[test]
fn m4_retrieve_lists_by_prefix_in_pages() {
    let (memory, _) = memory();
    for key in ["a%1", "a%2", "a%3", "ab"] {
        ok(&memory, "store", &json!({"key": key, "value": key}));
    }
    let answer = ok(&memory, "retrieve", &json!({"prefix": "a%", "limit": 2}));
    assert_eq!(answer["data"], json!({"a%1": "a%1", "a%2": "a%2"}));
    let next = json!({"prefix": "a%", "limit": 2, "cursor": answer["next"]});
    let answer = ok(&memory, "retrieve", &next);
    assert_eq!((&answer["data"], &answer["next"]), (&json!({"a%3": "a%3"}), &Value::Null));
    assert_eq!(ok(&memory, "retrieve", &json!({}))["total_keys"], 4);
    for wrong in [
        json!({"key": "a", "keys": ["a"]}),
        json!({"key": "a", "limit": 1}),
        json!({"keys": []}),
        json!({"cursor": "x"}),
    ] {
        assert_eq!(fails(&memory, "retrieve", &wrong)["code"], "invalid_input", "{wrong}");
    }
}

#[test]
fn w4_reading_by_key_may_refresh() {
    let (memory, clock) = with(json!({"refresh_on_read": true, "default_ttl": 10}));
    for key in ["read", "read too", "left"] {
        ok(&memory, "store", &json!({"key": key, "value": 1}));
    }
    clock.advance(Duration::from_secs(6));
    let answer = ok(&memory, "retrieve", &json!({"key": "read"}));
    assert_eq!(answer["expires_at"], "2026-11-22T20:31:16.000Z");
    ok(&memory, "retrieve", &json!({"keys": ["read too"]}));
    ok(&memory, "retrieve", &json!({}));
    clock.advance(Duration::from_secs(6));
    let data = ok(&memory, "retrieve", &json!({}))["data"].clone();
    assert_eq!(data, json!({"read": 1, "read too": 1}));
}

#[test]
fn m4_a_context_is_bounded_in_keys_and_tokens() {
    let (memory, _) = memory();
    for (key, value) in [("a", json!("one two")), ("b", json!([1])), ("c", json!("three"))] {
        ok(&memory, "store", &json!({"key": key, "value": value}));
    }
    let context = |input: Value| ok(&memory, "get_context", &input);
    let answer = context(json!({}));
    assert_eq!(answer["context"], "a: one two\nb: [1]\nc: three");
    assert_eq!((&answer["key_count"], &answer["more_keys"]), (&json!(3), &json!(false)));
    let answer = context(json!({"max_keys": 2, "format": "compact"}));
    assert_eq!(answer["context"], "a: one two | b: [1]");
    assert_eq!(answer["more_keys"], true);
    let answer = context(json!({"format": "list", "max_tokens": 6, "prefix": ""}));
    assert_eq!((&answer["context"], &answer["omitted"]), (&json!("- a: one two"), &json!(2)));
    assert_eq!(context(json!({"prefix": "c"}))["context"], "c: three");
    for wrong in [json!({"max_keys": 0}), json!({"max_tokens": 0}), json!({"format": "yaml"})] {
        assert_eq!(fails(&memory, "get_context", &wrong)["code"], "invalid_input", "{wrong}");
    }
}

#[test]
fn m4_clear_takes_a_key_or_all() {
    let (memory, _) = memory();
    for key in ["a", "b", "c"] {
        ok(&memory, "store", &json!({"key": key, "value": 1}));
    }
    assert_eq!(ok(&memory, "clear", &json!({"key": "a"}))["cleared"], 1);
    assert_eq!(ok(&memory, "clear", &json!({"key": "a"}))["cleared"], 0);
    assert_eq!(fails(&memory, "clear", &json!({"prefix": "a"}))["code"], "invalid_input");
    assert_eq!(ok(&memory, "clear", &json!({}))["cleared"], 2);
}

#[test]
fn m4_statistics_say_how_it_is_configured() {
    let (memory, _) = with(json!({"max_ttl": 0}));
    ok(&memory, "store", &json!({"key": "a", "value": 1}));
    ok(&memory, "store", &json!({"key": "b", "value": 1, "ttl_seconds": 0}));
    assert_eq!(
        ok(&memory, "get_statistics", &json!({})),
        json!({"success": true, "entries": 2, "expiring": 1, "default_ttl": 3600, "max_ttl": 0,
               "refresh_on_read": false})
    );
}

#[test]
fn m4_a_wrong_configuration_names_its_key() {
    let read = |config: Value| {
        strict::from_object::<WorkingMemoryConfig>("config", config.as_object().unwrap())
    };
    for (key, config) in
        [("default_ttl", json!({"default_ttl": -1})), ("max_ttl", json!({"max_ttl": "week"}))]
    {
        assert!(read(config).unwrap_err().message().contains(key), "{key}");
    }
    for (key, config) in [
        ("max_ttl", json!({"max_ttl": 1e11})),
        ("refresh_on_read", json!({"refresh_on_read": true, "default_ttl": 0})),
    ] {
        let store = Arc::clone(backend().0.working().unwrap());
        let config = read(config).unwrap();
        let error = WorkingMemory::new(scope(), store, Arc::new(HeuristicCounter), config);
        assert!(error.unwrap_err().message().contains(key), "{key}");
    }
    let config = read(json!({"default_ttl": 1.5, "max_ttl": 0})).unwrap();
    let written = serde_json::to_value(&config).unwrap();
    assert_eq!(written, json!({"default_ttl": 1.5, "max_ttl": 0, "refresh_on_read": false}));
}
