//! `cargo xtask tree`: memquill-core stays free of runtimes, store clients and drivers.

use anyhow::{Result, bail};
use xshell::{Shell, cmd};

/// Crates that would bring I/O, a runtime or a driver into memquill-core.
const FORBIDDEN: [&str; 19] = [
    "tokio",
    "async-std",
    "smol",
    "async-io",
    "mio",
    "socket2",
    "hyper",
    "reqwest",
    "rustls",
    "sqlx",
    "sqlx-core",
    "sea-orm",
    "rusqlite",
    "libsqlite3-sys",
    "tokio-postgres",
    "redis",
    "qdrant-client",
    "tonic",
    "getrandom",
];

pub(crate) fn run(sh: &Shell) -> Result<()> {
    let format = "{p}";
    let tree = cmd!(sh, "cargo tree --locked -p memquill-core -e normal --prefix none -f {format}")
        .read()?;
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    let bad: Vec<&&str> = names
        .iter()
        .filter(|name| FORBIDDEN.contains(*name) || name.starts_with("backend-"))
        .collect();
    if !bad.is_empty() {
        bail!("memquill-core depends on {bad:?}; it has no driver, no I/O and no runtime");
    }
    println!(
        "memquill-core: {} crates, none of them a driver, a store client or a runtime",
        names.len()
    );
    Ok(())
}
