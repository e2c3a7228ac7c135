//! Items that a transfer left out, with their reasons.

use memquill_core::Error;
use serde::{Deserialize, Serialize};

/// The most omissions that are kept in full; further ones are counted.
const KEPT: usize = 100;

/// Items that could not be taken. The others were.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LeftOut {
    /// The number of omissions.
    pub count: u64,
    /// The first of them, at most 100.
    pub items: Vec<Omission>,
}

impl LeftOut {
    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds an omission.
    pub fn add(&mut self, omission: Omission) {
        self.count += 1;
        if self.items.len() < KEPT {
            self.items.push(omission);
        }
    }
}

/// An item, or several that belong together, that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Omission {
    /// The file, where it is known.
    pub file: Option<String>,
    /// The line of the file, from 1.
    pub line: Option<u64>,
    /// The code of the error.
    pub code: String,
    /// The reason, which names the item.
    pub reason: String,
    /// The action that would help.
    pub hint: Option<String>,
}

impl Omission {
    /// Makes an omission of the error that caused it.
    pub fn of(error: &Error) -> Self {
        Self {
            file: None,
            line: None,
            code: error.code().to_owned(),
            reason: error.message().to_owned(),
            hint: error.hint().map(str::to_owned),
        }
    }
}

impl std::fmt::Display for Omission {
    /// Writes the place, if any, and the reason: `FILE:LINE: REASON`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}: {}", self.reason),
            (Some(file), None) => write!(f, "{file}: {}", self.reason),
            (None, Some(line)) => write!(f, "line {line}: {}", self.reason),
            (None, None) => f.write_str(&self.reason),
        }
    }
}
