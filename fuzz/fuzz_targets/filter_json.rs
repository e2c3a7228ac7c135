//! Any text is a filter or an error; a filter survives its own JSON form and can be evaluated.
#![no_main]

use memquill::driver::FilterTarget;
use memquill::{Filter, Timestamp, json};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let Ok(value) = json::parse::<Value>(text) else { return };
    let Ok(filter) = Filter::from_json(&value) else { return };
    let again = Filter::from_json(&filter.to_json()).expect("its own form");
    assert_eq!(again, filter);
    // The filter's own text serves as metadata, so that its fields are often there.
    let metadata = match value {
        Value::Object(metadata) => metadata,
        other => [("a".to_owned(), other)].into_iter().collect(),
    };
    let target =
        FilterTarget { metadata: &metadata, document_type: "text", created_at: Timestamp::default() };
    assert_ne!(filter.matches(target), Filter::Not(Box::new(filter)).matches(target));
});
