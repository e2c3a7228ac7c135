//! A fixture, and no Qdrant: a server on a loopback port that answers by the engine in this process.
//!
//! It shares the engine's and this project's own misunderstandings; what it is for is the wire.

#![allow(clippy::wildcard_imports, reason = "a server has many messages")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::strict::Strict;
use ::qdrant_client::qdrant::collections_server::{Collections, CollectionsServer};
use ::qdrant_client::qdrant::points_server::{Points, PointsServer};
use ::qdrant_client::qdrant::qdrant_server::{Qdrant, QdrantServer};
use ::qdrant_client::qdrant::*;
use memquill_qdrant::edge::{Edge, Write};
use tonic::service::Interceptor;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

/// When the fixture asks for its mood: before it does what is requested, or when it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Before,
    After,
}

/// What the fixture does to requests: it answers so in place of what it would.
pub(crate) type Mood = Arc<dyn Fn(Moment, &Call) -> Option<Status> + Send + Sync>;

/// A request: what it asks for, and of which collection.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) collection: String,
}

/// A server that ends with this value.
pub(crate) struct Fixture {
    pub(crate) address: SocketAddr,
    pub(crate) edge: Arc<Edge>,
    /// None once it is shut down.
    runtime: Option<tokio::runtime::Runtime>,
}

#[derive(Clone)]
struct Service {
    edge: Arc<Edge>,
    mood: Mood,
    /// Set where the fixture is in strict mode.
    strict: Option<Arc<Strict>>,
}

/// Asks for the key, as a server does.
#[derive(Clone)]
struct Key(Option<&'static str>);

impl Interceptor for Key {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let given = request.metadata().get("api-key").and_then(|key| key.to_str().ok());
        if self.0.is_none() || self.0 == given {
            return Ok(request);
        }
        Err(Status::unauthenticated("Invalid API key or JWT"))
    }
}

impl Fixture {
    /// Starts a server on the folder. `tls` is a certificate and its key, in PEM.
    pub(crate) fn start(
        folder: &Path,
        key: Option<&'static str>,
        tls: Option<(&str, &str)>,
        mood: Mood,
    ) -> Self {
        Self::serve(folder, key, tls, mood, None)
    }

    /// Starts a server in strict mode.
    pub(crate) fn strict(folder: &Path) -> Self {
        Self::serve(folder, None, None, obliging(), Some(Arc::default()))
    }

    fn serve(
        folder: &Path,
        key: Option<&'static str>,
        tls: Option<(&str, &str)>,
        mood: Mood,
        strict: Option<Arc<Strict>>,
    ) -> Self {
        let edge = Edge::open(folder).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let service = Service { edge: Arc::clone(&edge), mood, strict };
        let entered = runtime.enter();
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap();
        let mut server = Server::builder();
        if let Some((certificate, key)) = tls {
            let identity = Identity::from_pem(certificate, key);
            server = server.tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
        }
        let points = PointsServer::new(service.clone()).max_decoding_message_size(usize::MAX);
        let key = Key(key);
        let serving = server
            .add_service(tonic::service::interceptor::InterceptedService::new(points, key.clone()))
            .add_service(CollectionsServer::with_interceptor(service.clone(), key.clone()))
            .add_service(QdrantServer::with_interceptor(service, key))
            .serve_with_incoming(incoming);
        runtime.spawn(serving);
        drop(entered);
        Self { address, edge, runtime: Some(runtime) }
    }
}

impl Drop for Fixture {
    /// Without waiting: a test may end within a runtime of its own.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A mood in which every request is answered.
pub(crate) fn obliging() -> Mood {
    Arc::new(|_, _| None)
}

impl Service {
    /// Calls the engine where it may block.
    async fn call<T: Send + 'static>(
        &self,
        name: &'static str,
        collection: &str,
        call: impl FnOnce(&Edge) -> Result<T, Status> + Send + 'static,
    ) -> Result<T, Status> {
        let asked = Call { name, collection: collection.to_owned() };
        if let Some(status) = (self.mood)(Moment::Before, &asked) {
            return Err(status);
        }
        let edge = Arc::clone(&self.edge);
        let answer = tokio::task::spawn_blocking(move || call(&edge)).await.unwrap();
        (self.mood)(Moment::After, &asked).map_or(answer, Err)
    }

    /// What strict mode says to a request.
    fn ask(&self, check: impl Fn(&Strict) -> Result<(), Status>) -> Result<(), Status> {
        self.strict.as_deref().map_or(Ok(()), check)
    }

    async fn write(&self, name: &'static str, write: Write) -> Answer<PointsOperationResponse> {
        let collection = write.collection().to_owned();
        self.call(name, &collection, |edge| {
            Ok(edge.collection(write.collection())?.write(write)?)
        })
        .await?;
        let completed = UpdateResult { operation_id: None, status: UpdateStatus::Completed.into() };
        Ok(Response::new(PointsOperationResponse {
            result: Some(completed),
            ..PointsOperationResponse::default()
        }))
    }
}

/// What the driver never asks for.
macro_rules! unknown {
    ($($name:ident: $request:ident => $answer:ident;)+) => {
        $(
            fn $name<'life0, 'async_trait>(
                &'life0 self,
                _: Request<$request>,
            ) -> std::pin::Pin<Box<dyn Future<Output = Answer<$answer>> + Send + 'async_trait>>
            where
                'life0: 'async_trait,
                Self: 'async_trait,
            {
                Box::pin(async { Err(Status::unimplemented(stringify!($name))) })
            }
        )+
    };
}

#[tonic::async_trait]
impl Qdrant for Service {
    async fn health_check(&self, _: Request<HealthCheckRequest>) -> Answer<HealthCheckReply> {
        let title = "fixture".to_owned();
        Ok(Response::new(HealthCheckReply { title, version: "1.18.0".into(), commit: None }))
    }
}

#[tonic::async_trait]
impl Collections for Service {
    async fn get(
        &self,
        request: Request<GetCollectionInfoRequest>,
    ) -> Answer<GetCollectionInfoResponse> {
        let name = request.into_inner().collection_name;
        let missing = Status::not_found(format!("Collection `{name}` doesn't exist!"));
        let collection = name.clone();
        let info = move |edge: &Edge| edge.info(&name).ok_or(missing);
        let mut info = self.call("get_collection", &collection, info).await?;
        if self.strict.is_some() {
            info = Strict::with_mode(info);
        }
        Ok(Response::new(GetCollectionInfoResponse { result: Some(info), time: 0.0 }))
    }

    async fn create(
        &self,
        request: Request<CreateCollection>,
    ) -> Answer<CollectionOperationResponse> {
        let request = request.into_inner();
        let name = request.collection_name.clone();
        self.call("create_collection", &name, move |edge| edge.create(&request)).await?;
        Ok(Response::new(CollectionOperationResponse { result: true, time: 0.0 }))
    }

    unknown! {
        list: ListCollectionsRequest => ListCollectionsResponse;
        update: UpdateCollection => CollectionOperationResponse;
        delete: DeleteCollection => CollectionOperationResponse;
        update_aliases: ChangeAliases => CollectionOperationResponse;
        list_collection_aliases: ListCollectionAliasesRequest => ListAliasesResponse;
        list_aliases: ListAliasesRequest => ListAliasesResponse;
        collection_cluster_info: CollectionClusterInfoRequest => CollectionClusterInfoResponse;
        collection_exists: CollectionExistsRequest => CollectionExistsResponse;
        update_collection_cluster_setup: UpdateCollectionClusterSetupRequest => UpdateCollectionClusterSetupResponse;
        create_shard_key: CreateShardKeyRequest => CreateShardKeyResponse;
        delete_shard_key: DeleteShardKeyRequest => DeleteShardKeyResponse;
        list_shard_keys: ListShardKeysRequest => ListShardKeysResponse;
    }
}

#[tonic::async_trait]
impl Points for Service {
    async fn upsert(&self, request: Request<UpsertPoints>) -> Answer<PointsOperationResponse> {
        let request = request.into_inner();
        self.ask(|strict| strict.check(&request.collection_name, request.update_filter.as_ref()))?;
        self.write("upsert", Write::Upsert(request)).await
    }

    async fn delete(&self, request: Request<DeletePoints>) -> Answer<PointsOperationResponse> {
        let request = request.into_inner();
        self.ask(|strict| {
            strict.check_selector(&request.collection_name, request.points.as_ref())
        })?;
        self.write("delete", Write::Delete(request)).await
    }

    async fn set_payload(
        &self,
        request: Request<SetPayloadPoints>,
    ) -> Answer<PointsOperationResponse> {
        let request = request.into_inner();
        self.ask(|strict| {
            strict.check_selector(&request.collection_name, request.points_selector.as_ref())
        })?;
        self.write("set_payload", Write::SetPayload(request)).await
    }

    async fn create_field_index(
        &self,
        request: Request<CreateFieldIndexCollection>,
    ) -> Answer<PointsOperationResponse> {
        let request = request.into_inner();
        self.ask(|strict| {
            strict.learn(&request);
            Ok(())
        })?;
        self.write("create_field_index", Write::CreateIndex(request)).await
    }

    async fn get(&self, request: Request<GetPoints>) -> Answer<GetResponse> {
        let request = request.into_inner();
        let name = request.collection_name.clone();
        let result = self
            .call("get", &name, |edge| edge.collection(&request.collection_name)?.get(request))
            .await?;
        Ok(Response::new(GetResponse { result, ..GetResponse::default() }))
    }

    async fn scroll(&self, request: Request<ScrollPoints>) -> Answer<ScrollResponse> {
        let request = request.into_inner();
        self.ask(|strict| strict.check(&request.collection_name, request.filter.as_ref()))?;
        let name = request.collection_name.clone();
        self.call("scroll", &name, |edge| {
            edge.collection(&request.collection_name)?.scroll(request)
        })
        .await
        .map(Response::new)
    }

    async fn query(&self, request: Request<QueryPoints>) -> Answer<QueryResponse> {
        let request = request.into_inner();
        let filters = request.prefetch.iter().map(|prefetch| &prefetch.filter);
        for filter in filters.chain([&request.filter]) {
            self.ask(|strict| strict.check(&request.collection_name, filter.as_ref()))?;
        }
        let name = request.collection_name.clone();
        let result = self
            .call("query", &name, |edge| edge.collection(&request.collection_name)?.query(request))
            .await?;
        Ok(Response::new(QueryResponse { result, ..QueryResponse::default() }))
    }

    async fn count(&self, request: Request<CountPoints>) -> Answer<CountResponse> {
        let request = request.into_inner();
        self.ask(|strict| strict.check(&request.collection_name, request.filter.as_ref()))?;
        let name = request.collection_name.clone();
        let count = self
            .call("count", &name, |edge| edge.collection(&request.collection_name)?.count(request))
            .await?;
        let result = Some(CountResult { count });
        Ok(Response::new(CountResponse { result, ..CountResponse::default() }))
    }

    async fn facet(&self, request: Request<FacetCounts>) -> Answer<FacetResponse> {
        let request = request.into_inner();
        self.ask(|strict| strict.check(&request.collection_name, request.filter.as_ref()))?;
        self.ask(|strict| {
            let kinds = [FieldType::Keyword, FieldType::Integer];
            strict.check_key(&request.collection_name, &request.key, &kinds)
        })?;
        let name = request.collection_name.clone();
        let hits = self
            .call("facet", &name, |edge| edge.collection(&request.collection_name)?.facet(request))
            .await?;
        Ok(Response::new(FacetResponse { hits, ..FacetResponse::default() }))
    }

    unknown! {
        update_vectors: UpdatePointVectors => PointsOperationResponse;
        delete_vectors: DeletePointVectors => PointsOperationResponse;
        overwrite_payload: SetPayloadPoints => PointsOperationResponse;
        delete_payload: DeletePayloadPoints => PointsOperationResponse;
        clear_payload: ClearPayloadPoints => PointsOperationResponse;
        delete_field_index: DeleteFieldIndexCollection => PointsOperationResponse;
        create_vector_name: CreateVectorNameRequest => PointsOperationResponse;
        delete_vector_name: DeleteVectorNameRequest => PointsOperationResponse;
        search: SearchPoints => SearchResponse;
        search_batch: SearchBatchPoints => SearchBatchResponse;
        search_groups: SearchPointGroups => SearchGroupsResponse;
        recommend: RecommendPoints => RecommendResponse;
        recommend_batch: RecommendBatchPoints => RecommendBatchResponse;
        recommend_groups: RecommendPointGroups => RecommendGroupsResponse;
        discover: DiscoverPoints => DiscoverResponse;
        discover_batch: DiscoverBatchPoints => DiscoverBatchResponse;
        update_batch: UpdateBatchPoints => UpdateBatchResponse;
        query_batch: QueryBatchPoints => QueryBatchResponse;
        query_groups: QueryPointGroups => QueryGroupsResponse;
        search_matrix_pairs: SearchMatrixPoints => SearchMatrixPairsResponse;
        search_matrix_offsets: SearchMatrixPoints => SearchMatrixOffsetsResponse;
    }
}
