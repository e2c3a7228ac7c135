//! All scenarios, a file for each facet and family.

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
    [
        general::ALL,
        errors::ALL,
        conversations::ALL,
        &vectors::all()[..],
        working::ALL,
        &properties::all()[..],
        &hostile::all()[..],
    ]
    .concat()
}
