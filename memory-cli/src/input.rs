//! Files as people have them, read as text.

pub(crate) mod text;

use std::path::Path;

use memquill::transfer::{LeftOut, Omission};
use memquill::{Error, ErrorKind};

/// Tells a failure of one item from a failure of everything: after the former a command leaves the
/// item out and goes on, after the latter it stops.
pub(crate) fn concerns_the_item(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::InvalidInput | ErrorKind::Conflict | ErrorKind::Corrupted | ErrorKind::NotFound
    )
}

/// Reports an item of a file as left out.
pub(crate) fn leave_out(left_out: &mut LeftOut, file: &Path, line: Option<u64>, error: &Error) {
    left_out.add(Omission { file: Some(file.display().to_string()), line, ..Omission::of(error) });
}

/// Puts file and line before an error's message.
pub(crate) fn at(file: &Path, line: Option<u64>, error: Error) -> Error {
    match line {
        Some(line) => error.at(format_args!("{}:{line}", file.display())),
        None => error.at(file.display()),
    }
}
