//! What one store holds is the same once it was copied to another: every ordered pair of stores that
//! share a facet.

use memquill::driver::Backend;
use memquill_conformance::moves;

use crate::Test;
#[cfg(feature = "postgres")]
use crate::postgres;
#[cfg(feature = "redis")]
use crate::redis;
use crate::trial::{Places, registry};

/// The stores, and whether they hold vectors alone, or everything but vectors.
const STORES: &[(&str, Holds)] = &[
    ("inmemory", Holds::All),
    ("sqlite", Holds::All),
    #[cfg(feature = "postgres")]
    ("postgres", Holds::All),
    #[cfg(feature = "redis")]
    ("redis", Holds::NoVectors),
    #[cfg(feature = "edge")]
    ("qdrant", Holds::VectorsAlone),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    All,
    #[cfg_attr(not(feature = "redis"), expect(dead_code))]
    NoVectors,
    #[cfg_attr(not(feature = "edge"), expect(dead_code))]
    VectorsAlone,
}

impl Holds {
    fn share(self, other: Self) -> bool {
        self == other || self == Self::All || other == Self::All
    }
}

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for &(from, held) in STORES {
        for &(to, taken) in STORES.iter().filter(|(to, _)| *to != from) {
            if held.share(taken) {
                let name = format!("moved::{from}_to_{to}");
                let mut test = Test::new(name, move |_| moved(from, to));
                test.missing = missing(from).or_else(|| missing(to));
                tests.push(test);
            }
        }
    }
    tests
}

fn missing(store: &str) -> Option<String> {
    match store {
        #[cfg(feature = "postgres")]
        "postgres" => postgres::missing(),
        #[cfg(feature = "redis")]
        "redis" => redis::missing(),
        _ => None,
    }
}

async fn moved(from: &'static str, to: &'static str) {
    let (from, to) = (open(from).await, open(to).await);
    moves(&from.backend, &to.backend).await;
}

/// A store of a test's own.
struct Open {
    backend: Backend,
    /// The server or the folder.
    _held: Option<Box<dyn std::any::Any>>,
}

async fn open(store: &str) -> Open {
    let (url, held): (String, Option<Box<dyn std::any::Any>>) = match store {
        #[cfg(feature = "postgres")]
        "postgres" => (postgres::fresh_url().await, None),
        #[cfg(feature = "redis")]
        "redis" => {
            let server = tokio::task::spawn_blocking(redis::start).await.unwrap();
            (server.url(), Some(Box::new(server)))
        }
        "inmemory" => ("memory:".to_owned(), None),
        _ => {
            let folder = tempfile::tempdir().unwrap();
            let scheme = if store == "qdrant" { "qdrant-edge" } else { "sqlite" };
            let url = format!("{scheme}:{}", folder.path().join("store").display());
            (url, Some(Box::new(folder)))
        }
    };
    Places::one(&url).migrate().await;
    let backend = registry().connect(&url.parse().unwrap()).await.unwrap();
    Open { backend, _held: held }
}
