//! What has expired is not kept in the lists of what there is (W8).

use std::time::Duration;

use memquill_core::Increment;
use redis::Value;

use crate::scope;
use crate::support::connect;
use testkit::redis::Server;

crate::cases! { w8_new_counters_sweep_those_that_expired }

async fn w8_new_counters_sweep_those_that_expired() {
    let server = Server::start("redis-server", &[]);
    let backend = connect(&server.url()).await.unwrap();
    for at in 0..10 {
        let initial_ttl = Some(Duration::from_millis(1));
        let increment = Increment { key: format!("counter {at}"), by: 1, initial_ttl };
        backend.working().unwrap().increment(&scope(), &increment).await.unwrap();
        // The server's clock passes the expiry.
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    for list in ["working", "expiries"] {
        let count = server.command(&["ZCARD", &format!("memory:{{alice/bot}}:{list}")]);
        assert_eq!(count, Value::Int(1), "{list}");
    }
}
