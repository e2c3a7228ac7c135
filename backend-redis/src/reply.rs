//! Reading what the server answers.

use memory_core::{Error, Result, Timestamp};
use redis::Value;

use crate::error::unreadable;

/// The items of an answer that is a list, taken one after the other.
#[derive(Debug)]
pub(crate) struct Reply(std::vec::IntoIter<Value>);

impl Reply {
    pub(crate) fn new(value: Value) -> Result<Self> {
        match value {
            Value::Array(items) => Ok(Self(items.into_iter())),
            _ => Err(misunderstood()),
        }
    }

    /// A list, or words in a text.
    pub(crate) fn of_either(value: Value) -> Result<Self> {
        match value {
            Value::BulkString(_) => Ok(Self::of_words(&text(value)?)),
            value => Self::new(value),
        }
    }

    /// The words of a text that the server gave instead of a list, which is cheaper to give.
    fn of_words(text: &str) -> Self {
        let words = text.split(' ').map(|word| Value::BulkString(word.into()));
        Self(words.collect::<Vec<_>>().into_iter())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_slice().is_empty()
    }

    pub(crate) fn next(&mut self) -> Result<Value> {
        self.0.next().ok_or_else(misunderstood)
    }

    pub(crate) fn text(&mut self) -> Result<String> {
        text(self.next()?)
    }

    /// A text, or nothing.
    pub(crate) fn maybe_text(&mut self) -> Result<Option<String>> {
        match self.next()? {
            Value::Nil => Ok(None),
            value => text(value).map(Some),
        }
    }

    pub(crate) fn number<N: TryFrom<i64> + std::str::FromStr>(&mut self) -> Result<N> {
        number(&self.next()?)
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp> {
        Timestamp::from_millis(self.number()?)
    }

    pub(crate) fn list(&mut self) -> Result<Self> {
        Self::new(self.next()?)
    }
}

pub(crate) fn text(value: Value) -> Result<String> {
    match value {
        Value::BulkString(bytes) => {
            String::from_utf8(bytes).map_err(|_| unreadable("a stored text"))
        }
        Value::SimpleString(text) => Ok(text),
        Value::Okay => Ok("OK".into()),
        _ => Err(misunderstood()),
    }
}

/// A number, which the server gives as such or as digits.
pub(crate) fn number<N: TryFrom<i64> + std::str::FromStr>(value: &Value) -> Result<N> {
    let number = match value {
        Value::Int(number) => N::try_from(*number).ok(),
        Value::BulkString(digits) => {
            std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok())
        }
        _ => None,
    };
    number.ok_or_else(misunderstood)
}

fn misunderstood() -> Error {
    Error::internal("the server's answer has another form than was expected")
}
