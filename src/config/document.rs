//! A configuration file: its values, where they stand, and errors that say so.

use memquill_core::json::Object;
use memquill_core::{Error, Result};
use serde::Deserialize as _;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_path_to_error::Segment;
use serde_saphyr::{Location, Spanned, UserMessageFormatter};

use super::variables::{Env, Expanding, Problem, expand, has_variable};

/// A file of YAML 1.2, of which JSON is a part.
pub(super) struct Document<'a> {
    file: &'a str,
    text: &'a str,
    env: Env<'a>,
    root: Value,
}

impl<'a> Document<'a> {
    pub(super) fn parse(file: &'a str, text: &'a str, env: Env<'a>) -> Result<Self> {
        // Some editors begin a file with a byte order mark.
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        let parsed = serde_saphyr::from_str_with_options(text, options());
        let mut document = Self { file, text, env, root: Value::Null };
        document.root = match parsed.map_err(|error| document.syntax(&error))? {
            Value::Null => Value::Object(Object::new()), // an empty file
            root => root,
        };
        Ok(document)
    }

    /// Reads the value under a path of keys, in which variables are expanded. No error shows what a
    /// variable held.
    pub(super) fn read<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T> {
        let value = Expanding { value: self.raw(path), env: self.env };
        serde_path_to_error::deserialize(value).map_err(|error| {
            let mut full: Vec<String> = path.iter().map(|&key| key.to_owned()).collect();
            full.extend(error.path().iter().filter_map(|segment| match segment {
                Segment::Map { key } => Some(key.clone()),
                Segment::Seq { index } => Some(index.to_string()),
                Segment::Enum { .. } | Segment::Unknown => None,
            }));
            let full: Vec<&str> = full.iter().map(String::as_str).collect();
            let Problem { message, hint, key } = error.into_inner();
            let (at, path) = match full.split_last() {
                Some((_, parent)) if key => (self.locate(&full, true), parent),
                _ => (self.locate(&full, false), full.as_slice()),
            };
            hinted(self.error(at, path, &message), hint)
        })
    }

    /// Reads the value under a path by `read`, whose errors may show what it is given: one that
    /// would tell what a variable held is replaced.
    pub(super) fn read_by<T>(
        &self,
        path: &[&str],
        read: impl Fn(&Value) -> Result<T>,
    ) -> Result<T> {
        let raw = self.raw(path);
        let expanded = expand_all(raw, &|text| {
            expand(text, self.env)
                .map_err(|Problem { message, hint, .. }| hinted(self.problem(path, &message), hint))
        })?;
        read(&expanded).map_err(|error| {
            let same = || read(raw).is_err_and(|other| other.message() == error.message());
            if !has_variable(raw) || same() {
                return self.located(path, &error);
            }
            self.problem(path, "the environment variables here hold what is not accepted")
                .with_hint("check their values; they are not shown, since they may be secret")
        })
    }

    /// The value under a path, variables not expanded; null where there is none.
    pub(super) fn raw(&self, path: &[&str]) -> &Value {
        path.iter().try_fold(&self.root, |value, key| value.get(key)).unwrap_or(&Value::Null)
    }

    /// Returns an error about the value under a path.
    pub(super) fn problem(&self, path: &[&str], message: &str) -> Error {
        self.error(self.locate(path, false), path, message)
    }

    /// Returns the error with the place of the value under a path.
    pub(super) fn located(&self, path: &[&str], error: &Error) -> Error {
        hinted(self.problem(path, error.message()), error.hint().map(ToOwned::to_owned))
    }

    fn error(&self, at: Option<Location>, path: &[&str], message: &str) -> Error {
        let (line, column) = at.map_or((1, 1), |at| (at.line(), at.column()));
        let colon = if path.is_empty() { "" } else { ": " };
        Error::config(format!("{}:{line}:{column}: {}{colon}{message}", self.file, path.join(".")))
    }

    fn syntax(&self, error: &serde_saphyr::Error) -> Error {
        let message = match error {
            serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
                format!("the key {key:?} is given twice")
            }
            other => {
                let said = other.render_with_formatter(&UserMessageFormatter);
                let line = said.lines().next().unwrap_or_default();
                line.split_once(" at line ").map_or(line, |(said, _)| said).to_owned()
            }
        };
        self.error(error.location(), &[], &message).with_hint("the file is YAML, or JSON")
    }

    /// Finds the value under a path, or the last key of the path.
    fn locate(&self, path: &[&str], of_key: bool) -> Option<Location> {
        let found = |deserializer: serde_saphyr::Deserializer<'_, '_>| {
            Locate { path, of_key }.deserialize(deserializer)
        };
        serde_saphyr::with_deserializer_from_str_with_options(self.text, options(), found)
            .ok()
            .flatten()
            .filter(|at| at.line() > 0)
    }
}

fn hinted(error: Error, hint: Option<String>) -> Error {
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false, // a snippet could show a secret
    }
}

fn expand_all(value: &Value, text: &impl Fn(&str) -> Result<String>) -> Result<Value> {
    Ok(match value {
        Value::String(raw) => text(raw)?.into(),
        Value::Array(items) => {
            items.iter().map(|item| expand_all(item, text)).collect::<Result<Vec<_>>>()?.into()
        }
        Value::Object(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, item)| Ok((key.clone(), expand_all(item, text)?)))
                .collect::<Result<_>>()?,
        ),
        other => other.clone(),
    })
}

/// Finds where the value under a path stands, or its last key.
struct Locate<'p> {
    path: &'p [&'p str],
    of_key: bool,
}

impl<'de> DeserializeSeed<'de> for Locate<'_> {
    type Value = Option<Location>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        if self.path.is_empty() {
            let value = Spanned::<IgnoredAny>::deserialize(deserializer)?;
            return Ok(Some(value.referenced));
        }
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Locate<'_> {
    type Value = Option<Location>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("keys and values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            match self.path {
                [only] if self.of_key && *only == key.value => {
                    found = Some(key.referenced);
                    entries.next_value::<IgnoredAny>()?;
                }
                [first, rest @ ..] if *first == key.value => {
                    found = entries.next_value_seed(Locate { path: rest, of_key: self.of_key })?;
                }
                _ => drop(entries.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}
