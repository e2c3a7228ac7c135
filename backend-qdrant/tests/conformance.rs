//! The conformance suite on Qdrant Edge in this process, and over gRPC on a server.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking"
)]

mod support;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use memquill_conformance::{Faults, Harness, TestStore, async_trait, main_with};
use memquill_core::{Administrator, Backend, Error, Result};
use memquill_qdrant::driver;
use memquill_qdrant::edge::{Edge as Engine, Write};
use qdrant_client::qdrant::points_client::PointsClient;
use qdrant_client::qdrant::{Condition, Filter, SetPayloadPoints, Value};
use support::place::Place;
use tempfile::TempDir;
use testkit::Gate;
use testkit::fresh_name;
use tonic::Request;

/// Says in the store of this prefix that its layout is newer than the driver's.
fn newer(prefix: &str) -> SetPayloadPoints {
    SetPayloadPoints {
        collection_name: prefix.to_owned(),
        wait: Some(true),
        payload: [("version".to_owned(), Value::from(1_000))].into(),
        points_selector: Some(
            Filter::must([Condition::matches("kind", "schema".to_owned())]).into(),
        ),
        ..SetPayloadPoints::default()
    }
}

async fn connect(url: String) -> Result<Backend> {
    driver().connect(&url.parse()?).await
}

async fn admin(url: String) -> Result<Administrator> {
    driver().admin(&url.parse()?).await
}

/// One folder; scenarios keep apart by scopes.
struct Edge(TempDir);

struct EdgeStore(std::path::PathBuf);

#[async_trait]
impl Harness for Edge {
    fn name(&self) -> &'static str {
        "qdrant (edge)"
    }

    async fn store(&self) -> Result<Arc<dyn TestStore>> {
        Ok(Arc::new(EdgeStore(self.0.path().to_owned())))
    }
}

impl EdgeStore {
    fn url(&self, prefix: &str) -> String {
        format!("qdrant-edge:{}?prefix={prefix}", self.0.display())
    }
}

#[async_trait]
impl TestStore for EdgeStore {
    async fn connect(&self) -> Result<Backend> {
        connect(self.url("memory")).await
    }

    async fn admin(&self) -> Result<Administrator> {
        admin(self.url("memory")).await
    }

    async fn pass(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }

    async fn connect_to_newer(&self) -> Option<Result<Backend>> {
        let prefix = fresh_name();
        let url = self.url(&prefix);
        connect(url.clone()).await.unwrap();
        let engine = Engine::open(&self.0).unwrap();
        engine.collection(&prefix).unwrap().write(Write::SetPayload(newer(&prefix))).unwrap();
        Some(connect(url).await)
    }
}

/// Stores of one server, which keep apart by scopes too.
struct Server {
    place: Place,
    prefix: String,
}

/// A store that is reached through a gate.
struct ServerStore {
    server: String,
    key: Option<String>,
    prefix: String,
    gate: Arc<Gate>,
}

#[async_trait]
impl Harness for Server {
    fn name(&self) -> &str {
        self.place.name()
    }

    async fn store(&self) -> Result<Arc<dyn TestStore>> {
        let server = self.place.server();
        let store = ServerStore {
            gate: Gate::before(server.clone()).await,
            server,
            key: self.place.key(),
            prefix: self.prefix.clone(),
        };
        store.admin().await?.migrate().await?;
        Ok(Arc::new(store))
    }
}

impl ServerStore {
    fn url(&self, prefix: &str, key: Option<&str>) -> String {
        let key = key.map(|key| format!("&api_key={key}")).unwrap_or_default();
        // The fixture runs Edge unoptimised in part, on a machine that builds and tests besides.
        format!("qdrant://{}?prefix={prefix}&timeout=60s{key}", self.gate.address())
    }

    fn own_url(&self) -> String {
        self.url(&self.prefix, self.key.as_deref())
    }
}

#[async_trait]
impl TestStore for ServerStore {
    async fn connect(&self) -> Result<Backend> {
        connect(self.own_url()).await
    }

    async fn admin(&self) -> Result<Administrator> {
        admin(self.own_url()).await
    }

    async fn pass(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }

    async fn connect_with_wrong_credentials(&self, secret: &str) -> Option<Error> {
        self.key.as_ref()?;
        connect(self.url(&self.prefix, Some(secret))).await.err()
    }

    async fn connect_to_unmigrated(&self) -> Option<Result<Backend>> {
        Some(connect(self.url(&fresh_name(), self.key.as_deref())).await)
    }

    async fn connect_to_newer(&self) -> Option<Result<Backend>> {
        let prefix = fresh_name();
        let url = self.url(&prefix, self.key.as_deref());
        admin(url.clone()).await.unwrap().migrate().await.unwrap();
        let mut client = PointsClient::connect(format!("http://{}", self.server)).await.unwrap();
        let mut request = Request::new(newer(&prefix));
        if let Some(key) = &self.key {
            request.metadata_mut().insert("api-key", key.parse().unwrap());
        }
        client.set_payload(request).await.unwrap();
        Some(connect(url).await)
    }

    fn faults(&self) -> Option<Arc<dyn Faults>> {
        Some(Arc::clone(&self.gate) as _)
    }
}

fn main() -> ExitCode {
    let place = Place::find();
    println!("qdrant: over gRPC on {}, and Edge in this process", place.what());
    let codes = [
        main_with(Edge(tempfile::tempdir().unwrap())),
        main_with(Server { place, prefix: fresh_name() }),
    ];
    if codes.iter().all(|code| *code == ExitCode::SUCCESS) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
