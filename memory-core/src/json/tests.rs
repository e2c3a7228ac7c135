//! Tests of reading and comparing JSON.

use serde_json::json;

use super::*;

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

#[test]
fn g3_numbers_are_exact_or_refused() {
    for kept in ["-9223372036854775808", "18446744073709551615", "5e-324", "-0.0", "1e308"] {
        assert!(parse::<Value>(kept).is_ok(), "{kept}");
    }
    for refused in ["18446744073709551616", "-9223372036854775809", "1e309", "[1, -1e999]"] {
        assert!(parse::<Value>(refused).is_err(), "{refused}");
    }
    assert!(parse::<Value>(r#""18446744073709551616 \" 1e999""#).is_ok(), "text is not scanned");
}

#[test]
fn g3_depth_128_is_kept_and_129_refused() {
    let deepest: Value = parse(&nested(128)).unwrap();
    assert!(check("value", &deepest).is_ok());
    let deeper: Value = parse(&nested(129)).unwrap();
    assert!(check("value", &deeper).is_err());
    assert!(parse::<Value>(&nested(100_000)).is_err());
}

#[test]
fn g3_a_key_that_an_object_has_twice_is_refused() {
    for twice in [
        r#"{"a": 1, "a": 1}"#,
        r#"{"a": 1, "b": [{"c": {}, "c": 2}]}"#,
        r#"{"a": {"x": 1}, "b": 2, "a" : 3}"#,
        r#"{"a": 1, "\u0061": 2}"#,
        r#"[{"": 1, "": 2}]"#,
    ] {
        let error = parse::<Value>(twice).unwrap_err();
        assert!(error.message().contains("twice"), "{twice}: {error}");
    }
    for once in [
        r#"{"a": {"a": {"a": 1}}, "b": {"a": 1}}"#,
        r#"[{"a": 1}, {"a": 1}, "a", "a"]"#,
        r#"{"a": "x: \"a\": 1", "b": "a"}"#,
    ] {
        assert!(parse::<Value>(once).is_ok(), "{once}");
    }
    let keys = |n: usize| (0..n).map(|key| format!(r#""{key}": {{"0": 1}}"#));
    let many: Vec<_> = keys(200).collect();
    assert!(parse::<Value>(&format!("{{{}}}", many.join(","))).is_ok());
    assert!(parse::<Value>(&format!("{{{}, \"17\": 1}}", many.join(","))).is_err());
}

#[test]
fn g3_what_cannot_be_kept_is_named_by_its_path() {
    let error = check("the value", &json!({"a": [1, {"b": "x\0"}]})).unwrap_err();
    assert_eq!(error.message(), "the value at .a[1].b holds a NUL character");
    let error = check_text("the content", "hello world\0").unwrap_err();
    assert_eq!(error.message(), "the content holds a NUL character at byte 12");
}

#[test]
fn errors_use_the_words_of_users_and_not_of_rust() {
    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code)]
    struct Sample {
        count: usize,
        small: Option<u32>,
        on: Option<bool>,
        list: Option<Vec<i64>>,
    }
    let said = |text: &str| parse::<Sample>(text).unwrap_err().message().to_owned();
    assert_eq!(
        said(r#"{"count": "x"}"#),
        r#"found text "x", expected a whole number from 0 at line 1 column 13"#
    );
    assert!(said(r#"{"count": -1}"#).contains("expected a whole number from 0 at"));
    assert!(said(r#"{"count": 1, "on": 1}"#).contains("expected true or false"));
    assert!(said(r#"{"count": 1, "list": {}}"#).contains("found an object, expected a list"));
    assert!(said("[]").contains("expected an object") || said("[]").contains("found a list"));
    assert!(said("{").starts_with("not valid JSON: EOF while parsing"));
    for rust in ["usize", "u32", "i64", "struct", "sequence", "map"] {
        for text in [r#"{"count": 1.5, "small": 1}"#, r#"{"count": 1, "small": []}"#, "5"] {
            assert!(!said(text).contains(rust), "{}", said(text));
        }
    }
}

#[test]
fn e1_no_type_of_rust_is_in_an_error() {
    use std::num::{NonZeroI32, NonZeroU16, NonZeroUsize};

    #[derive(Debug, serde::Deserialize)]
    struct Point {
        #[expect(dead_code)]
        x: i8,
    }
    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code)]
    struct Pair(i8, i8);
    #[derive(Debug, serde::Deserialize)]
    #[serde(untagged)]
    #[expect(dead_code)]
    enum Either {
        Number(u8),
        Point(Point),
    }
    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code)]
    enum Named {
        One,
        Two(u8),
        Three { x: u8 },
    }
    fn said<T: serde::de::DeserializeOwned + std::fmt::Debug>(text: &str) -> String {
        parse::<T>(text).unwrap_err().message().to_owned()
    }
    let values = ["0", "-5", "1.5", "1e300", "true", "null", "\"x\"", "[]", "{}", "[[]]"];
    let mut all = Vec::new();
    for value in values {
        let either = format!(r#"{{"Two": {value}}}"#);
        let three = format!(r#"{{"Three": {value}}}"#);
        all.extend(
            [
                parse::<NonZeroU16>(value).map(drop),
                parse::<NonZeroUsize>(value).map(drop),
                parse::<NonZeroI32>(value).map(drop),
                parse::<Point>(value).map(drop),
                parse::<Pair>(value).map(drop),
                parse::<Either>(value).map(drop),
                parse::<Named>(value).map(drop),
                parse::<Named>(&either).map(drop),
                parse::<Named>(&three).map(drop),
                parse::<[u8; 2]>(value).map(drop),
                parse::<(f32, char)>(value).map(drop),
                parse::<std::collections::BTreeMap<String, i128>>(value).map(drop),
            ]
            .into_iter()
            .filter_map(|read| read.err().map(|error| error.message().to_owned())),
        );
    }
    for said in all {
        let words: Vec<&str> = said.split(|c: char| !c.is_alphanumeric()).collect();
        for rust in [
            "usize", "u8", "u16", "i8", "i32", "f32", "i128", "nonzero", "struct", "enum",
            "variant", "sequence", "map", "tuple", "newtype", "unit", "Point", "Pair", "Either",
            "Named",
        ] {
            assert!(!words.contains(&rust), "{said}");
        }
    }
    assert!(said::<NonZeroUsize>("0").contains("expected a whole number from 1"));
}

#[test]
fn numbers_compare_by_value_beyond_the_floats() {
    let cmp = |a: Value, b: Value| match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare_numbers(&a, &b),
        _ => unreachable!(),
    };
    assert_eq!(cmp(json!(1), json!(1.0)), Ordering::Equal);
    assert_eq!(
        cmp(json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_992.0)),
        Ordering::Greater
    );
    assert_eq!(cmp(json!(u64::MAX), json!(18_446_744_073_709_551_616.0)), Ordering::Less);
    assert_eq!(cmp(json!(-1.5), json!(-1)), Ordering::Less);
    assert_eq!(cmp(json!(i64::MIN), json!(-1e300)), Ordering::Greater);
}

#[test]
fn canonical_text_sorts_keys_and_tells_floats_from_integers() {
    assert_eq!(canonical(&json!({"b": [1, 1.0], "a": "\n"})), r#"{"a":"\n","b":[1,1.0]}"#);
    assert!(identical(&json!({"a": 1, "b": 2}), &json!({"b": 2, "a": 1})));
    assert!(!identical(&json!(0.0), &json!(-0.0)));
}
