//! Reading typed values from a configuration file's tree. Every error says file, line, column and
//! the path of keys, and none shows what an environment variable held.

use std::borrow::Cow;

use memquill_core::json::Object;
use memquill_core::{Error, Result, did_you_mean};
use serde_json::Value;

use super::tree::{Item, Key, Tree};

/// Looks up an environment variable.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A line and column, from 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

/// A `Config` error about what stands at `place`, `path` being the keys that lead to it.
pub(super) fn problem(file: &str, place: Place, path: &str, message: &str) -> Error {
    let Place { line, column } = place;
    let colon = if path.is_empty() { "" } else { ": " };
    Error::config(format!("{file}:{line}:{column}: {path}{colon}{message}"))
}

/// A value of the file, to be read as what its key wants.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    file: &'a str,
    env: Env<'a>,
    path: String,
    item: &'a Item,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a str, env: Env<'a>, item: &'a Item) -> Self {
        Self { file, env, path: String::new(), item }
    }

    /// An error about this value.
    pub(super) fn problem(&self, message: &str) -> Error {
        problem(self.file, self.item.place, &self.path, message)
    }

    /// The error that reading this value gave elsewhere, told as one of the file.
    pub(super) fn located(&self, error: &Error) -> Error {
        let located = self.problem(error.message());
        match error.hint() {
            Some(hint) => located.with_hint(hint.to_owned()),
            None => located,
        }
    }

    /// As [`Reader::located`], unless the error may tell what a variable held: it is the same with
    /// the variables' names in their place, or there is none.
    pub(super) fn shown(&self, error: &Error, unexpanded: Option<&Error>) -> Error {
        let same = unexpanded.is_some_and(|other| other.message() == error.message());
        if same || !self.item.tree.has_variable() {
            return self.located(error);
        }
        let problem = self.problem("this is not right as the environment's variables make it");
        problem.with_hint("see what they hold; it is not shown, since it may be secret")
    }

    fn child(&self, name: &str, item: &'a Item) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        Self { path: format!("{}{dot}{name}", self.path), item, ..self.clone() }
    }

    fn map(&self, example: &'static str) -> Result<&'a [(Key, Item)]> {
        match &self.item.tree {
            Tree::Map(entries) => Ok(entries),
            other => {
                let message = format!("expected keys and values, not {}", kind(other));
                Err(self.problem(&message).with_hint(example))
            }
        }
    }

    /// The keys and values of a map whose keys are the user's own names.
    pub(super) fn entries(&self, example: &'static str) -> Result<Vec<(&'a str, Self)>> {
        let entries = self.map(example)?.iter();
        Ok(entries.map(|(key, item)| (key.text.as_str(), self.child(&key.text, item))).collect())
    }

    /// A map whose keys are among `known`.
    pub(super) fn fields(&self, known: &[&str], example: &'static str) -> Result<Fields<'a>> {
        let entries = self.map(example)?;
        for (key, _) in entries {
            if known.contains(&key.text.as_str()) {
                continue;
            }
            let hint = did_you_mean(&key.text, known.iter().copied())
                .unwrap_or_else(|| format!("the keys here are {}", known.join(", ")));
            let message = format!("there is no key {:?} here", key.text);
            return Err(problem(self.file, key.place, &self.path, &message).with_hint(hint));
        }
        Ok(Fields { of: self.clone(), entries })
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.item.tree, Tree::Text(_))
    }

    /// Text, with environment variables expanded.
    pub(super) fn text(&self) -> Result<Cow<'a, str>> {
        match &self.item.tree {
            Tree::Text(raw) => self.expand(raw),
            other => Err(self.problem(&format!("expected text, not {}", kind(other)))),
        }
    }

    /// The one of `known` that the text names.
    pub(super) fn one_of<T: Copy>(&self, what: &str, known: &[(&str, T)]) -> Result<T> {
        let text = self.text()?;
        if let Some((_, value)) = known.iter().find(|(name, _)| *name == text) {
            return Ok(*value);
        }
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        let hint = did_you_mean(&text, names.iter().copied())
            .unwrap_or_else(|| format!("known here: {}", names.join(", ")));
        Err(self.problem(&format!("there is no such {what}")).with_hint(hint))
    }

    /// A whole number, in text too where that came from the environment.
    pub(super) fn whole(&self) -> Result<usize> {
        let number = match &self.item.tree {
            Tree::Number(number) => number.as_u64().and_then(|n| usize::try_from(n).ok()),
            Tree::Text(raw) if raw.contains("${") => self.expand(raw)?.parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| self.problem("expected a whole number"))
    }

    /// A whole number from `least` to `most`.
    pub(super) fn between(&self, least: usize, most: usize) -> Result<usize> {
        let number = self.whole()?;
        if (least..=most).contains(&number) {
            return Ok(number);
        }
        Err(self.problem(&format!("expected {least} to {most}")))
    }

    /// `true` or `false`, in text too where that came from the environment.
    pub(super) fn boolean(&self) -> Result<bool> {
        let boolean = match &self.item.tree {
            Tree::Bool(value) => Some(*value),
            Tree::Text(raw) if raw.contains("${") => self.expand(raw)?.parse().ok(),
            _ => None,
        };
        boolean.ok_or_else(|| self.problem("expected true or false"))
    }

    /// The value as JSON, with what `text` makes of the texts that hold variables.
    fn json(&self, text: &mut impl FnMut(&Self, &str) -> Result<Value>) -> Result<Value> {
        Ok(match &self.item.tree {
            Tree::Null => Value::Null,
            Tree::Bool(value) => Value::Bool(*value),
            Tree::Number(number) => Value::Number(number.clone()),
            Tree::Text(raw) if raw.contains('$') => text(self, raw)?,
            Tree::Text(raw) => Value::String(raw.clone()),
            Tree::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (at, item) in items.iter().enumerate() {
                    list.push(self.child(&at.to_string(), item).json(text)?);
                }
                list.into()
            }
            Tree::Map(entries) => {
                let mut object = Object::new();
                for (key, item) in entries {
                    object.insert(key.text.clone(), self.child(&key.text, item).json(text)?);
                }
                object.into()
            }
        })
    }

    /// Reads the value as what `read` takes. A text that a variable makes a number, `true` or
    /// `false` is text, or that, whichever is taken; of several, any of them may be either.
    pub(super) fn json_as<T>(&self, read: impl Fn(&Value) -> Result<T>) -> Result<T> {
        let mut first = None;
        let mut choices = 1_u32;
        let mut choice = 0;
        while choice < choices {
            let mut seen = 0;
            let value = self.json(&mut |reader, raw| {
                let text = reader.expand(raw)?.into_owned();
                let scalar = serde_json::from_str(&text).ok().filter(is_scalar);
                let Some(scalar) = scalar.filter(|_| raw.contains("${") && seen < CHOICES) else {
                    return Ok(Value::String(text));
                };
                let typed = choice >> seen & 1 == 1;
                seen += 1;
                Ok(if typed { scalar } else { Value::String(text) })
            })?;
            choices = 1 << seen;
            match read(&value) {
                Ok(read) => return Ok(read),
                Err(error) => drop(first.get_or_insert(error)),
            }
            choice += 1;
        }
        let unexpanded = self.json(&mut |_, raw| Ok(Value::from(raw)))?;
        let error = first.unwrap_or_else(|| self.problem("this cannot be read"));
        Err(self.shown(&error, read(&unexpanded).err().as_ref()))
    }

    /// Replaces `${NAME}` and `${NAME:-default}` by the environment's values and `$$` by a dollar.
    fn expand<'r>(&self, raw: &'r str) -> Result<Cow<'r, str>> {
        if !raw.contains('$') {
            return Ok(Cow::Borrowed(raw));
        }
        let mut out = String::with_capacity(raw.len());
        let mut rest = raw;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                out.push('$');
                rest = after;
                continue;
            }
            let Some((inside, after)) =
                after.strip_prefix('{').and_then(|inside| inside.split_once('}'))
            else {
                return Err(self
                    .problem("a lone dollar sign")
                    .with_hint("write ${NAME} for an environment variable, $$ for a dollar"));
            };
            out.push_str(&self.variable(inside)?);
            rest = after;
        }
        out.push_str(rest);
        Ok(Cow::Owned(out))
    }

    fn variable(&self, reference: &str) -> Result<String> {
        let (name, default) = match reference.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if default.is_some_and(|default| default.contains('$')) {
            return Err(self.problem("a default is plain text, without a dollar sign"));
        }
        if name.is_empty() || !name.chars().all(legal) {
            return Err(self
                .problem("an environment variable's name is made of letters, digits and _")
                .with_hint("write ${NAME} or ${NAME:-default}"));
        }
        // As in a shell, `:-` stands in for an empty value too.
        match ((self.env)(name), default) {
            (Some(value), None) => Ok(value),
            (Some(value), Some(_)) if !value.is_empty() => Ok(value),
            (_, Some(default)) => Ok(default.to_owned()),
            (None, None) => Err(self
                .problem(&format!("the environment variable {name} is not set"))
                .with_hint(format!("set it, or give a default: ${{{name}:-default}}"))),
        }
    }
}

/// A map whose keys are known. A key without a value counts as not given.
pub(super) struct Fields<'a> {
    of: Reader<'a>,
    entries: &'a [(Key, Item)],
}

impl<'a> Fields<'a> {
    pub(super) fn get(&self, name: &str) -> Option<Reader<'a>> {
        let (_, item) = self.entries.iter().find(|(key, _)| key.text == name)?;
        (!matches!(item.tree, Tree::Null)).then(|| self.of.child(name, item))
    }

    /// As [`Fields::get`], where there must be one.
    pub(super) fn need(&self, name: &str) -> Result<Reader<'a>> {
        self.get(name).ok_or_else(|| self.of.problem(&format!("the key {name:?} is missing")))
    }
}

/// So many texts may be either.
const CHOICES: u32 = 8;

fn is_scalar(value: &Value) -> bool {
    value.is_number() || value.is_boolean()
}

fn kind(tree: &Tree) -> &'static str {
    match tree {
        Tree::Null => "nothing",
        Tree::Bool(_) => "true or false",
        Tree::Number(_) => "a number",
        Tree::Text(_) => "text",
        Tree::List(_) => "a list",
        Tree::Map(_) => "keys and values",
    }
}
