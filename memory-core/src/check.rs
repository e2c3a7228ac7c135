//! The rules of legal requests (contract, G2 to G4, E4), and the wrapper that applies them to every
//! facet: every driver refuses the same input with the same kind and message, before any I/O.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::capability::{Capabilities, Feature};
use crate::error::{Error, Result};
use crate::json::{self, Object};
use crate::limits::{IDENTIFIER_BYTES, Limits, MAX_TTL, MIN_TTL};
use crate::page::PageRequest;
use crate::time::Timestamp;

/// Refuses what is not an identifier: 1 to 255 bytes of UTF-8 without control characters (G2).
pub(crate) fn identifier(what: &str, text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Error::invalid_input(format!("the {what} is empty"))
            .with_hint(format!("an identifier has 1 to {IDENTIFIER_BYTES} bytes")));
    }
    literal(what, text)
}

/// As [`identifier`], but may be empty: a prefix of identifiers.
pub(crate) fn literal(what: &str, text: &str) -> Result<()> {
    if text.len() > IDENTIFIER_BYTES {
        return Err(Error::invalid_input(format!(
            "the {what} has {} bytes, more than {IDENTIFIER_BYTES}",
            text.len()
        ))
        .with_hint("shorten it, or use a hash of it"));
    }
    if let Some((at, found)) = text.char_indices().find(|(_, c)| c.is_control()) {
        return Err(Error::invalid_input(format!(
            "the {what} holds the control character U+{:04X} at byte {}",
            u32::from(found),
            at + 1
        ))
        .with_hint("every other character is legal in an identifier, spaces and signs included"));
    }
    Ok(())
}

/// Refuses sizes past a limit, naming both (G4).
pub(crate) fn within(what: &str, size: usize, limit: usize, unit: &str) -> Result<()> {
    if size <= limit {
        return Ok(());
    }
    Err(Error::invalid_input(format!("{what} has {size} {unit}, more than {limit}")).with_hint(
        match unit {
            "bytes" => "split it, or store it elsewhere and keep a reference here",
            "dimensions" => "use a model of fewer dimensions",
            _ => "split the request",
        },
    ))
}

/// Checks the items of a batch; an error says which one it is about, where there are several.
pub(crate) fn each<T>(what: &str, items: &[T], check: impl Fn(&T) -> Result<()>) -> Result<()> {
    for (at, item) in items.iter().enumerate() {
        check(item).map_err(|error| match items.len() {
            1 => error,
            all => error.at(format_args!("{what} {} of {all}", at + 1)),
        })?;
    }
    Ok(())
}

/// Refuses a batch of no items or of too many; `item` is what one is called.
pub(crate) fn batch(item: &str, items: usize, limits: &Limits) -> Result<()> {
    if items == 0 {
        return Err(Error::invalid_input(format!("the batch has no {item}"))
            .with_hint("leave the call out, or give it an item"));
    }
    within("the batch", items, limits.batch_items, "items")
}

/// Refuses items of one name; `items` is what several are called, and `name` what repeats.
pub(crate) fn repeated<'a>(
    items: &str,
    name: &str,
    names: impl ExactSizeIterator<Item = Option<&'a str>>,
) -> Result<()> {
    let all = names.len();
    if all < 2 {
        return Ok(());
    }
    let mut seen = HashMap::new();
    for (at, text) in names.enumerate() {
        let Some(text) = text else { continue };
        if let Some(first) = seen.insert(text, at) {
            return Err(Error::invalid_input(format!(
                "{items} {} and {} of {all} have the same {name} {text:?}",
                first + 1,
                at + 1
            ))
            .with_hint(format!("give each a {name} of its own, or leave one out")));
        }
    }
    Ok(())
}

pub(crate) fn ids(what: &str, ids: &[String], limits: &Limits) -> Result<()> {
    batch(what, ids.len(), limits)?;
    each(what, ids, |id| identifier(what, id))
}

pub(crate) fn result_limit(limit: usize, limits: &Limits) -> Result<()> {
    if limit == 0 {
        return Err(Error::invalid_input("the limit is 0").with_hint("ask for at least 1"));
    }
    if limit <= limits.page_items {
        return Ok(());
    }
    Err(Error::invalid_input(format!("the limit is {limit}, more than {}", limits.page_items))
        .with_hint("ask for fewer, and for the rest by further pages"))
}

pub(crate) fn page(listing: &'static str, page: &PageRequest, limits: &Limits) -> Result<()> {
    result_limit(page.limit, limits)?;
    page.position(listing).map(drop)
}

pub(crate) fn metadata(metadata: &Object, limits: &Limits) -> Result<()> {
    if metadata.is_empty() {
        return Ok(());
    }
    json::check_object("metadata", metadata)?;
    within("metadata", json::size(metadata), limits.metadata_bytes, "bytes")
}

pub(crate) fn content(content: &str, limits: &Limits) -> Result<()> {
    within("the content", content.len(), limits.content_bytes, "bytes")?;
    json::check_text("the content", content)
}

pub(crate) fn ttl(ttl: Option<Duration>) -> Result<()> {
    match ttl {
        Some(ttl) if ttl < MIN_TTL => {
            Err(Error::invalid_input(format!("the ttl {ttl:?} is shorter than 1 ms"))
                .with_hint("give at least 1 ms, or no ttl for an entry that never expires"))
        }
        Some(ttl) if ttl > MAX_TTL => Err(Error::invalid_input(format!(
            "the ttl of {} s is longer than 100 years",
            ttl.as_secs()
        ))
        .with_hint("give no ttl for an entry that never expires")),
        _ => Ok(()),
    }
}

pub(crate) fn time(what: &str, time: Timestamp) -> Result<()> {
    if time >= Timestamp::default() {
        return Ok(());
    }
    Err(Error::invalid_input(format!("{what} is before 1970: {time}"))
        .with_hint("restore what a store gave; its clock does not go back so far"))
}

/// Checks the times of what is restored.
pub(crate) fn times(
    created_at: Timestamp,
    updated_at: Timestamp,
    expires_at: Option<Timestamp>,
) -> Result<()> {
    time("created_at", created_at)?;
    time("updated_at", updated_at)?;
    expires_at.map_or(Ok(()), |at| time("expires_at", at))
}

/// Puts the checks around one facet of a driver.
#[derive(Debug)]
pub(crate) struct Checked<S: ?Sized> {
    backend: &'static str,
    capabilities: Arc<Capabilities>,
    /// Whether the backend was closed; all its facets share this.
    closed: Arc<AtomicBool>,
    inner: Arc<S>,
}

impl<S: ?Sized> Checked<S> {
    pub(crate) fn new(
        backend: &'static str,
        capabilities: &Arc<Capabilities>,
        closed: &Arc<AtomicBool>,
        inner: Arc<S>,
    ) -> Arc<Self> {
        let (capabilities, closed) = (Arc::clone(capabilities), Arc::clone(closed));
        Arc::new(Self { backend, capabilities, closed, inner })
    }

    /// Refuses every call after the backend was closed (G15).
    pub(crate) fn open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::closed()) } else { Ok(()) }
    }

    /// Marks the backend as closed, and says whether it was open.
    pub(crate) fn shut(&self) -> bool {
        !self.closed.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn inner(&self) -> &S {
        &self.inner
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.capabilities.limits
    }

    /// Refuses a feature that is not claimed (G10).
    pub(crate) fn require(&self, feature: Feature) -> Result<()> {
        if self.capabilities.has(feature) {
            return Ok(());
        }
        Err(Error::unsupported(format!("{} does not offer {feature}", self.backend)).with_hint(
            "use a store that offers it; `memquill capabilities` and Backend::capabilities list \
             what a store offers",
        ))
    }

    /// Adds to an error where it happened.
    pub(crate) fn locate_in<T>(&self, operation: &'static str, result: Result<T>) -> Result<T> {
        result.map_err(|error| error.with_backend(self.backend).with_operation(operation))
    }
}
