//! The transport to a server or a cluster.
//!
//! The client's generated stubs are used rather than its `Qdrant`, which sends a request again by
//! itself where a connection broke, and takes no certificate authority of the user's own.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use memquill_core::{Error, ErrorKind, ExposeSecret as _, Result};
use qdrant_client::qdrant::collections_client::CollectionsClient;
use qdrant_client::qdrant::points_client::PointsClient;
use qdrant_client::qdrant::qdrant_client::QdrantClient;
use qdrant_client::qdrant::{
    CollectionInfo, CountPoints, CreateCollection, FacetCounts, FacetHit, GetCollectionInfoRequest,
    GetPoints, HealthCheckRequest, QueryPoints, RetrievedPoint, ScoredPoint, ScrollPoints,
    ScrollResponse, UpdateStatus,
};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Response, Status};

use crate::config::Server;
use crate::error::{Effect, of_server, timeout};
use crate::transport::{Transport, Write};

/// Below what HTTP/2 proxies and firewalls drop as idle.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How often to look for a collection that a node is about to have.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Connections to a server.
#[derive(Debug)]
pub(crate) struct Grpc {
    channels: Vec<Channel>,
    next: AtomicUsize,
    key: Key,
    timeout: Duration,
}

/// Puts the API key into every request.
#[derive(Clone)]
struct Key(Option<MetadataValue<Ascii>>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Interceptor for Key {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(key) = &self.0 {
            request.metadata_mut().insert("api-key", key.clone());
        }
        Ok(request)
    }
}

impl Grpc {
    /// Makes the connections when they are first used.
    pub(crate) fn new(server: &Server) -> Result<Self> {
        let wrong = |error: tonic::transport::Error| {
            Error::config("the server's address or certificates cannot be used").with_source(error)
        };
        let scheme = if server.tls { "https" } else { "http" };
        let uri = format!("{scheme}://{}:{}", server.host, server.port);
        let mut endpoint = Endpoint::from_shared(uri)
            .map_err(wrong)?
            .connect_timeout(server.connect_timeout)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(server.connect_timeout)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        if server.tls {
            let tls = match &server.ca {
                Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
                None => ClientTlsConfig::new().with_native_roots(),
            };
            endpoint = endpoint.tls_config(tls).map_err(wrong)?;
        }
        let key = server.api_key.as_ref().map(|key| {
            let mut value = MetadataValue::try_from(key.expose_secret()).map_err(|_| {
                Error::config("api_key holds characters that an HTTP header cannot carry")
            })?;
            value.set_sensitive(true);
            Ok::<_, Error>(value)
        });
        Ok(Self {
            channels: (0..server.connections).map(|_| endpoint.connect_lazy()).collect(),
            next: AtomicUsize::new(0),
            key: Key(key.transpose()?),
            timeout: server.timeout,
        })
    }

    fn channel(&self) -> InterceptedService<Channel, Key> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.channels.len();
        InterceptedService::new(self.channels[turn].clone(), self.key.clone())
    }

    fn points(&self) -> PointsClient<InterceptedService<Channel, Key>> {
        PointsClient::new(self.channel()).max_decoding_message_size(usize::MAX)
    }

    fn collections(&self) -> CollectionsClient<InterceptedService<Channel, Key>> {
        CollectionsClient::new(self.channel()).max_decoding_message_size(usize::MAX)
    }

    /// Adds the deadline, which the server learns too.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    async fn call<T>(
        &self,
        effect: Effect,
        call: impl Future<Output = Result<Response<T>, Status>> + Send,
    ) -> Result<T> {
        match tokio::time::timeout(self.timeout, call).await {
            Err(_) => Err(timeout(effect)),
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(of_server(status, effect)),
        }
    }

    /// Forgives a failure to create a collection that another process created first, however the
    /// server's version says that. In a cluster the nodes agree that it exists before each of them
    /// has it.
    async fn await_collection(&self, name: &str, error: Error) -> Result<()> {
        let deadline = tokio::time::Instant::now() + self.timeout;
        loop {
            if let Ok(Some(_)) = self.collection(name).await {
                return Ok(());
            }
            if error.kind() != ErrorKind::Conflict || tokio::time::Instant::now() > deadline {
                return Err(error);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

#[async_trait]
impl Transport for Grpc {
    async fn version(&self) -> Result<String> {
        let mut client = QdrantClient::new(self.channel());
        let request = self.request(HealthCheckRequest {});
        Ok(self.call(Effect::Read, client.health_check(request)).await?.version)
    }

    fn trouble(&self) -> Option<String> {
        None
    }

    async fn collection(&self, name: &str) -> Result<Option<CollectionInfo>> {
        let request = GetCollectionInfoRequest { collection_name: name.to_owned() };
        let mut client = self.collections();
        match self.call(Effect::Read, client.get(self.request(request))).await {
            Ok(answer) => Ok(answer.result),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn create_collection(&self, request: CreateCollection) -> Result<()> {
        let name = request.collection_name.clone();
        let mut client = self.collections();
        match self.call(Effect::Write, client.create(self.request(request))).await {
            Ok(_) => Ok(()),
            Err(error) => self.await_collection(&name, error).await,
        }
    }

    async fn write(&self, write: Write) -> Result<()> {
        let mut points = self.points();
        let answer = match write {
            Write::Upsert(request) => {
                self.call(Effect::Write, points.upsert(self.request(request))).await
            }
            Write::Delete(request) => {
                self.call(Effect::Write, points.delete(self.request(request))).await
            }
            Write::SetPayload(request) => {
                self.call(Effect::Write, points.set_payload(self.request(request))).await
            }
            Write::CreateIndex(request) => {
                self.call(Effect::Write, points.create_field_index(self.request(request))).await
            }
        };
        match answer?.result.map(|result| result.status()) {
            Some(UpdateStatus::Completed) => Ok(()),
            // Written, but not yet found by searches: not what was asked for.
            Some(UpdateStatus::Acknowledged | UpdateStatus::WaitTimeout) => {
                Err(timeout(Effect::Write))
            }
            other => Err(Error::unavailable(format!("Qdrant rejected a write: {other:?}"))
                .with_maybe_applied(true)),
        }
    }

    async fn get(&self, request: GetPoints) -> Result<Vec<RetrievedPoint>> {
        let mut client = self.points();
        Ok(self.call(Effect::Read, client.get(self.request(request))).await?.result)
    }

    async fn scroll(&self, request: ScrollPoints) -> Result<ScrollResponse> {
        self.call(Effect::Read, self.points().scroll(self.request(request))).await
    }

    async fn query(&self, request: QueryPoints) -> Result<Vec<ScoredPoint>> {
        let mut client = self.points();
        Ok(self.call(Effect::Read, client.query(self.request(request))).await?.result)
    }

    async fn count(&self, request: CountPoints) -> Result<u64> {
        let mut client = self.points();
        let answer = self.call(Effect::Read, client.count(self.request(request))).await?;
        Ok(answer.result.map_or(0, |result| result.count))
    }

    async fn facet(&self, request: FacetCounts) -> Result<Vec<FacetHit>> {
        let mut client = self.points();
        Ok(self.call(Effect::Read, client.facet(self.request(request))).await?.hits)
    }
}
