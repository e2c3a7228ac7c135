//! What holds for every input, whoever made it up.

use std::fmt::Write as _;

use memquill_core::json::{canonical, compare_numbers, equal, identical, parse};
use memquill_core::text::{self, Language};
use memquill_core::{Cursor, Filter, Message, StoreUrl, Timestamp};
use proptest::prelude::*;
use serde_json::{Number, Value, json};

fn number() -> impl Strategy<Value = Number> {
    prop_oneof![
        any::<i64>().prop_map(Number::from),
        any::<u64>().prop_map(Number::from),
        (-3_i64..3).prop_map(Number::from),
        any::<f64>().prop_filter_map("finite", Number::from_f64),
        (-3_i32..3).prop_filter_map("finite", |n| Number::from_f64(f64::from(n) / 2.0)),
    ]
}

/// Any text, or one of identifiers, punctuation and scripts without spaces.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), alphabet_text()]
}

fn alphabet_text() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "a",
        "Get",
        "user",
        "HTTP",
        "X",
        "s",
        "1",
        "2024",
        "00",
        "_",
        ".",
        "-",
        "/",
        "::",
        "@",
        "#",
        "++",
        ",",
        " ",
        "'",
        "’",
        "\u{AD}",
        "猫",
        "東",
        "ー",
        "カ",
        "แ",
        "한",
        "é",
        "ß",
        "İ",
        "ά",
        "العربية",
        "…",
        "½",
        "the",
    ]);
    prop::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat())
}

/// Any JSON, with keys that filters and messages know among the others.
fn value() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        "[a-z.\\\\]{0,8}",
        prop::sample::select(vec![
            "and",
            "or",
            "not",
            "metadata.a",
            "metadata.",
            "document_type",
            "created_at",
            "eq",
            "ne",
            "gt",
            "in",
            "not_in",
            "exists",
            "contains",
            "role",
            "content",
            "tool_calls",
        ])
        .prop_map(String::from),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::sample::select(vec!["user", "2026-11-22T20:31:00Z", "1969-12-31T23:59:59.999+14:00"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Filters, as JSON that reads.
fn filter() -> impl Strategy<Value = Value> {
    let field = prop::sample::select(vec!["metadata.a", r"metadata.b\.c.d", "document_type"]);
    let test = prop_oneof![
        (prop::sample::select(vec!["eq", "ne", "gt", "gte", "lt", "lte", "contains"]), value())
            .prop_map(|(name, value)| json!({name: value})),
        (prop::sample::select(vec!["in", "not_in"]), prop::collection::vec(value(), 0..3))
            .prop_map(|(name, values)| json!({name: values})),
        any::<bool>().prop_map(|wanted| json!({"exists": wanted})),
    ];
    let leaf = (field, test).prop_map(|(field, test)| json!({field: test}));
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|all| json!({"and": all})),
            prop::collection::vec(inner.clone(), 0..3).prop_map(|any| json!({"or": any})),
            inner.prop_map(|one| json!({"not": one})),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_json_is_a_filter_or_an_error(value in value()) {
        if let Ok(filter) = Filter::from_json(&value) {
            prop_assert_eq!(Filter::from_json(&filter.to_json()).unwrap(), filter);
        }
    }

    #[test]
    fn v8_not_is_the_exact_negation(filter in filter(), metadata in value(), kind in ".{0,4}") {
        let metadata = match metadata { Value::Object(m) => m, other => [("a".to_owned(), other)].into_iter().collect() };
        let target = memquill_core::FilterTarget {
            metadata: &metadata,
            document_type: &kind,
            created_at: Timestamp::default(),
        };
        let holds = |value: &Value| Filter::from_json(value).unwrap().matches(target);
        prop_assert_eq!(holds(&json!({"not": filter.clone()})), !holds(&filter));
    }

    #[test]
    fn any_json_is_a_message_or_an_error(value in value()) {
        if let Ok(message) = Message::from_chat(&value) {
            prop_assert_eq!(Message::from_chat(&Value::from(message.clone())).unwrap(), message);
        }
    }

    #[test]
    fn g3_text_that_is_read_is_what_was_written(value in value()) {
        let text = value.to_string();
        let read: Value = parse(&text).unwrap();
        prop_assert!(identical(&read, &value), "{text}");
        prop_assert!(equal(&read, &value));
    }

    #[test]
    fn any_text_is_json_or_an_error(text in "[\\[\\]{}\",:0-9eE.+\\-tfn\\\\ a]{0,64}") {
        let strict = parse::<Value>(&text);
        if let (Ok(strict), Ok(plain)) = (&strict, serde_json::from_str::<Value>(&text)) {
            prop_assert!(identical(strict, &plain));
        } else {
            prop_assert!(strict.is_err());
        }
    }

    #[test]
    fn canonical_text_is_equal_exactly_for_identical_values(a in value(), b in value()) {
        prop_assert_eq!(canonical(&a) == canonical(&b), identical(&a, &b));
    }

    #[test]
    fn numbers_are_in_one_order(a in number(), b in number(), c in number()) {
        prop_assert_eq!(compare_numbers(&a, &b), compare_numbers(&b, &a).reverse());
        if compare_numbers(&a, &b).is_le() && compare_numbers(&b, &c).is_le() {
            prop_assert!(compare_numbers(&a, &c).is_le());
        }
    }

    #[test]
    fn any_text_is_a_cursor_or_an_error(text in any::<String>(), position in any::<String>()) {
        let _ = text.parse::<Cursor>();
        let cursor = Cursor::new("list_entries", position.clone());
        let again: Cursor = cursor.to_string().parse().unwrap();
        prop_assert_eq!(again.position("list_entries").unwrap(), position);
    }

    #[test]
    fn e3_no_password_shows(password in "[ -~]{8,20}", host in "[a-z]{1,8}", query in "[a-z=&?]{0,8}") {
        // A password that the rest of the URL happens to contain proves nothing.
        let mut rest = String::new();
        write!(rest, "postgres://***@{host}/db?{query}").unwrap();
        prop_assume!(!rest.contains(&password));
        let url: StoreUrl = format!("postgres://user:{password}@{host}/db?{query}").parse().unwrap();
        prop_assert!(!url.to_string().contains(&password), "{url}");
        let debug = format!("{url:?}");
        prop_assert!(!debug.contains(&password));
    }

    #[test]
    fn times_keep_their_text_and_order(a in -62_167_219_200_000_i64..=253_402_207_200_000,
                                       b in -62_167_219_200_000_i64..=253_402_207_200_000) {
        let (a, b) = (Timestamp::from_millis(a).unwrap(), Timestamp::from_millis(b).unwrap());
        prop_assert_eq!(a.to_string().parse::<Timestamp>().unwrap(), a);
        prop_assert_eq!(a.to_string().cmp(&b.to_string()), a.cmp(&b));
    }

    #[test]
    fn any_text_has_words_that_are_short_and_not_empty(text in any::<String>()) {
        let terms = text::terms(&text, Some(Language::English)).frequencies;
        for word in terms.keys() {
            prop_assert!(!word.is_empty() && word.len() <= 128);
            prop_assert!(!word.contains(char::is_whitespace), "{word:?}");
        }
    }

    #[test]
    fn v9_a_text_is_found_by_all_that_its_query_looks_for(text in any_text()) {
        for language in [None, Some(Language::English)] {
            let terms = text::terms(&text, language).frequencies;
            for word in text::query_words(&text, language) {
                prop_assert!(terms.contains_key(&word), "{word:?} of {text:?}");
            }
            for word in text::words(&text, language) {
                prop_assert!(terms.contains_key(&word), "{word:?} of {text:?}");
            }
        }
    }

    #[test]
    fn v9_a_character_of_a_script_without_spaces_finds_what_holds_it(
        before in alphabet_text(),
        character in "[\u{4e00}-\u{4eff}\u{3042}-\u{304a}\u{0e01}-\u{0e20}]",
        after in alphabet_text(),
    ) {
        let terms = text::terms(&format!("{before}{character}{after}"), None).frequencies;
        prop_assert_eq!(text::query_words(&character, None), [character.clone()]);
        prop_assert!(terms.contains_key(&character));
    }
}
