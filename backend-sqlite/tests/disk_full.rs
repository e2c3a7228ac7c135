//! A full disk (contract, E1, G5 and G6): this test starts itself as a child that has a disk of two
//! megabytes, made of memory, in a mount namespace of its own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

mod support;

use std::path::Path;
use std::process::Command;

use memquill_core::{Append, Backend, ErrorKind, Message, Put, ReadMessages, Result};
use support::{in_file, scope};

const DISK: &str = "DISK_FULL_TEST_DISK";
const MOUNT: &str = r#"mount -t tmpfs -o size=2m tmpfs "$0" && exec "$@""#;

fn isolated(disk: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", MOUNT]).arg(disk);
    command
}

#[test]
fn e1_a_full_disk_is_unavailable_and_takes_nothing_with_it() {
    let disk = tempfile::tempdir().unwrap();
    if !isolated(disk.path()).arg("true").status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: this machine lets nobody mount");
        return;
    }
    let status = isolated(disk.path())
        .arg(std::env::current_exe().unwrap())
        .args(["child_with_a_small_disk", "--exact", "--nocapture"])
        .env(DISK, disk.path())
        .status()
        .unwrap();
    assert!(status.success());
}

/// A message that no other is like, with room for three in 100 KiB.
fn message(number: u64) -> Message {
    Message::user(format!("{number} {}", "x".repeat(30_000)))
}

async fn append(backend: &Backend, numbers: [u64; 2]) -> Result<u64> {
    let append = Append::new("c", numbers.map(message).to_vec());
    let appended = backend.conversations().unwrap().append(&scope(), &append).await?;
    Ok(appended.messages.last().unwrap().seq)
}

#[tokio::test]
async fn child_with_a_small_disk() {
    let Ok(disk) = std::env::var(DISK) else { return };
    let disk = Path::new(&disk);
    let ballast = disk.join("ballast");
    std::fs::write(&ballast, vec![1; 1 << 20]).unwrap();
    let file = disk.join("memory.db");
    let backend = in_file(&file).await;

    let mut last = 0;
    let error = loop {
        match append(&backend, [last + 1, last + 2]).await {
            Ok(seq) => last = seq,
            Err(error) => break error,
        }
    };
    assert!(last > 0, "there was room for some");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.is_transient() && error.hint().unwrap().contains("space"), "{error:?}");
    let working = backend.working().unwrap();
    working.put(&scope(), &Put::new("k", "x".repeat(500_000))).await.unwrap_err();

    // The same handle serves on once there is room, and so does one that opens the file again.
    std::fs::remove_file(ballast).unwrap();
    assert_eq!(append(&backend, [last + 1, last + 2]).await.unwrap(), last + 2);
    for backend in [backend, in_file(&file).await] {
        let conversations = backend.conversations().unwrap();
        let read = conversations.read(&scope(), &ReadMessages::all("c")).await.unwrap();
        let stored: Vec<Message> = read.messages.into_iter().map(|stored| stored.message).collect();
        assert_eq!(stored, (1..=last + 2).map(message).collect::<Vec<_>>());
    }
}
