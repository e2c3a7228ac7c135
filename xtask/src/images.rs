//! `cargo xtask images`: builds the stores' container image where no registry is in reach.
//!
//! One image from Debian's own packages holds every server that tests start in a container:
//! Postgres with pgvector, `PgBouncer`, Redis and Valkey. It has no entry point; each test says what
//! to run.

use std::path::Path;

use anyhow::{Context as _, Result};
use xshell::{Shell, cmd};

/// The image, by a name of its own, and what it is made of. Tests name it too.
pub(crate) const IMAGE: &str = "memquill/stores:trixie-2";
const SUITE: &str = "trixie";
const PACKAGES: &str = "postgresql-17,postgresql-17-pgvector,pgbouncer,redis-server,valkey-server";
/// Where Debian keeps Postgres' programs.
const ENVIRONMENT: &str = "ENV PATH=/usr/lib/postgresql/17/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(crate) fn run(sh: &Shell) -> Result<()> {
    if is_there(sh) {
        println!("{IMAGE} is there");
        return Ok(());
    }
    if cmd!(sh, "debootstrap --version").quiet().ignore_stdout().ignore_stderr().run().is_err() {
        cmd!(sh, "apt-get update -qq").run().context("installing debootstrap, as root")?;
        cmd!(sh, "apt-get install -y -qq debootstrap").run()?;
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

/// Whether Docker runs here and has the image.
pub(crate) fn is_there(sh: &Shell) -> bool {
    let inspect = cmd!(sh, "docker image inspect {IMAGE}");
    inspect.quiet().ignore_stdout().ignore_stderr().run().is_ok()
}

/// Makes an image of a folder.
fn import(sh: &Shell, root: &Path) -> Result<()> {
    sh.remove_path(root.join("var/cache/apt/archives"))?;
    let archive = root.with_extension("tar");
    cmd!(sh, "tar -C {root} -cf {archive} .").run()?;
    cmd!(sh, "docker import -c {ENVIRONMENT} {archive} {IMAGE}").run()?;
    Ok(())
}
