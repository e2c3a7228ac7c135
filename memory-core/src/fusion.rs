//! Fusing rankings.
