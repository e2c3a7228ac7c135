//! Memory kinds.
