//! The `memquill` command with the drivers that its cargo features name.

use std::process::ExitCode;

fn main() -> ExitCode {
    memquill_cli::run(memquill::driver::Registry::with_compiled_drivers())
}
