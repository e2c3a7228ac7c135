//! Suggestions for names that nobody knows.

/// `did you mean "…"?`, for the known name nearest to `unknown`, if one is near.
///
/// ```
/// use memquill_core::did_you_mean;
/// assert_eq!(did_you_mean("max_mesages", ["max_messages"]).unwrap(), r#"did you mean "max_messages"?"#);
/// assert_eq!(did_you_mean("colour", ["max_messages"]), None);
/// ```
pub fn did_you_mean<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let unknown = unknown.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&unknown, &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| format!("did you mean {name:?}?"))
}
