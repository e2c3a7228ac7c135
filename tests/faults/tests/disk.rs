//! A full disk: a child that has a small one of its own works on it while it fills.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::child::Errand;
use crate::process::{command, succeeds};
use crate::trial::Trial;

/// What a child is to fill.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Fill {
    seed: u64,
    /// Where it works.
    url: String,
    /// A file that takes the disk's room.
    ballast: std::path::PathBuf,
    /// Bytes that stay free.
    left: u64,
}

/// A command with a disk of its own, made of memory.
fn on_a_small_disk(disk: &Path, megabytes: u64) -> Command {
    let mount = format!(r#"mount -t tmpfs -o size={megabytes}m tmpfs "$0" && exec "$@""#);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount]).arg(disk);
    command
}

/// Why no disk can be made here, if none can.
pub(crate) fn missing() -> Option<String> {
    let disk = tempfile::tempdir().unwrap();
    let mounts = on_a_small_disk(disk.path(), 1).arg("true").output();
    let mounts = mounts.is_ok_and(|output| output.status.success());
    (!mounts).then(|| "this machine lets nobody mount".to_owned())
}

/// Workers on a small disk, which is filled up to a few bytes until calls fail,
/// and emptied.
pub(crate) async fn full(seed: u64, megabytes: u64, left: u64, url: impl FnOnce(&Path) -> String) {
    let disk = tempfile::tempdir().unwrap();
    let ballast = disk.path().join("ballast");
    let fill = Fill { seed, url: url(disk.path()), ballast, left };
    let errand = command(&Errand::FillDisk(fill));
    let mut isolated = on_a_small_disk(disk.path(), megabytes);
    isolated.arg(errand.get_program());
    isolated.envs(errand.get_envs().filter_map(|(name, value)| Some((name, value?))));
    succeeds(isolated).await;
}

impl Fill {
    /// The child's part.
    pub(crate) async fn run(self) {
        Trial::new(self.seed, self.url)
            .run(async |running| {
                let mut file = File::create(&self.ballast).unwrap();
                let free = fs4::available_space(&self.ballast).unwrap();
                // Where nothing is to stay, the workers may leave more than there was.
                let most = if self.left == 0 { u64::MAX } else { free - self.left };
                let filled = io::copy(&mut io::repeat(1).take(most), &mut file);
                assert_eq!(filled.is_err(), self.left == 0);
                running.failed(6).await;
                fs::remove_file(&self.ballast).unwrap();
            })
            .await;
    }
}
