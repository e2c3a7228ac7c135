//! Memories composed of several stores: a client that is killed leaves each of them whole.

use memquill::Facet;
use memquill_faults::Expected;

use crate::process::kill_clients;
use crate::trial::Places;
use crate::{Test, postgres, redis};

pub(crate) fn tests() -> Vec<Test> {
    let mut test = Test::new("composed::client_killed::at_random_points", client_killed);
    test.missing = postgres::missing().or_else(redis::missing);
    vec![test]
}

/// Conversations on Postgres, working memory on Redis, vectors in a file or a folder of Edge.
async fn client_killed(seed: u64) {
    let conversations = postgres::fresh_url().await;
    let redis = tokio::task::spawn_blocking(redis::start).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let vectors = if cfg!(feature = "edge") {
        format!("qdrant-edge:{}", folder.path().join("edge").display())
    } else {
        format!("sqlite:{}", folder.path().join("memory.db").display())
    };
    let places = Places(vec![
        (conversations, vec![Facet::Conversations]),
        (vectors, vec![Facet::Vectors]),
        (redis.url(), vec![Facet::Working]),
    ]);
    places.migrate().await;
    kill_clients(seed, places, Expected::default(), |_, _| {}).await;
}
