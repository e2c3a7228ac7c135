//! `cargo xtask stranger`: a driver outside of this workspace, built on the packaged crates.
//!
//! The driver is the code of docs/driver-guide.md, as somebody would copy it. It depends on
//! `memquill-core` and `memquill-conformance` as they would be published, and runs the suite.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use xshell::{Shell, cmd};

const GUIDE: [&str; 2] = ["docs/driver-guide.md", "docs/driver-guide-vectors.md"];

/// The packages that the driver needs, those it depends on through others included.
const PACKAGES: [&str; 3] = ["memquill-core", "memquill-transfer", "memquill-conformance"];

/// What this workspace compiles dependencies with, so that they are compiled once.
const PROFILE: &str = "[profile.dev]\ndebug = \"line-tables-only\"\n\n\
                       [profile.dev.package.\"*\"]\ndebug = false\n";

pub(crate) fn run(sh: &Shell) -> Result<()> {
    cmd!(
        sh,
        "cargo package --workspace --exclude xtask --exclude memquill-faults --exclude testkit"
    )
    .args(["--no-verify", "--locked", "--allow-dirty"])
    .run()?;
    let target = target(sh)?;
    let scratch = sh.create_temp_dir()?;
    let place = scratch.path();
    write_crate(sh, place)?;
    let mut manifest = sh.read_file(place.join("Cargo.toml"))?;
    write!(manifest, "\n[workspace]\n\n{PROFILE}\n[patch.crates-io]\n")?;
    for name in PACKAGES {
        let version = env!("CARGO_PKG_VERSION");
        let package = format!("{target}/package/{name}-{version}.crate");
        cmd!(sh, "tar -C {place} -xzf {package}").run()?;
        writeln!(manifest, "{name} = {{ path = \"{name}-{version}\" }}")?;
    }
    sh.write_file(place.join("Cargo.toml"), manifest)?;
    // The versions that this workspace is tested with.
    sh.copy_file("Cargo.lock", place.join("Cargo.lock"))?;
    let _folder = sh.push_dir(place);
    let _target = sh.push_env("CARGO_TARGET_DIR", &target);
    cmd!(sh, "cargo test --quiet").run()?;
    Ok(())
}

/// Writes the guide's blocks that begin with the name of a file to that file.
fn write_crate(sh: &Shell, place: &Path) -> Result<()> {
    let guide = GUIDE.map(|page| sh.read_file(page));
    let guide = guide.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    let mut files = 0;
    for block in guide.split("\n```").skip(1).step_by(2) {
        let text = block.split_once('\n').map_or("", |(_, text)| text);
        let first = text.lines().next().unwrap_or_default();
        let name = first.strip_prefix("// ").or_else(|| first.strip_prefix("# "));
        if let Some(name) = name.filter(|name| Path::new(name).extension().is_some()) {
            sh.write_file(place.join(name), format!("{text}\n"))?;
            files += 1;
        }
    }
    if files < 2 {
        bail!("{} has no crate in its blocks", GUIDE[0]);
    }
    Ok(())
}

/// The folder that cargo builds into.
fn target(sh: &Shell) -> Result<String> {
    let metadata = cmd!(sh, "cargo metadata --format-version 1 --no-deps --locked").read()?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    Ok(metadata["target_directory"].as_str().context("cargo's target folder")?.to_owned())
}
