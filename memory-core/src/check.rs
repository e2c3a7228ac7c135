//! The one place where requests are checked (contract, E4): every driver refuses the same input
//! with the same kind and message, before any I/O.

mod facets;
pub(crate) mod requests;

use std::sync::Arc;

use crate::capability::{Capabilities, Feature};
use crate::error::{Error, Result};
use crate::limits::{IDENTIFIER_BYTES, Limits};

/// Refuses what is no identifier: 1 to 255 bytes of UTF-8 without control characters (G2).
pub(crate) fn identifier(what: &str, text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Error::invalid_input(format!("the {what} is empty"))
            .with_hint(format!("an identifier has 1 to {IDENTIFIER_BYTES} bytes")));
    }
    literal(what, text)
}

/// As [`identifier`], but may be empty: a prefix of identifiers.
fn literal(what: &str, text: &str) -> Result<()> {
    if text.len() > IDENTIFIER_BYTES {
        return Err(Error::invalid_input(format!(
            "the {what} has {} bytes, more than {IDENTIFIER_BYTES}",
            text.len()
        ))
        .with_hint("shorten it, or use a hash of it"));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::invalid_input(format!("the {what} holds a control character"))
            .with_hint(
                "every other character is legal in an identifier, spaces and signs included",
            ));
    }
    Ok(())
}

/// Refuses sizes past a limit, naming both (G4).
fn within(what: &str, size: usize, limit: usize, unit: &str) -> Result<()> {
    if size <= limit {
        return Ok(());
    }
    Err(Error::invalid_input(format!("{what} has {size} {unit}, more than {limit}")).with_hint(
        match unit {
            "bytes" => "split it, or store it elsewhere and keep a reference here",
            _ => "split the request",
        },
    ))
}

/// Puts the checks around one facet of a driver.
#[derive(Debug)]
pub(crate) struct Checked<S: ?Sized> {
    backend: &'static str,
    capabilities: Arc<Capabilities>,
    inner: Arc<S>,
}

impl<S: ?Sized> Checked<S> {
    pub(crate) fn new(
        backend: &'static str,
        capabilities: &Arc<Capabilities>,
        inner: Arc<S>,
    ) -> Arc<Self> {
        Arc::new(Self { backend, capabilities: Arc::clone(capabilities), inner })
    }

    fn limits(&self) -> &Limits {
        &self.capabilities.limits
    }

    /// Refuses a feature that is asked for but not claimed (G10).
    fn require(&self, asked: bool, feature: Feature) -> Result<()> {
        if !asked || self.capabilities.has(feature) {
            return Ok(());
        }
        Err(Error::unsupported(format!("{} does not offer {feature}", self.backend))
            .with_hint("`memquill capabilities` shows which store offers it"))
    }

    /// Completes an error with where it happened.
    fn locate<T>(&self, operation: &'static str, result: Result<T>) -> Result<T> {
        result.map_err(|error| error.with_backend(self.backend).with_operation(operation))
    }
}
