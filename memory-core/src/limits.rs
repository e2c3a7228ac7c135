//! Sizes that hold on every driver alike (contract, G2 to G4).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The largest sizes that an operation accepts. Past one of them it is `InvalidInput` (G4).
///
/// [`Limits::CONTRACT`] is what every driver accepts; a backend may be configured with lower ones,
/// and its [`Capabilities`](crate::Capabilities) say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of UTF-8 in a record's content.
    pub content_bytes: usize,
    /// Bytes in a message: its text, and its tool calls, parts and other fields as JSON.
    pub message_bytes: usize,
    /// Bytes of compact JSON in a metadata object.
    pub metadata_bytes: usize,
    /// Bytes in a working value, of JSON those of its compact form.
    pub value_bytes: usize,
    /// Bytes of all the working values in a batch.
    pub batch_bytes: usize,
    /// Items in a batch.
    pub batch_items: usize,
    /// Items in a page and hits in a search.
    pub page_items: usize,
    /// Conditions in a filter, `and`, `or`, `not` and the items of a list counted.
    pub filter_conditions: usize,
    /// Numbers in an embedding.
    pub dimensions: usize,
}

impl Limits {
    /// The limits of the contract.
    pub const CONTRACT: Self = Self {
        content_bytes: 1 << 20,
        message_bytes: 16 << 20,
        metadata_bytes: 64 << 10,
        value_bytes: 16 << 20,
        batch_bytes: 64 << 20,
        batch_items: 1_000,
        page_items: 10_000,
        filter_conditions: 1_000,
        dimensions: 16_000,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::CONTRACT
    }
}

/// The largest length of an identifier, in bytes (G2).
pub const IDENTIFIER_BYTES: usize = 255;

/// The largest depth of JSON; a scalar has depth 0, `[]` has depth 1 (G3).
pub const JSON_DEPTH: usize = 128;

/// The largest depth of a filter's `and`, `or` and `not`.
pub const FILTER_DEPTH: usize = 32;

/// The longest time to live: 100 years, so that every expiry is a representable time (W2).
pub const MAX_TTL: Duration = Duration::from_hours(36_525 * 24);

/// The shortest time to live (W2).
pub const MIN_TTL: Duration = Duration::from_millis(1);
