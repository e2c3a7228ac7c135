//! The requests of control and administration.

use super::Request;
use crate::capability::Facet;
use crate::check::{identifier, page};
use crate::error::Result;
use crate::limits::Limits;
use crate::operation as op;
use crate::page::PageRequest;

/// Removes everything that a user has (G12).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Erase<'a>(pub(crate) &'a str);

impl Request for Erase<'_> {
    const OPERATION: &'static str = op::ERASE;
    const FACET: Option<Facet> = None;

    fn check(&self, _: &Limits) -> Result<()> {
        identifier("user", self.0)
    }

    fn writes(&self) -> bool {
        true
    }

    /// Repeated after it took effect, its receipt would say that nothing was there.
    fn is_repeatable(&self) -> bool {
        false
    }

    fn user(&self) -> Option<&str> {
        Some(self.0)
    }
}

/// Lists the scopes of a user.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListScopes<'a> {
    pub(crate) user: &'a str,
    pub(crate) page: &'a PageRequest,
}

impl Request for ListScopes<'_> {
    const OPERATION: &'static str = op::LIST_SCOPES;
    const FACET: Option<Facet> = None;

    fn check(&self, limits: &Limits) -> Result<()> {
        identifier("user", self.user)?;
        page(Self::OPERATION, self.page, limits)
    }

    fn writes(&self) -> bool {
        false
    }

    fn user(&self) -> Option<&str> {
        Some(self.user)
    }
}

/// Lists the users of a store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListUsers<'a>(pub(crate) &'a PageRequest);

impl Request for ListUsers<'_> {
    const OPERATION: &'static str = op::LIST_USERS;
    const FACET: Option<Facet> = None;

    fn check(&self, limits: &Limits) -> Result<()> {
        page(Self::OPERATION, self.0, limits)
    }

    fn writes(&self) -> bool {
        false
    }
}

macro_rules! without_parameters {
    ($($(#[$doc:meta])* $name:ident = $operation:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct $name;

        impl Request for $name {
            const OPERATION: &'static str = $operation;
            const FACET: Option<Facet> = None;

            fn check(&self, _: &Limits) -> Result<()> {
                Ok(())
            }

            fn writes(&self) -> bool {
                true
            }
        }
    )*};
}

without_parameters! {
    /// Brings a store to the driver's schema (G13).
    Migrate = op::MIGRATE;
    /// Removes what has expired (W8).
    PurgeExpired = op::PURGE_EXPIRED;
    /// Builds the indexes that searches need (V7).
    BuildIndexes = op::BUILD_INDEXES;
}
