//! What a backend can do, as plain values (contract, G6 and G10).

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::limits::Limits;

/// The events that an acknowledged write survives on the store's side (G6). Each includes those
/// before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// As long as the store's process runs.
    Process,
    /// An orderly restart, or a crash but for the last moments.
    Restart,
    /// A crash of store or machine at any moment.
    Crash,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Process => "process",
            Self::Restart => "restart",
            Self::Crash => "crash",
        })
    }
}

/// The clock that gives creation times and decides what has expired (G8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeSource {
    /// The store's own: one clock for every process.
    Store,
    /// That of the machine the driver runs on, because the store has none to ask. Processes on
    /// several machines see an item expire at moments that differ as their clocks do.
    Driver,
}

impl fmt::Display for TimeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store => "store",
            Self::Driver => "driver",
        })
    }
}

/// A narrow interface that a backend may offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Facet {
    /// [`ConversationStore`](crate::ConversationStore).
    Conversations,
    /// [`VectorStore`](crate::VectorStore).
    Vectors,
    /// [`WorkingStore`](crate::WorkingStore).
    Working,
}

impl Facet {
    /// All facets.
    pub const ALL: [Self; 3] = [Self::Conversations, Self::Vectors, Self::Working];

    /// The facet's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Conversations => "conversations",
            Self::Vectors => "vectors",
            Self::Working => "working",
        }
    }
}

impl fmt::Display for Facet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A feature that a store may lack. Core refuses a request for one that the backend does not claim
/// as `Unsupported`, before any I/O (G10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Feature {
    /// Appends carry retention, and trim works (C4).
    Retention,
    /// Messages carry the caller's ids, by which an append can be repeated safely (C3).
    SafeRetry,
    /// Records are found by their words (V9).
    TextSearch,
    /// Searches, scans, counts and deletes take a filter (V7, V8).
    Filters,
    /// Records expire (V11).
    RecordExpiry,
    /// A batch of more than one record is stored whole or not at all, and no reader sees a part of
    /// it (G5). No request asks for this, so it is never refused: without it a batch is taken all
    /// the same, each record whole; a call that fails or is dropped may have stored some of them,
    /// says so by `maybe_applied`, and can be repeated.
    AtomicRecords,
    /// A namespace takes the embeddings of another in one step (V13).
    Rebinding,
    /// Puts and deletes carry conditions (W3).
    Conditions,
    /// A read extends the expiry (W4).
    SlidingExpiry,
    /// Integers are incremented in place (W6).
    Counters,
    /// Data read elsewhere is written back with its numbers, times and versions (C11, V14, W9).
    Restoring,
    /// The store itself keeps users apart, besides the driver (G1).
    EnforcedIsolation,
}

impl Feature {
    /// All features.
    pub const ALL: [Self; 12] = [
        Self::Retention,
        Self::SafeRetry,
        Self::TextSearch,
        Self::Filters,
        Self::RecordExpiry,
        Self::AtomicRecords,
        Self::Rebinding,
        Self::Conditions,
        Self::SlidingExpiry,
        Self::Counters,
        Self::Restoring,
        Self::EnforcedIsolation,
    ];

    /// The facet it belongs to; none for the backend as a whole.
    pub const fn facet(self) -> Option<Facet> {
        match self {
            Self::Retention | Self::SafeRetry => Some(Facet::Conversations),
            Self::TextSearch
            | Self::Filters
            | Self::RecordExpiry
            | Self::AtomicRecords
            | Self::Rebinding => Some(Facet::Vectors),
            Self::Conditions | Self::SlidingExpiry | Self::Counters => Some(Facet::Working),
            Self::Restoring | Self::EnforcedIsolation => None,
        }
    }

    /// The name in listings and configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::SafeRetry => "safe_retry",
            Self::TextSearch => "text_search",
            Self::Filters => "filters",
            Self::RecordExpiry => "record_expiry",
            Self::AtomicRecords => "atomic_records",
            Self::Rebinding => "rebinding",
            Self::Conditions => "conditions",
            Self::SlidingExpiry => "sliding_expiry",
            Self::Counters => "counters",
            Self::Restoring => "restoring",
            Self::EnforcedIsolation => "enforced_isolation",
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The error of a method that a store leaves out because it does not claim the feature. Callers do
/// not see it: core refuses the request first.
pub(crate) fn not_claimed(feature: Feature) -> Error {
    Error::unsupported(format!("the store does not offer {feature}"))
}

/// The exactness of a backend's vector search.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct VectorQuality {
    /// The number of matching records up to which results are exact, at least 20,000; none means
    /// always (V7).
    pub exact_up_to: Option<u64>,
    /// The largest error of a similarity: 1e-4, or more where the store quantises (V4).
    pub similarity_tolerance: f32,
}

/// The capabilities of a backend, read when it connects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capabilities {
    /// The events that an acknowledged write survives (G6).
    pub durability: Durability,
    /// The clock that it uses (G8).
    pub time: TimeSource,
    /// The optional features that the backend offers.
    pub features: BTreeSet<Feature>,
    /// The exactness of its searches. [`Backend::new`](crate::Backend::new) sets it to an exact search where a
    /// driver offers vectors and says nothing else, and to none where it offers no vectors.
    pub vectors: Option<VectorQuality>,
    /// The sizes it accepts: the contract's, unless configured lower (G4).
    pub limits: Limits,
    /// Remarks in words: how much a crash loses, why something is absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl VectorQuality {
    /// A search that is always exact.
    pub const EXACT: Self = Self { exact_up_to: None, similarity_tolerance: 1e-4 };
}

impl Capabilities {
    /// The contract's limits and the store's clock, with `features`.
    pub fn new(durability: Durability, features: impl IntoIterator<Item = Feature>) -> Self {
        Self {
            durability,
            time: TimeSource::Store,
            features: features.into_iter().collect(),
            vectors: None,
            limits: Limits::CONTRACT,
            notes: Vec::new(),
        }
    }

    /// Returns whether the backend offers the feature.
    pub fn has(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }
}
