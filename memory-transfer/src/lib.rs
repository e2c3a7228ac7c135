//! Moving memory between stores: every field of every facet, numbers, times, versions, expiry and
//! embeddings included (contract: C11, V14, W9).
//!
//! An [`Endpoint`] is where data is read or written, each facet on a backend of its own, and a
//! [`UserSelection`] says of
//! which users. [`copy`] moves from one to another, [`verify`] compares two, [`export`] writes a file
//! that [`import`] reads. All of them work batch by batch, so that their need of memory does not
//! grow with what is moved, and all can be repeated: what is there already and identical stays as
//! it is.
//!
//! The file's format is that of `docs/export-format.md`.

mod batch;
mod copy;
mod endpoint;
mod file;
mod import;
pub mod items;
mod left_out;
mod messages;
pub mod transcript;
mod verify;
mod walk;

pub use self::batch::{Counts, Moved, Progress};
pub use self::copy::{CopyOptions, copy};
pub use self::endpoint::{Endpoint, UserSelection};
pub use self::file::{FORMAT_VERSION, check, check_order, export};
pub use self::import::{Import, import};
pub use self::left_out::{LeftOut, Omission};
pub use self::verify::{Difference, Verification, verify};
pub use self::walk::count;
