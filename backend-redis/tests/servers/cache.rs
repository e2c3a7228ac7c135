//! The second level that caches of several processes share.

use std::sync::Arc;
use std::time::Duration;

use memquill_core::cache::{Cache, CacheOptions, SharedLevel};
use memquill_core::{Backend, Facet, Lookup, Scope, SharedCache, SharedKey};

use crate::support::cluster::Cluster;
use crate::support::connect;
use crate::{get, put, scope};
use testkit::redis::Server;

crate::cases! {
    a_lease_holds_until_the_item_is_forgotten,
    a_forgotten_user_takes_leases_and_values_along,
    processes_with_a_shared_level_see_each_other,
    a_shared_level_on_a_cluster_keeps_and_forgets,
}

const LONG: Duration = Duration::from_mins(1);

async fn missing(cache: &Arc<dyn SharedCache>, key: SharedKey<'_>) -> memquill_core::Lease {
    match cache.look_up(key).await.unwrap() {
        Lookup::Missing(lease) => lease,
        Lookup::Found(found) => panic!("{found:?} is there"),
    }
}

async fn a_lease_holds_until_the_item_is_forgotten() {
    let server = Server::start("redis-server", &[]);
    let backend = connect(&server.url()).await.unwrap();
    let cache = backend.shared_cache().unwrap();
    let scope = scope();
    // Nothing in a name breaks out of its scope.
    for name in ["k", "a:b/c{d}", "\u{1f600}", ""] {
        let key = SharedKey { scope: Some(&scope), name };
        let slow = missing(cache, key).await;
        assert_eq!(missing(cache, key).await, slow, "whoever reads at the same time shares it");
        cache.forget(Some(&scope), &[name, "other"]).await.unwrap();
        assert!(!cache.keep(key, &slow, b"old", LONG).await.unwrap(), "a slow reader keeps");
        let lease = missing(cache, key).await;
        assert!(cache.keep(key, &lease, b"V\0\xff new", LONG).await.unwrap());
        assert!(!cache.keep(key, &lease, b"again", LONG).await.unwrap());
        assert_eq!(cache.look_up(key).await.unwrap(), Lookup::Found(b"V\0\xff new".to_vec()));
        for other in [Some(Scope::new("alice", "bo").unwrap()), None] {
            let other = SharedKey { scope: other.as_ref(), name };
            let lease = missing(cache, other).await;
            assert!(cache.keep(other, &lease, b"theirs", Duration::from_millis(1)).await.unwrap());
        }
        assert_eq!(cache.look_up(key).await.unwrap(), Lookup::Found(b"V\0\xff new".to_vec()));
    }
    // All of it expires by itself.
    let keys: Vec<String> =
        redis::from_redis_value(server.command(&["KEYS", "memory:*cache*"])).unwrap();
    assert!(keys.len() > 4, "{keys:?}");
    for key in keys {
        let ttl: i64 = redis::from_redis_value(server.command(&["PTTL", &key])).unwrap();
        assert_ne!(ttl, -1, "{key}");
    }
}

async fn a_forgotten_user_takes_leases_and_values_along() {
    let server = Server::start("redis-server", &[]);
    let backend = connect(&server.url()).await.unwrap();
    let cache = backend.shared_cache().unwrap();
    let (scope, bob) = (scope(), Scope::new("bob", "bot").unwrap());
    let [kept, leased, bobs] = [(&scope, "kept"), (&scope, "leased"), (&bob, "kept")]
        .map(|(scope, name)| SharedKey { scope: Some(scope), name });
    for key in [kept, bobs] {
        let lease = missing(cache, key).await;
        assert!(cache.keep(key, &lease, b"v", LONG).await.unwrap());
    }
    let lease = missing(cache, leased).await;
    // An erasure of the store's own data takes the cache along.
    backend.control().erase("alice").await.unwrap();
    missing(cache, kept).await;
    assert!(!cache.keep(leased, &lease, b"old", LONG).await.unwrap());
    assert_eq!(cache.look_up(bobs).await.unwrap(), Lookup::Found(b"v".to_vec()));
}

/// A process whose own first level holds nothing.
async fn process(url: &str, shared: &Backend) -> Backend {
    let level = SharedLevel { cache: Arc::clone(shared.shared_cache().unwrap()), ttl: LONG };
    let options =
        CacheOptions { max_age: Duration::ZERO, shared: Some(level), ..CacheOptions::default() };
    Cache::new(options).around(connect(url).await.unwrap(), Facet::ALL)
}

async fn processes_with_a_shared_level_see_each_other() {
    let (server, second) = (Server::start("redis-server", &[]), Server::start("redis-server", &[]));
    let shared = connect(&second.url()).await.unwrap();
    let one = process(&server.url(), &shared).await;
    let other = process(&server.url(), &shared).await;
    for round in 0..20 {
        let value = round.to_string();
        put(&one, "k", &value).await.unwrap();
        assert_eq!(get(&other, "k").await.unwrap(), Some(value.clone()));
        // It came from the second level: the store itself holds something else now.
        let bare = connect(&server.url()).await.unwrap();
        put(&bare, "k", "past the cache").await.unwrap();
        assert_eq!(get(&one, "k").await.unwrap(), Some(value));
    }
    // Without the second level the store is asked.
    drop(second);
    assert_eq!(get(&one, "k").await.unwrap().as_deref(), Some("past the cache"));
    put(&one, "k", "again").await.unwrap();
    assert_eq!(get(&other, "k").await.unwrap().as_deref(), Some("again"));
}

async fn a_shared_level_on_a_cluster_keeps_and_forgets() {
    let cluster = Cluster::start("redis-server", 0, &[]);
    let shared = connect(&cluster.url()).await.unwrap();
    let one = process(&cluster.url(), &shared).await;
    let other = process(&cluster.url(), &shared).await;
    for user in 0..12 {
        let scope = Scope::new(format!("user {user}"), "n").unwrap();
        for value in 0..3 {
            let put = memquill_core::Put::new("k", value);
            one.working().unwrap().put(&scope, &put).await.unwrap();
            for reader in [&other, &one] {
                let get = memquill_core::Get::new("k");
                let entry = reader.working().unwrap().get(&scope, &get).await.unwrap();
                assert_eq!(entry.unwrap().value, value);
            }
        }
        one.control().erase(scope.user()).await.unwrap();
        let get = memquill_core::Get::new("k");
        assert_eq!(other.working().unwrap().get(&scope, &get).await.unwrap(), None);
    }
}
