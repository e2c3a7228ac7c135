//! The conformance suite through the layers: they change nothing.

mod support;

use std::process::ExitCode;

use memory_conformance::main_with;
use memory_core::layer::Trace;
use support::Stores;

fn main() -> ExitCode {
    main_with(Stores {
        name: "inmemory (layered)",
        around: |_| Box::new(|backend| backend.layered(Trace)),
    })
}
