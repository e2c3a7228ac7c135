//! Reading what the server answers.

use memquill_core::{Error, Result, Timestamp};
use redis::Value;

use crate::error::unreadable;

/// The items of an answer, taken one after the other.
#[derive(Debug)]
pub(crate) enum Reply {
    List(std::vec::IntoIter<Value>),
    /// The words of a text, which is cheaper to give than a list, and where the next one starts.
    Words(String, usize),
}

impl Reply {
    /// A list.
    pub(crate) fn new(value: Value) -> Result<Self> {
        match value {
            Value::Array(items) => Ok(Self::List(items.into_iter())),
            _ => Err(misunderstood()),
        }
    }

    /// A list, or words in a text.
    pub(crate) fn of_either(value: Value) -> Result<Self> {
        match value {
            Value::BulkString(_) => Ok(Self::Words(text(value)?, 0)),
            value => Self::new(value),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::List(items) => items.as_slice().is_empty(),
            Self::Words(text, at) => *at >= text.len(),
        }
    }

    pub(crate) fn next(&mut self) -> Result<Value> {
        match self {
            Self::List(items) => items.next().ok_or_else(misunderstood),
            Self::Words(..) => self.word(|word| Ok(Value::BulkString(word.into()))),
        }
    }

    /// The next of the words.
    fn word<T>(&mut self, read: impl FnOnce(&str) -> Result<T>) -> Result<T> {
        let Self::Words(text, at) = self else { return Err(misunderstood()) };
        let rest = text.get(*at..).filter(|rest| !rest.is_empty()).ok_or_else(misunderstood)?;
        let word = rest.split(' ').next().unwrap_or_default();
        let read = read(word)?;
        *at += word.len() + 1;
        Ok(read)
    }

    pub(crate) fn text(&mut self) -> Result<String> {
        text(self.next()?)
    }

    /// Bytes, or nothing.
    pub(crate) fn maybe_bytes(&mut self) -> Result<Option<Vec<u8>>> {
        match self.next()? {
            Value::Nil => Ok(None),
            value => bytes(value).map(Some),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>> {
        bytes(self.next()?)
    }

    pub(crate) fn number<N: TryFrom<i64> + std::str::FromStr>(&mut self) -> Result<N> {
        match self {
            Self::List(_) => number(&self.next()?),
            Self::Words(..) => self.word(|word| word.parse().map_err(|_| misunderstood())),
        }
    }

    /// The place of one of `count` items, which scripts count from 1.
    pub(crate) fn place(&mut self, count: usize) -> Result<usize> {
        let place: usize = self.number()?;
        if (1..=count).contains(&place) { Ok(place - 1) } else { Err(misunderstood()) }
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp> {
        Timestamp::from_millis(self.number()?)
    }

    pub(crate) fn list(&mut self) -> Result<Self> {
        Self::new(self.next()?)
    }
}

fn bytes(value: Value) -> Result<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        _ => Err(misunderstood()),
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

/// The text of a value, whatever its bytes are.
pub(crate) fn lossy_text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => format!("{other:?}"),
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
