//! Clients that are processes of their own.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use memquill_faults::{Expected, History};

use crate::child::{ERRAND, Errand, Work};
use crate::trial::{Places, verify};

/// This program, to run an errand.
pub(crate) fn command(errand: &Errand) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(ERRAND, serde_json::to_string(errand).unwrap());
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// Lets a process work until a number of its calls have ended, then kills it, and takes in what it
/// noted.
fn killed(mut command: Command, calls: usize, history: &History, file: &Path) {
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ended = lines.take(calls).map_while(Result::ok).count();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(ended, calls, "the child ended by itself");
    history.take_in(file);
}

/// Several processes after each other, each killed at some call; `prepare` may change how each is
/// started.
pub(crate) async fn kill_clients(
    seed: u64,
    places: Places,
    expected: Expected,
    prepare: impl Fn(u64, &mut Command) + Send + 'static,
) {
    let (folder, history) = (tempfile::tempdir().unwrap(), Arc::new(History::new()));
    let clients = {
        let (folder, history, places) =
            (folder.path().to_owned(), Arc::clone(&history), places.clone());
        move || {
            let mut dice = fastrand::Rng::with_seed(seed);
            for round in 0..KILLS {
                let file = folder.join(round.to_string());
                let work = Work {
                    seed,
                    workers: WORKERS,
                    first: round * WORKERS,
                    offset: history.elapsed(),
                    file: file.clone(),
                    places: places.clone(),
                };
                let mut command = command(&Errand::Work(work));
                prepare(round, &mut command);
                killed(command, dice.usize(20..150), &history, &file);
            }
        }
    };
    tokio::task::spawn_blocking(clients).await.unwrap();
    verify(&history.events(), &places, &expected).await;
}

/// Processes for each test.
const KILLS: u64 = 5;
const WORKERS: u64 = 4;

/// Waits for a process, and fails with it.
pub(crate) async fn succeeds(mut command: Command) {
    let run =
        move || command.stdout(Stdio::inherit()).spawn().and_then(|mut child: Child| child.wait());
    let status = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    assert!(status.success(), "the child failed: {status}");
}
