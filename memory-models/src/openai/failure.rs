//! Translates what a service answers instead of what it was asked for into errors (section E).

use std::error::Error as _;
use std::time::Duration;

use async_openai::error::OpenAIError;
use memquill_core::{Error, ErrorKind, ExposeSecret as _, RetryHint, SecretString};
use reqwest::header::HeaderMap;
use reqwest::{Response, StatusCode};
use serde_json::Value;

/// The most bytes of an error's answer that are read.
const MAX_READ: usize = 64 << 10;
/// The most characters of an answer that an error shows.
const MAX_SHOWN: usize = 300;

const KEY_HINT: &str = "check api_key, or OPENAI_API_KEY";
const URL_HINT: &str = "check model and base_url, which ends with the API's version, as in \
                        http://localhost:8080/v1";

/// What a service is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    Embeddings,
    Chat,
}

impl Api {
    /// The most bytes of an answer: of 1,000 vectors of 16,000 numbers of 20 digits, or of a text
    /// longer than any model's.
    pub(super) fn max_answer(self) -> usize {
        match self {
            Self::Embeddings => 320 << 20,
            Self::Chat => 4 << 20,
        }
    }

    fn answer(self) -> &'static str {
        match self {
            Self::Embeddings => "a list of vectors",
            Self::Chat => "a chat completion",
        }
    }

    /// What is too much, in the hint of an error.
    fn less(self) -> &'static str {
        match self {
            Self::Embeddings => "lower batch_texts or batch_tokens",
            Self::Chat => "ask with less text",
        }
    }
}

/// Translates an answer without success.
pub(super) async fn refused(api: Api, mut response: Response, key: Option<&SecretString>) -> Error {
    let (status, wait) = (response.status(), retry_after(response.headers()));
    let mut body = Vec::new();
    while let Ok(Some(part)) = response.chunk().await {
        body.extend_from_slice(&part);
        if body.len() > MAX_READ {
            break;
        }
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let error = match &body["error"] {
        // `{"error": "text"}` and `{"detail": …}` are others' ways.
        Value::Null => &body["detail"],
        error => error,
    };
    let text = error["message"].as_str().or_else(|| error.as_str()).unwrap_or_default();
    let code = error["code"].as_str().unwrap_or_default();
    let failure = of_status(api, status, code, &shown(text, key));
    match wait {
        Some(wait) if failure.is_transient() => failure.with_retry_after(wait),
        _ => failure,
    }
}

fn of_status(api: Api, status: StatusCode, code: &str, text: &str) -> Error {
    let colon = if text.is_empty() { "" } else { ": " };
    let said = format!("the service answered {status}{colon}{text}");
    match status {
        // What it says may repeat the key.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::new(
            ErrorKind::PermissionDenied,
            format!("the service answered {status}: it does not accept the key"),
        )
        .with_hint(KEY_HINT),
        StatusCode::TOO_MANY_REQUESTS if code == "insufficient_quota" => {
            Error::new(ErrorKind::RateLimited, said)
                .with_retry(RetryHint::Permanent)
                .with_hint("the account has no credit left")
        }
        StatusCode::TOO_MANY_REQUESTS => Error::new(ErrorKind::RateLimited, said)
            .with_hint("lower concurrency, or raise the account's limits"),
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => {
            Error::new(ErrorKind::Timeout, said).with_maybe_applied(false)
        }
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            Error::invalid_input(said).with_hint("a text may be longer than the model takes")
        }
        StatusCode::PAYLOAD_TOO_LARGE => Error::invalid_input(said).with_hint(api.less()),
        // The server does not know the method or the path: no matter how often it is asked.
        StatusCode::NOT_IMPLEMENTED => Error::config(said).with_hint(URL_HINT),
        status if status.is_server_error() => Error::unavailable(said),
        _ => Error::config(said).with_hint(URL_HINT),
    }
}

/// The service's words, shortened, and without the key should it repeat it.
fn shown(text: &str, key: Option<&SecretString>) -> String {
    let key = key.map(SecretString::expose_secret).filter(|key| !key.is_empty());
    let text = key.map_or_else(|| text.to_owned(), |key| text.replace(key, "***"));
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// `Retry-After` in seconds or as a date, or the milliseconds that OpenAI also sends.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(millis) = text("retry-after-ms").and_then(|text| text.parse::<f64>().ok()) {
        return Duration::try_from_secs_f64(millis / 1000.0).ok();
    }
    let wait = text("retry-after")?;
    if let Ok(seconds) = wait.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let until = jiff::fmt::rfc2822::parse(wait).ok()?.timestamp();
    let left = until.duration_since(jiff::Timestamp::now());
    Some(Duration::try_from(left).unwrap_or_default())
}

/// Translates an error of the client.
pub(super) fn of_client(api: Api, error: OpenAIError, key: Option<&SecretString>) -> Error {
    match error {
        OpenAIError::Boxed(error) => match error.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => Error::internal(shown(&other.to_string(), key)),
        },
        OpenAIError::Reqwest(error) => of_transport(api, error),
        OpenAIError::JSONDeserialize(error, _) if error.is_eof() => {
            Error::unavailable("the service's answer ends too early")
        }
        // What it says of the answer may quote it, texts of any length among it.
        OpenAIError::JSONDeserialize(error, _) => {
            let (answer, line, column) = (api.answer(), error.line(), error.column());
            Error::config(format!(
                "the service's answer is not {answer}, from line {line} column {column} on"
            ))
            .with_hint(URL_HINT)
        }
        other => Error::internal(shown(&other.to_string(), key)),
    }
}

pub(super) fn of_transport(api: Api, error: reqwest::Error) -> Error {
    let (timeout, connect, builder) = (error.is_timeout(), error.is_connect(), error.is_builder());
    // The URL says no more than the configuration.
    let error = error.without_url();
    let mut why = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        why = format!("{why}: {deeper}");
        cause = deeper.source();
    }
    if timeout {
        return Error::new(ErrorKind::Timeout, "the service did not answer in time")
            .with_maybe_applied(false)
            .with_hint(format!("raise timeout_seconds, or {}", api.less()));
    }
    if builder {
        return Error::config(format!("the request cannot be made: {why}"));
    }
    if connect {
        return Error::unavailable(format!("the service cannot be reached: {why}"))
            .with_hint("check base_url, and that the service runs");
    }
    Error::unavailable(format!("the connection to the service failed: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_a_date_or_milliseconds() {
        let wait = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(wait("retry-after", "2"), Some(Duration::from_secs(2)));
        assert_eq!(wait("retry-after-ms", "1500"), Some(Duration::from_millis(1500)));
        assert_eq!(wait("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(100);
        let soon = jiff::fmt::rfc2822::to_string(&soon.to_zoned(jiff::tz::TimeZone::UTC)).unwrap();
        let left = wait("retry-after", &soon).unwrap();
        assert!((95..=100).contains(&left.as_secs()), "{left:?} for {soon}");
        assert_eq!(wait("retry-after", "-1"), None);
        assert_eq!(wait("retry-after", "soon"), None);
    }

    #[test]
    fn e3_a_key_that_the_service_repeats_is_not_shown() {
        let key = SecretString::from("CANARY");
        assert_eq!(shown("no key CANARY here", Some(&key)), "no key *** here");
        assert!(shown(&"x".repeat(1000), None).chars().count() <= MAX_SHOWN + 1);
    }
}
