//! The conformance suite on the in-memory driver.

mod support;

use std::process::ExitCode;

use memquill_conformance::main_with;
use support::Stores;

fn main() -> ExitCode {
    main_with(Stores { name: "inmemory", around: |_| Box::new(|backend| backend) })
}
