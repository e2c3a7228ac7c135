//! Any text is a configuration or an error that does not panic.
#![no_main]

use memquill::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // Every variable is set, and holds text that needs no expansion itself.
    let env = |name: &str| Some(format!("{name}$"));
    if let Err(error) = Config::from_text("fuzz.yaml", text, &env) {
        let _ = format!("{error} {error:?}");
    }
});
