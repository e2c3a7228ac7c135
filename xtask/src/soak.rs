//! `cargo xtask soak`: the fault suite for a long time.

use anyhow::{Result, bail};
use xshell::{Shell, cmd};

use crate::stores;

/// Draws tests of the fault suite at random until the time is over, or until one fails. The seed
/// that it prints, or that is given, is where all dice come from.
pub(crate) fn run(sh: &Shell, minutes: u32, seed: Option<u64>) -> Result<()> {
    if minutes == 0 {
        bail!("a soak takes a minute at least");
    }
    stores::set_up(sh)?;
    let _minutes = sh.push_env("MEMQUILL_FAULTS_MINUTES", minutes.to_string());
    let _seed = seed.map(|seed| sh.push_env("MEMQUILL_FAULTS_SEED", seed.to_string()));
    cmd!(sh, "cargo test -p memquill-faults --features edge --test faults --locked").run()?;
    Ok(())
}
