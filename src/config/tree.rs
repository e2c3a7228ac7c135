//! A configuration file as a tree that knows where everything stands.

use std::fmt;

use memquill_core::Result;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::Spanned;

use super::reader::{Place, problem};

/// A value and where it stands.
pub(super) struct Item {
    pub(super) tree: Tree,
    pub(super) place: Place,
}

/// A value of YAML's core schema.
pub(super) enum Tree {
    Null,
    Bool(bool),
    Number(Number),
    /// As it stands in the file: environment variables are not yet expanded.
    Text(String),
    List(Vec<Item>),
    Map(Vec<(Key, Item)>),
}

impl Tree {
    /// Whether the environment makes a part of it.
    pub(super) fn has_variable(&self) -> bool {
        match self {
            Self::Text(raw) => raw.contains("${"),
            Self::List(items) => items.iter().any(|item| item.tree.has_variable()),
            Self::Map(entries) => entries.iter().any(|(_, item)| item.tree.has_variable()),
            Self::Null | Self::Bool(_) | Self::Number(_) => false,
        }
    }
}

/// A key and where it stands.
pub(super) struct Key {
    pub(super) text: String,
    pub(super) place: Place,
}

/// Reads YAML 1.2, of which JSON is a part.
pub(super) fn parse(file: &str, text: &str) -> Result<Item> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false, // a snippet could show a secret
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let place = error.location().map_or(Place { line: 1, column: 1 }, |at| Place {
            line: at.line(),
            column: at.column(),
        });
        let said = error.to_string();
        let said = said.lines().next().unwrap_or_default();
        let said = said.split_once(" at line ").map_or(said, |(said, _)| said);
        problem(file, place, "", said).with_hint("the file is YAML, or JSON")
    })
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Tree>::deserialize(deserializer)?;
        Ok(Self { tree: spanned.value, place: spanned.referenced.into() })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<String>::deserialize(deserializer)?;
        Ok(Self { text: spanned.value, place: spanned.referenced.into() })
    }
}

impl From<serde_saphyr::Location> for Place {
    fn from(location: serde_saphyr::Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Tree, E> {
        let number = Number::from_f64(value);
        number.map(Tree::Number).ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Tree, E> {
        Ok(Tree::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Tree::Map(map))
    }
}
