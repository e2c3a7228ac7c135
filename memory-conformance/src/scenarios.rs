//! All scenarios, a file for each facet and theme.

mod conversations;
mod errors;
mod general;
mod hostile;
mod properties;
mod vectors;
mod working;

use crate::scenario::Scenario;

/// Every scenario, in the order of the contract.
pub fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    all.extend(general::all());
    all.extend_from_slice(errors::ALL);
    all.extend(conversations::all());
    all.extend(vectors::all());
    all.extend(working::all());
    all.extend(properties::all());
    all.extend(hostile::all());
    all
}
