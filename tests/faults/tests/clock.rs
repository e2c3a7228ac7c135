//! Clients whose clock was set back: a small library, preloaded, answers for the system.

use std::process::Command;
use std::time::{Duration, SystemTime};

use memquill_faults::Expected;
use tempfile::TempDir;

use crate::child::BEFORE;
use crate::process::kill_clients;
use crate::trial::Places;

/// Why no client can have another clock here.
pub(crate) fn missing() -> Option<String> {
    let compiler = Command::new("cc").arg("--version").output();
    let here = cfg!(target_os = "linux") && compiler.is_ok_and(|output| output.status.success());
    (!here).then(|| "no C compiler on this machine, or not Linux".to_owned())
}

/// Compiles the library.
fn library() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/back.c");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).arg(folder.path().join("back.so")).args([source, "-ldl"]);
    assert!(cc.status().unwrap().success(), "{cc:?}");
    folder
}

/// Clients with the right time and clients an hour behind take turns.
pub(crate) async fn kill_clients_with_two_clocks(seed: u64, places: Places, expected: Expected) {
    let library = library();
    let behind = SystemTime::now() - Duration::from_mins(30);
    let behind = behind.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    kill_clients(seed, places, expected, move |round, command| {
        if round % 2 == 1 {
            command.env("LD_PRELOAD", library.path().join("back.so"));
            command.env(BEFORE, behind.to_string());
        }
    })
    .await;
}
