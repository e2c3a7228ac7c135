//! The configuration file as it is written.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Unexpected, Visitor};

use super::Tokens;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) stores: BTreeMap<String, TextOr<Store>>,
    pub(super) default: Option<String>,
    pub(super) conversations: Option<TextOr<Binding>>,
    pub(super) vectors: Option<TextOr<Binding>>,
    pub(super) working: Option<TextOr<Binding>>,
    /// Read by its type.
    pub(super) embedder: Option<IgnoredAny>,
    pub(super) summarizer: Option<IgnoredAny>,
    pub(super) tokens: Option<Tokens>,
    pub(super) trace: Option<bool>,
    /// Read by their subtypes.
    #[expect(clippy::zero_sized_map_values, reason = "serde reads a set from a list")]
    pub(super) nodes: Option<BTreeMap<String, IgnoredAny>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    pub(super) url: String,
    pub(super) layers: Option<super::layers::Form>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Binding {
    pub(super) store: Option<String>,
    pub(super) cache: Option<Cache>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cache {
    pub(super) capacity_mib: Option<Within<1, 1_048_576>>,
    pub(super) max_age_ms: Option<Millis>,
    pub(super) shared: Option<String>,
    pub(super) shared_ttl_ms: Option<Millis>,
}

/// An object that has a short form in one line.
pub(super) trait Short {
    /// What a value is, in the words of an error.
    const EXPECTED: &'static str;
}

impl Short for Store {
    const EXPECTED: &'static str = "a URL, or an object as in {url: \"sqlite:agent.db\"}";
}

impl Short for Binding {
    const EXPECTED: &'static str =
        "the name of a store, or an object as in {store: NAME, cache: {}}";
}

/// The short form of an object, or the object.
pub(super) enum TextOr<T> {
    Text(String),
    Object(T),
}

impl<'de, T: Short + Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);

        impl<'de, T: Short + Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = TextOr<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::EXPECTED)
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(TextOr::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(entries)).map(TextOr::Object)
            }
        }

        deserializer.deserialize_any(Either(PhantomData))
    }
}

/// A whole number between two bounds.
#[derive(Clone, Copy)]
pub(super) struct Within<const LEAST: u32, const MOST: u32>(u32);

impl<const LEAST: u32, const MOST: u32> Within<LEAST, MOST> {
    pub(super) fn get(self) -> u32 {
        self.0
    }
}

impl<'de, const LEAST: u32, const MOST: u32> Deserialize<'de> for Within<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        match u32::try_from(number) {
            Ok(within) if (LEAST..=MOST).contains(&within) => Ok(Self(within)),
            _ => {
                let expected = format!("a whole number from {LEAST} to {MOST}");
                Err(D::Error::invalid_value(Unexpected::Unsigned(number), &expected.as_str()))
            }
        }
    }
}

/// Milliseconds, up to a day.
pub(super) type Millis = Within<1, 86_400_000>;

impl From<Millis> for Duration {
    fn from(millis: Millis) -> Self {
        Self::from_millis(millis.get().into())
    }
}
