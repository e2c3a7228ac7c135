//! Where data is read or written, and whose.

use std::collections::{BTreeMap, BTreeSet};

use memquill_core::{Administrator, Backend, Error, Facet, Feature, Result};

/// The source or the target of a transfer: each of its facets on a backend.
#[derive(Debug, Clone, Default)]
pub struct Endpoint {
    facets: BTreeMap<Facet, Backend>,
}

impl Endpoint {
    /// Creates an endpoint without facets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an endpoint of one store, with all the facets that it offers.
    pub fn of(backend: &Backend) -> Self {
        let facets = backend.facets().into_iter();
        Self { facets: facets.map(|facet| (facet, backend.clone())).collect() }
    }

    /// Puts a facet on a backend.
    #[must_use]
    pub fn with(mut self, facet: Facet, backend: Backend) -> Self {
        self.facets.insert(facet, backend);
        self
    }

    /// Leaves out every facet but these. One that is not here is `Unsupported`.
    pub fn only(mut self, facets: &BTreeSet<Facet>) -> Result<Self> {
        for facet in facets {
            self.backend(*facet)?;
        }
        self.facets.retain(|facet, _| facets.contains(facet));
        Ok(self)
    }

    /// The facets.
    pub fn facets(&self) -> BTreeSet<Facet> {
        self.facets.keys().copied().collect()
    }

    /// The backend of a facet.
    pub fn backend(&self, facet: Facet) -> Result<&Backend> {
        self.facets.get(&facet).ok_or_else(|| {
            let offered: Vec<&str> = self.facets.keys().map(|facet| facet.as_str()).collect();
            Error::unsupported(format!(
                "{facet} are not offered here; what is: {}",
                offered.join(", ")
            ))
            .with_hint("name the facets to move, or another store for this one")
        })
    }

    pub(crate) fn backends(&self) -> impl Iterator<Item = (Facet, &Backend)> {
        self.facets.iter().map(|(facet, backend)| (*facet, backend))
    }

    /// Refuses a target that lacks a facet of `from`, or cannot restore: nothing is left out in
    /// silence (G10).
    pub(crate) fn must_take(&self, from: &Self) -> Result<()> {
        let (shared, lacking): (Vec<Facet>, Vec<Facet>) =
            from.facets().into_iter().partition(|facet| self.facets.contains_key(facet));
        if !lacking.is_empty() {
            let names = |facets: &[Facet]| {
                facets.iter().map(|facet| facet.as_str()).collect::<Vec<_>>().join(",")
            };
            let hint = if shared.is_empty() {
                "name a store that offers them".to_owned()
            } else {
                format!("to move the rest alone, name it: --facets {}", names(&shared))
            };
            return Err(Error::unsupported(format!(
                "the target does not offer {}",
                names(&lacking)
            ))
            .with_hint(hint));
        }
        let cannot = |facet: &Facet| {
            let backend = self.facets.get(facet)?;
            (!backend.capabilities().has(Feature::Restoring)).then(|| backend.name())
        };
        match shared.iter().find_map(cannot) {
            None => Ok(()),
            Some(name) => Err(Error::unsupported(format!("{name} cannot restore (restoring)"))
                .with_hint("name another store as the target")),
        }
    }
}

/// The users whose memory is moved.
#[derive(Debug, Clone)]
pub enum UserSelection {
    /// One user's.
    User(String),
    /// Everybody's, as the administration handles of each facet's store list them.
    All(BTreeMap<Facet, Administrator>),
}
