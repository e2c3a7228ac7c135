//! What a backend can do, as plain values (contract, G6 and G10).

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::Limits;

/// What an acknowledged write survives on the store's side (G6). Each includes those before it.
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

/// Whose clock gives creation times and decides what has expired (G8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeSource {
    /// The store's own: one clock for every process.
    Store,
    /// The machine's that the driver runs on, since the store tells none. Processes on several
    /// machines see what expires as near together as their clocks are.
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

/// Something that a store may be unable to do. What a backend does not claim is refused as
/// `Unsupported` before any I/O (G10).
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
    /// What was read elsewhere is put back with its numbers, times and versions (C11, V14, W9).
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

/// How a backend searches vectors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct VectorQuality {
    /// Results are exact up to so many matching records, at least 20,000; none means always (V7).
    pub exact_up_to: Option<u64>,
    /// How far a similarity may be from the exact one: 1e-4, or more where the store quantises (V4).
    pub similarity_tolerance: f32,
}

/// What a connected backend can do, found out at connect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capabilities {
    /// What an acknowledged write survives (G6).
    pub durability: Durability,
    /// Whose clock it goes by (G8).
    pub time: TimeSource,
    /// What the backend can do beyond what every driver can.
    pub features: BTreeSet<Feature>,
    /// How it searches, where it offers vectors.
    pub vectors: Option<VectorQuality>,
    /// The sizes it accepts: the contract's, unless configured lower (G4).
    pub limits: Limits,
    /// What else is to be known, in words: how much a crash loses, why something is absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Capabilities {
    /// The contract's limits, the store's clock and an exact search, with `features`.
    pub fn new(durability: Durability, features: impl IntoIterator<Item = Feature>) -> Self {
        Self {
            durability,
            time: TimeSource::Store,
            features: features.into_iter().collect(),
            vectors: Some(VectorQuality { exact_up_to: None, similarity_tolerance: 1e-4 }),
            limits: Limits::CONTRACT,
            notes: Vec::new(),
        }
    }

    /// Whether the backend can do it.
    pub fn has(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }
}
