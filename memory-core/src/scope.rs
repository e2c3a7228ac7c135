//! The isolation key (contract, G1 and G2).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::check::identifier;
use crate::error::Result;

/// A user and a memory node: the isolation key that every operation takes (G1).
///
/// What is written under one scope is visible only under the byte-equal scope. A scope cannot be
/// built from an illegal identifier (G2).
///
/// ```
/// use memquill_core::Scope;
/// let scope = Scope::new("alice", "support-bot")?;
/// assert_eq!(scope.user(), "alice");
/// assert!(Scope::new("", "support-bot").is_err());
/// # Ok::<(), memquill_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Scope {
    user: String,
    node: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    user: String,
    node: String,
}

impl Scope {
    /// The scope of `user` at `node`.
    pub fn new(user: impl Into<String>, node: impl Into<String>) -> Result<Self> {
        let scope = Self { user: user.into(), node: node.into() };
        identifier("user", &scope.user)?;
        identifier("node", &scope.node)?;
        Ok(scope)
    }

    /// The user.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The memory node.
    pub fn node(&self) -> &str {
        &self.node
    }
}

impl TryFrom<Parts> for Scope {
    type Error = crate::Error;

    fn try_from(parts: Parts) -> Result<Self> {
        Self::new(parts.user, parts.node)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({:?}, {:?})", self.user, self.node)
    }
}
