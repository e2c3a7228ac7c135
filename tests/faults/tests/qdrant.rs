//! Faults of a folder of Qdrant Edge.

use memory_faults::Expected;

use crate::Test;
use crate::inmemory::{dropped, injected};
use crate::process::kill_clients;
use crate::trial::{Places, Trial};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("qdrant::client_killed::at_random_points", client_killed),
        Test::new("qdrant::dropped::at_random_points", |seed| in_folder(seed, dropped)),
        Test::new("qdrant::injected::before_and_after_the_call", |seed| {
            in_folder(seed, move |trial| injected(trial, seed))
        }),
    ]
}

async fn in_folder<F: Future<Output = ()>>(seed: u64, run: impl FnOnce(Trial) -> F) {
    let folder = tempfile::tempdir().unwrap();
    run(Trial::new(seed, format!("qdrant-edge:{}", folder.path().display()))).await;
}

async fn client_killed(seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let places = Places::one(format!("qdrant-edge:{}", folder.path().display()));
    kill_clients(seed, places, Expected::default(), |_, _| {}).await;
}
