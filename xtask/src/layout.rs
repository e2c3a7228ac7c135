//! `cargo xtask layout`: drivers are laid out alike, and no source file is long.

use anyhow::{Result, bail};
use xshell::{Shell, cmd};

const DRIVERS: [&str; 5] =
    ["backend-inmemory", "backend-sqlite", "backend-postgres", "backend-redis", "backend-qdrant"];
/// The driver without a client library: it has no errors to translate and no rows to decode.
const CLIENTLESS: &str = "backend-inmemory";

/// The files of a driver, each with what it must contain.
const FILES: [(&str, &str); 10] = [
    ("src/lib.rs", "#![doc = include_str!(\"docs.md\")]"),
    ("src/driver.rs", "\nconst NAME: &str = "),
    ("src/driver.rs", "\npub const SCHEMES: &[&str] ="),
    ("src/driver.rs", "\npub fn driver() -> Arc<dyn Driver> {"),
    ("src/config.rs", "\n    pub(crate) fn from_url(url: &StoreUrl) -> Result<Self> {"),
    ("src/store.rs", "\npub(crate) struct Store "),
    ("src/admin.rs", "\nimpl Admin for Administration {"),
    ("src/control.rs", "\nimpl Control for Controls {"),
    ("tests/conformance.rs", "main_with"),
    ("tests/support/mod.rs", "//! "),
];
/// The files of a driver with a client library.
const CLIENT_FILES: [(&str, &str); 2] =
    [("src/error.rs", "\npub(crate) fn translate("), ("src/codec.rs", "\npub(crate) ")];
/// The file of each facet that `driver.rs` hands over: the facet's name there, the file's, and what
/// the file must contain.
const FACETS: [(&str, &str, &str); 3] = [
    ("conversations", "src/conversations.rs", "\nimpl ConversationStore for Conversations {"),
    ("vectors", "src/vectors.rs", "\nimpl VectorStore for Vectors {"),
    ("working", "src/working.rs", "\nimpl WorkingStore for Working {"),
];
/// The most lines of a source file.
const MAX_LINES: usize = 600;

pub(crate) fn run(sh: &Shell) -> Result<()> {
    let mut faults = Vec::new();
    for driver in DRIVERS {
        check_driver(sh, driver, &mut faults);
    }
    let sources = cmd!(sh, "git ls-files *.rs *.lua *.sql *.sh *.py *.md").read()?;
    for file in sources.lines() {
        let lines = sh.read_file(file)?.lines().count();
        if lines > MAX_LINES {
            faults.push(format!("{file} has {lines} lines, more than {MAX_LINES}"));
        }
    }
    if !faults.is_empty() {
        bail!("the layout is broken (see docs/driver-guide.md):\n{}", faults.join("\n"));
    }
    println!("{} drivers are laid out alike; no source file is too long", DRIVERS.len());
    Ok(())
}

fn check_driver(sh: &Shell, driver: &str, faults: &mut Vec<String>) {
    let read = |file: &str| sh.read_file(format!("{driver}/{file}")).ok();
    let mut required = FILES.to_vec();
    if driver != CLIENTLESS {
        required.extend(CLIENT_FILES);
    }
    let parts = read("src/driver.rs").unwrap_or_default();
    for (facet, file, text) in FACETS {
        if parts.contains(&format!("{facet}: Some(")) {
            required.push((file, text));
        } else if read(file).is_some() {
            faults.push(format!("{driver}/{file}: driver.rs hands over no such facet"));
        }
    }
    for (file, text) in required {
        match read(file) {
            None => faults.push(format!("{driver}/{file} is missing")),
            Some(content) if !content.contains(text) => {
                faults.push(format!("{driver}/{file} lacks {:?}", text.trim()));
            }
            Some(_) => {}
        }
    }
}
