//! `cargo xtask images`: builds the stores' container image where no registry is in reach.
//!
//! One image from Debian's own packages holds every server that tests start in a container:
//! Postgres with pgvector, Redis and Valkey. It has no entry point; each test says what to run.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use xshell::{Shell, cmd};

/// The image, by a name of its own, and what it is made of. Tests name it too.
const IMAGE: &str = "agent-memory/stores:trixie-1";
const SUITE: &str = "trixie";
const PACKAGES: &str = "postgresql-17,postgresql-17-pgvector,redis-server,valkey-server";
/// Where Debian keeps Postgres' programs.
const ENVIRONMENT: &str = "ENV PATH=/usr/lib/postgresql/17/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(crate) fn run(sh: &Shell) -> Result<()> {
    if cmd!(sh, "docker image inspect {IMAGE}")
        .quiet()
        .ignore_stdout()
        .ignore_stderr()
        .run()
        .is_ok()
    {
        println!("{IMAGE} is there");
        return Ok(());
    }
    need(sh, "docker")?;
    if which(sh, "debootstrap").is_err() {
        cmd!(sh, "apt-get install -y debootstrap")
            .run()
            .context("debootstrap is missing; install it as root (apt-get install debootstrap)")?;
    }
    let folder = sh.create_temp_dir()?;
    let root = folder.path().join("root");
    cmd!(sh, "debootstrap --variant=minbase --include={PACKAGES} {SUITE} {root}")
        .run()
        .context("debootstrap needs root and a Debian mirror in reach")?;
    import(sh, &root)?;
    println!("built {IMAGE}");
    Ok(())
}

/// Makes an image of a folder.
fn import(sh: &Shell, root: &Path) -> Result<()> {
    sh.remove_path(root.join("var/cache/apt/archives"))?;
    let archive = root.with_extension("tar");
    cmd!(sh, "tar -C {root} -cf {archive} .").run()?;
    cmd!(sh, "docker import -c {ENVIRONMENT} {archive} {IMAGE}").run()?;
    Ok(())
}

fn need(sh: &Shell, program: &str) -> Result<()> {
    if which(sh, program).is_err() {
        bail!("{program} is missing");
    }
    Ok(())
}

fn which(sh: &Shell, program: &str) -> xshell::Result<()> {
    cmd!(sh, "sh -c 'command -v \"$0\"' {program}").quiet().ignore_stdout().run()
}
