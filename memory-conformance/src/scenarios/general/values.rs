//! Values (G3).

use memquill_core::json::{Object, identical};
use memquill_core::{
    Append, Entry, ErrorKind, Get, GetRecords, ListEntries, Message, NewRecord, Put, ReadMessages,
    Result,
};
use serde_json::{Value, json};

use super::traces::{keep_content, record, records};
use crate::scenario::{Family, Test, scenarios};
use crate::support::{object, refused};

scenarios! {
    facet: None, family: Family::Example;
    g3: integers_over_the_full_range_come_back;
    g3: floats_come_back_bit_for_bit;
    g3: null_missing_and_empty_differ;
    g3: every_type_comes_back_as_itself;
    g3: object_keys_come_back_whatever_they_are;
    g3: text_of_every_plane_comes_back;
    g3: text_is_not_normalised_or_trimmed;
    g3: text_that_looks_like_something_else_stays_text;
    g3: nesting_of_128_comes_back;
    g3: nesting_of_129_is_refused;
    g3: a_nul_character_is_refused_wherever_it_stands;
}

/// Stores the object wherever JSON is kept, and gives what comes back, with the place.
async fn places(test: &Test, value: &Object) -> Result<Vec<(&'static str, Value)>> {
    let scope = test.scope();
    let backend = test.backend();
    let mut back = Vec::new();
    if let Ok(conversations) = backend.conversations() {
        let message = Message {
            metadata: value.clone(),
            tool_calls: vec![value.clone().into()],
            ..Message::assistant("x")
        };
        conversations.append(&scope, &Append::new("c", vec![message])).await?;
        let read = conversations.read(&scope, &ReadMessages::all("c")).await?;
        let message = read.messages[0].message.clone();
        back.push(("a message's metadata", message.metadata.into()));
        back.push(("a tool call", message.tool_calls[0].clone()));
    }
    if let Ok(vectors) = backend.vectors() {
        let new = record("r", "x").with_metadata(value.clone());
        vectors.store(&scope, &records(vec![new])).await?;
        let get =
            GetRecords { namespace: "n".into(), ids: vec!["r".into()], with_embeddings: false };
        let found = vectors.get(&scope, &get).await?.remove(0);
        back.push(("a record's metadata", found.metadata.into()));
    }
    if let Ok(working) = backend.working() {
        let put = Put { metadata: value.clone(), ..Put::new("k", value.clone()) };
        working.put(&scope, &put).await?;
        let entry = working.get(&scope, &Get::new("k")).await?.expect("an entry");
        back.push(("an entry's value", entry.value.into_json().expect("JSON")));
        back.push(("an entry's metadata", entry.metadata.into()));
        let listed = working.list(&scope, &ListEntries::default()).await?.items.remove(0);
        back.push(("a listed entry's value", listed.value.into_json().expect("JSON")));
        back.push(("a listed entry's metadata", listed.metadata.into()));
    }
    Ok(back)
}

/// The object comes back exactly from wherever JSON is kept.
async fn comes_back(test: &Test, value: Value) {
    for (place, back) in places(test, &object(value.clone())).await.unwrap() {
        assert!(identical(&back, &value), "as {place}, {value} came back as {back}");
    }
}

async fn integers_over_the_full_range_come_back(test: Test) {
    comes_back(
        &test,
        json!({
            "zero": 0, "one": 1, "minus": -1,
            "i64": [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX],
            "u64": [i64::MAX.unsigned_abs() + 1, u64::MAX - 1, u64::MAX],
            "where floats round": [9_007_199_254_740_991_u64, 9_007_199_254_740_993_u64,
                                   -9_007_199_254_740_993_i64],
        }),
    )
    .await;
}

async fn floats_come_back_bit_for_bit(test: Test) {
    let floats = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.1,
        0.1 + 0.2,
        1.0 / 3.0,
        5e-324,
        -5e-324,
        2.225_073_858_507_201e-308,
        f64::MIN_POSITIVE,
        f64::EPSILON,
        f64::MAX,
        f64::MIN,
        1e308,
        1e23,
        9_007_199_254_740_993.0,
        1.797_693_134_862_315_7e308,
        123_456_789.123_456_79,
    ];
    comes_back(&test, json!({"floats": floats})).await;
    comes_back(&test, json!({"float": 1.0, "integer": 1})).await;
    comes_back(&test, json!({"float": 1e2, "integer": 100})).await;
}

async fn null_missing_and_empty_differ(test: Test) {
    for value in [
        json!({}),
        json!({"a": null}),
        json!({"a": {}}),
        json!({"a": []}),
        json!({"a": ""}),
        json!({"a": [null]}),
        json!({"a": [null, null]}),
        json!({"a": {"b": null}}),
        json!({"a": [[], {}]}),
        json!({"a": false}),
        json!({"a": 0}),
    ] {
        comes_back(&test, value).await;
    }
}

async fn every_type_comes_back_as_itself(test: Test) {
    let values = json!({
        "null": null, "true": true, "false": false, "number": 1, "text": "1",
        "list": [1, "1", 1.0, true, null, [1], {"a": 1}], "object": {"a": {"b": {"c": []}}},
    });
    comes_back(&test, values.clone()).await;
    let Ok(working) = test.backend().working() else { return };
    let scope = test.scope();
    for value in object(values).values() {
        working.put(&scope, &Put::new("k", value.clone())).await.unwrap();
        let Entry { value: back, .. } =
            working.get(&scope, &Get::new("k")).await.unwrap().expect("an entry");
        assert!(back.is_identical(&value.clone().into()), "{value} came back as {back:?}");
    }
}

async fn object_keys_come_back_whatever_they_are(test: Test) {
    let keys = [
        "",
        " ",
        "a.b",
        "a",
        "A",
        "$",
        "$ne",
        "@",
        "'",
        "\"",
        "\\",
        "/",
        "%",
        "*",
        "[0]",
        "0",
        "-1",
        "__proto__",
        "null",
        "é",
        "e\u{301}",
        "中",
        "👩\u{200D}🚀",
        "\n",
        "\u{1}",
        "\u{7f}",
        "\u{FFFF}",
        "key with spaces",
        "metadata",
        "$.store.book[*]",
        "$oid",
        "type",
        "id",
        "key",
        "value",
    ];
    let value: Object = keys.iter().zip(0..).map(|(key, n)| (key.to_string(), n.into())).collect();
    comes_back(&test, json!(value)).await;
    comes_back(&test, json!({"nested": {"deeper": value}})).await;
    comes_back(&test, json!({"a".repeat(1_000): 1})).await;
}

/// Texts that stores have been seen to change.
const TEXTS: [&str; 16] = [
    "  leading and trailing\t\n",
    "\r\n.\r\n",
    "\u{1}\u{2}\u{8}\u{b}\u{1b}[31m\u{7f}\u{80}\u{9f}",
    "e\u{301} \u{e9} \u{212B} \u{c5} ﬁ",
    "\u{301}",
    "\u{200D}\u{200B}\u{FEFF}\u{202E}\u{2028}\u{2029}",
    "\u{FEFF}byte order mark",
    "😀👩\u{200D}👩\u{200D}👧🏳\u{FE0F}\u{200D}🌈",
    "𝕬𝖘𝖙𝖗𝖆𝖑 𐐷 \u{10FFFF} \u{10000}",
    "\u{FFFD}\u{FFFE}\u{FFFF}\u{D7FF}\u{E000}",
    "中文 日本語 한국어 עברית العربية हिन्दी ไทย",
    "\\ \\\\ \\n \\u0000 \\x00 %00 &#0;",
    "\"quoted\" 'single' `back` $$dollar$$ --comment /* c */ ;",
    "{\"json\": [1, 2, {\"a\": null}]}",
    "<a href=\"x\">&amp;</a> {{mustache}} ${var} $1 :name ?",
    "Ⅷ ① ½ ﷽ ẞ ß ı İ ſ",
];

/// The text comes back exactly from wherever text is kept.
async fn text_comes_back(test: &Test, text: &str) {
    let scope = test.scope();
    for (place, back) in keep_content(test.backend(), &scope, text).await {
        assert_eq!(back.unwrap().as_bytes(), text.as_bytes(), "{text:?} as {place}");
    }
    if let Ok(working) = test.backend().working() {
        working.put(&scope, &Put::new("k", text)).await.unwrap();
        let entry = working.get(&scope, &Get::new("k")).await.unwrap().expect("an entry");
        assert_eq!(entry.value, text);
    }
}

async fn text_of_every_plane_comes_back(test: Test) {
    for text in TEXTS {
        text_comes_back(&test, text).await;
        comes_back(&test, json!({"text": text})).await;
    }
}

async fn text_is_not_normalised_or_trimmed(test: Test) {
    for text in ["e\u{301}", "\u{e9}", " a ", "a\r\nb", "a\nb", "A\u{30a}", "ﬀ", "\u{FEFF}a"] {
        text_comes_back(&test, text).await;
    }
}

async fn text_that_looks_like_something_else_stays_text(test: Test) {
    for text in ["1", "1.0", "-0", "true", "null", "[]", "{}", "\"\"", "1e999", "NaN", "2026-11-22"]
    {
        text_comes_back(&test, text).await;
        comes_back(&test, json!({"text": text, text: text})).await;
    }
}

/// An object that nests so deep, lists and objects in turn.
fn nested(depth: usize) -> Value {
    (1..depth).fold(json!({}), |inner, level| {
        if level % 2 == 0 || level == depth - 1 { json!({"a": inner}) } else { json!([inner]) }
    })
}

async fn nesting_of_128_comes_back(test: Test) {
    for depth in [1, 2, 64, 127, 128] {
        comes_back(&test, nested(depth)).await;
    }
}

async fn nesting_of_129_is_refused(test: Test) {
    let scope = test.scope();
    let deep = object(nested(129));
    if let Ok(conversations) = test.backend().conversations() {
        for message in [
            Message { metadata: deep.clone(), ..Message::user("x") },
            Message { tool_calls: vec![deep.clone().into()], ..Message::assistant("x") },
        ] {
            let append = Append::new("c", vec![message]);
            refused(conversations.append(&scope, &append).await, ErrorKind::InvalidInput);
        }
    }
    if let Ok(vectors) = test.backend().vectors() {
        let request = records(vec![record("r", "x").with_metadata(deep.clone())]);
        refused(vectors.store(&scope, &request).await, ErrorKind::InvalidInput);
    }
    if let Ok(working) = test.backend().working() {
        let with_metadata = Put { metadata: deep.clone(), ..Put::new("k", 1) };
        for put in [with_metadata, Put::new("k", deep)] {
            refused(working.put(&scope, &put).await, ErrorKind::InvalidInput);
        }
    }
}

async fn a_nul_character_is_refused_wherever_it_stands(test: Test) {
    for text in ["\0", "a\0", "\0a", "a\0b", "\\u0000\0"] {
        refused_everywhere(&test, text).await;
    }
}

async fn refused_everywhere(test: &Test, nul: &str) {
    let scope = test.scope();
    let objects =
        [json!({"a": nul}), json!({nul: 1}), json!({"a": [{"b": nul}]}), json!({"a": {nul: null}})]
            .map(object);
    if let Ok(conversations) = test.backend().conversations() {
        let mut messages = vec![Message::user(nul)];
        for object in &objects {
            messages.push(Message { metadata: object.clone(), ..Message::user("x") });
            let tool_calls = vec![object.clone().into()];
            messages.push(Message { tool_calls, ..Message::assistant("x") });
        }
        for message in messages {
            let append = Append::new("c", vec![Message::user("legal"), message]);
            refused(conversations.append(&scope, &append).await, ErrorKind::InvalidInput);
        }
        let read = conversations.read(&scope, &ReadMessages::all("c")).await.unwrap();
        assert_eq!(read.messages, []);
    }
    if let Ok(vectors) = test.backend().vectors() {
        let mut refused_records = vec![record("r", nul)];
        refused_records
            .extend(objects.iter().map(|object| record("r", "x").with_metadata(object.clone())));
        for record in refused_records {
            let request = records(vec![NewRecord::new("legal", vec![1.0, 0.0]), record]);
            refused(vectors.store(&scope, &request).await, ErrorKind::InvalidInput);
        }
    }
    if let Ok(working) = test.backend().working() {
        let mut puts = vec![Put::new("k", nul)];
        for object in objects {
            puts.push(Put { metadata: object.clone(), ..Put::new("k", 1) });
            puts.push(Put::new("k", object));
        }
        for put in puts {
            refused(working.put(&scope, &put).await, ErrorKind::InvalidInput);
        }
        assert_eq!(working.statistics(&scope).await.unwrap().entries, 0);
    }
}
