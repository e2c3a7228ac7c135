//! Any text is a configuration or an error that does not panic.
#![no_main]

use agent_memory::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = Config::from_yaml(text) {
        let _ = format!("{error} {error:?}");
    }
});
