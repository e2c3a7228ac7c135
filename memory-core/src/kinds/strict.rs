//! Reads JSON objects that people and workflow engines write: nothing is ignored (G10).

use std::borrow::Cow;
use std::time::Duration;

use serde::de::value::MapDeserializer;
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::{Serializer, forward_to_deserialize_any};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::json::{Object, in_plain_words, parse};
use crate::limits::MIN_TTL;
use crate::suggest::did_you_mean;
use crate::time::Timestamp;

/// Reads a struct from an object; `what` says in errors what the object is.
///
/// A key that the struct does not have is `InvalidInput`, with the nearest that it has as the hint,
/// and a value that does not fit is `InvalidInput` naming its key. `null` counts as not given. A
/// whole number may be written as a float (`5.0`), and a number, `true` or `false` as text (N5):
/// workflow engines and environment variables do so. Where text is wanted, it stays what it is.
///
/// The struct must not flatten others into itself: serde does not report the keys of such a struct.
///
/// ```
/// use memquill_core::kinds::{ConversationBufferConfig, strict};
/// let read = |object: serde_json::Value| {
///     strict::from_object::<ConversationBufferConfig>("config", object.as_object().unwrap())
/// };
/// let error = read(serde_json::json!({"max_mesages": 5})).unwrap_err();
/// assert_eq!(error.hint(), Some(r#"did you mean "max_messages"?"#));
///
/// let config = read(serde_json::json!({"max_messages": "50", "conversation_id": "50"}))?;
/// assert_eq!((config.max_messages, config.conversation_id.as_str()), (50, "50"));
/// # Ok::<(), memquill_core::Error>(())
/// ```
pub fn from_object<T: DeserializeOwned>(what: &str, object: &Object) -> Result<T> {
    let known = keys::<T>();
    if let Some(unknown) = object.keys().find(|key| !known.contains(&key.as_str())) {
        let keys = if known.is_empty() { "none".into() } else { known.join(", ") };
        let error = Error::invalid_input(format!("{what} has no key {unknown:?}; it has {keys}"));
        return Err(match did_you_mean(unknown, known.iter().copied()) {
            Some(hint) => error.with_hint(hint),
            None => error,
        });
    }
    let given = object.iter().filter(|(_, value)| !value.is_null());
    let given = MapDeserializer::new(given.map(|(key, value)| (key.as_str(), Given(value))));
    serde_path_to_error::deserialize(given).map_err(|error: serde_path_to_error::Error<_>| {
        let whole = error.path().iter().next().is_none();
        let path = error.path().to_string();
        let cause = in_plain_words(&error.into_inner().to_string());
        Error::invalid_input(if whole {
            format!("{what}: {cause}")
        } else {
            format!("{what}: {path}: {cause}")
        })
    })
}

/// Reads the items of a list that the input has under `key`; an error names the item by its place
/// from 0, as in `messages[3]: …`.
pub(super) fn each<T, U>(
    key: &str,
    items: impl IntoIterator<Item = T>,
    read: impl Fn(T) -> Result<U>,
) -> Result<Vec<U>> {
    let placed = |(at, item)| read(item).map_err(|error| error.at(format_args!("{key}[{at}]")));
    items.into_iter().enumerate().map(placed).collect()
}

/// Returns the keys of a struct, as serde knows them.
pub fn keys<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut keys: &'static [&'static str] = &[];
    // It fails always: what is wanted is only what it asks for first.
    let _ = T::deserialize(Keys(&mut keys));
    keys
}

struct Keys<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Keys<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(Self::Error::custom("not a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// A value of the object, of which a whole number may be asked though a float was written, and a
/// number or truth though a text spells it.
struct Given<'a>(&'a Value);

impl<'a> Given<'a> {
    /// The value, or the number, `true` or `false` that it spells.
    fn spelt(&self) -> Cow<'a, Value> {
        let text = self.0.as_str().filter(|text| text.trim() == *text);
        let spelt = text.and_then(|text| parse(text).ok());
        match spelt.filter(|value: &Value| value.is_number() || value.is_boolean()) {
            Some(value) => Cow::Owned(value),
            None => Cow::Borrowed(self.0),
        }
    }
}

/// The float as the integer that it is, if it is one.
fn whole(value: &Value) -> Option<Whole> {
    let float = value.as_f64().filter(|x| value.is_f64() && x.fract() == 0.0)?;
    #[expect(clippy::cast_possible_truncation, reason = "whole, and within the bounds")]
    #[expect(clippy::cast_sign_loss, reason = "not negative where unsigned")]
    if (0.0..18_446_744_073_709_551_616.0).contains(&float) {
        Some(Whole::Unsigned(float as u64))
    } else if (-9_223_372_036_854_775_808.0..0.0).contains(&float) {
        Some(Whole::Signed(float as i64))
    } else {
        None
    }
}

enum Whole {
    Unsigned(u64),
    Signed(i64),
}

macro_rules! scalars {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            self.spelt().into_owned().$method(visitor)
        }
    )*};
}

macro_rules! whole_numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            let value = self.spelt();
            match whole(&value) {
                Some(Whole::Unsigned(n)) => visitor.visit_u64(n),
                Some(Whole::Signed(n)) => visitor.visit_i64(n),
                None => value.into_owned().$method(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Given<'de> {
    type Error = serde_json::Error;

    whole_numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    scalars! { deserialize_bool deserialize_f32 deserialize_f64 }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self) // null does not get here
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.0.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, serde_json::Error> for Given<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Refuses 0 for a key that counts from 1.
pub(super) fn at_least_one(key: &str, number: u64) -> Result<()> {
    if number > 0 {
        return Ok(());
    }
    Err(Error::invalid_input(format!("{key} is 0")).with_hint("give at least 1"))
}

/// A time to live in seconds, fractions allowed; 0 means never.
pub(super) fn seconds(key: &str, seconds: f64) -> Result<Option<Duration>> {
    time_to_live(seconds).map_err(|wrong| {
        Error::invalid_input(format!("{key}: {wrong}"))
            .with_hint("give seconds from 0.001 to 100 years, or 0 for never")
    })
}

fn time_to_live(seconds: f64) -> Result<Option<Duration>, String> {
    match Duration::try_from_secs_f64(seconds) {
        Ok(ttl) if ttl < MIN_TTL && seconds != 0.0 => Err(format!("{seconds} s is below 1 ms")),
        Ok(ttl) => Ok(Some(ttl).filter(|ttl| !ttl.is_zero())),
        Err(_) => Err(format!("{seconds} s is no time to live")),
    }
}

/// The seconds of a time to live, as a whole number where they are one; 0 means never.
pub(super) fn in_seconds(ttl: Option<Duration>) -> Value {
    match ttl {
        None => 0.into(),
        Some(ttl) if ttl.subsec_nanos() == 0 => ttl.as_secs().into(),
        Some(ttl) => ttl.as_secs_f64().into(),
    }
}

/// For configurations: a time to live in seconds, 0 for never.
pub(super) mod ttl_seconds {
    use super::{Deserializer, Duration, Serializer, in_seconds};
    use serde::de::Error as _;
    use serde::{Deserialize as _, Serialize as _};

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub(in super::super) fn serialize<S: Serializer>(
        ttl: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        in_seconds(*ttl).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        super::time_to_live(seconds).map_err(D::Error::custom)
    }
}

/// A moment: RFC 3339 text, or seconds since 1970.
pub(super) fn moment(key: &str, value: &Value) -> Result<Timestamp> {
    let wrong = || {
        Error::invalid_input(format!("{key}: {value} is not a time")).with_hint(
            "write it as RFC 3339 with an offset, as in 2026-11-22T20:31:00.000Z, or as seconds \
             since 1970",
        )
    };
    match value {
        Value::String(text) => text.parse().map_err(|_| wrong()),
        Value::Number(number) => {
            let millis = match (number.as_i64(), number.as_f64()) {
                (Some(seconds), _) => seconds.saturating_mul(1000),
                #[expect(clippy::cast_possible_truncation, reason = "what saturates is no time")]
                (None, Some(seconds)) => (seconds * 1000.0).round() as i64,
                (None, None) => return Err(wrong()),
            };
            Timestamp::from_millis(millis).map_err(|_| wrong())
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(default)]
    struct Sample {
        limit: usize,
        shift: Option<i32>,
        weight: f32,
        value: Option<Value>,
        inner: Vec<Inner>,
    }

    impl Default for Sample {
        fn default() -> Self {
            Self { limit: 7, shift: None, weight: 0.5, value: None, inner: Vec::new() }
        }
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        name: String,
    }

    fn read(value: Value) -> Result<Sample> {
        from_object("sample", value.as_object().unwrap())
    }

    #[test]
    fn g10_an_unknown_key_is_refused_with_the_nearest_name() {
        let error = read(json!({"limt": 5})).unwrap_err();
        assert_eq!(error.hint(), Some(r#"did you mean "limit"?"#));
        let error = read(json!({"xyz": null})).unwrap_err();
        assert_eq!(
            error.message(),
            r#"sample has no key "xyz"; it has limit, shift, weight, value, inner"#
        );
    }

    #[test]
    fn a_wrong_value_names_its_key() {
        let message = |value| read(value).unwrap_err().message().to_owned();
        assert!(
            message(json!({"limit": "ten"}))
                .starts_with(r#"sample: limit: found text "ten", expected a whole number from 0"#)
        );
        assert!(message(json!({"limit": 5.5})).starts_with("sample: limit: "));
        assert!(message(json!({"limit": -5.0})).starts_with("sample: limit: "));
        assert!(
            message(json!({"inner": [{"name": 1}]})).starts_with("sample: inner[0].name: "),
            "the path leads inside"
        );
    }

    #[test]
    fn whole_floats_are_numbers_and_values_stay_exact() {
        let sample = read(json!({"limit": 5.0, "shift": -2.0, "weight": 1, "value": 5.0})).unwrap();
        assert_eq!((sample.limit, sample.shift, sample.weight), (5, Some(-2), 1.0));
        assert!(sample.value.unwrap().is_f64(), "G3: a value is not touched");
    }

    #[test]
    fn n5_a_text_is_the_number_that_it_spells_where_one_is_wanted() {
        let sample =
            read(json!({"limit": "5", "shift": "-2.0", "weight": "0.25", "value": "5"})).unwrap();
        assert_eq!((sample.limit, sample.shift, sample.weight), (5, Some(-2), 0.25));
        assert_eq!(sample.value.unwrap(), "5", "G3: a value is not touched");
        for wrong in ["", " ", "5 ", "0x5", "five", "null", "true", "[5]", "{{limit}}"] {
            assert!(read(json!({"limit": wrong})).is_err(), "{wrong:?}");
        }
        let text: Inner = from_object("inner", json!({"name": "5"}).as_object().unwrap()).unwrap();
        assert_eq!(text.name, "5");
    }

    #[test]
    fn null_counts_as_not_given() {
        assert_eq!(read(json!({"limit": null, "shift": null})).unwrap(), Sample::default());
    }

    #[test]
    fn zero_seconds_never_expire() {
        assert_eq!(seconds("ttl", 0.0).unwrap(), None);
        assert_eq!(seconds("ttl", 1.5).unwrap(), Some(Duration::from_millis(1500)));
        for wrong in [-1.0, f64::NAN, f64::INFINITY, 1e300, 1e-12] {
            assert!(seconds("ttl", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_moment_is_text_or_seconds() {
        let wanted: Timestamp = "2026-11-22T20:31:00.500Z".parse().unwrap();
        for value in [json!("2026-11-22T21:31:00.5+01:00"), json!(1_795_379_460.5)] {
            assert_eq!(moment("since", &value).unwrap(), wanted);
        }
        for wrong in [json!("yesterday"), json!(true), json!(1e300), json!(i64::MAX)] {
            assert!(moment("since", &wrong).unwrap_err().message().starts_with("since: "));
        }
    }
}
