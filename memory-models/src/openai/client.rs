//! One request to the service.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_openai::Client;
use async_openai::config::Config;
use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use memquill_core::{Error, ExposeSecret as _, Result, SecretString};
use reqwest::Response;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use tracing::Dispatch;
use tracing::instrument::WithSubscriber as _;
use url::Url;

use super::failure::{self, Api};

const OPENAI: &str = "https://api.openai.com/v1";
const URL_HINT: &str = "write it as in base_url: http://localhost:8080/v1";

/// The address of the service, and the credentials.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    base_url: String,
    key: SecretString,
    headers: HeaderMap,
}

impl Config for Endpoint {
    fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url)
    }

    fn query(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }

    fn api_base(&self) -> &str {
        &self.base_url
    }

    fn api_key(&self) -> &SecretString {
        &self.key
    }
}

/// Where a service is, and how it is asked.
pub(super) struct Address<'a> {
    pub(super) base_url: Option<&'a str>,
    pub(super) api_key: Option<&'a SecretString>,
    pub(super) timeout: Duration,
    pub(super) ca: Option<&'a Path>,
}

/// The way to the service.
pub(super) struct Service {
    api: Api,
    client: Client<Endpoint>,
    key: Option<SecretString>,
    /// Whether it is OpenAI's own.
    pub(super) openai: bool,
}

impl Service {
    /// Connects to nothing yet; `Config` for what can be known to be wrong without.
    pub(super) fn new(api: Api, address: Address<'_>) -> Result<Self> {
        let environment = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let base_url =
            address.base_url.map(str::to_owned).or_else(|| environment("OPENAI_BASE_URL"));
        let url = base_url.as_deref().unwrap_or(OPENAI);
        let url: Url =
            url.parse().map_err(|_| Error::config("base_url is no URL").with_hint(URL_HINT))?;
        let https = match (url.scheme(), url.username(), url.password()) {
            ("http", "", None) => false,
            ("https", "", None) => true,
            ("http" | "https", ..) => {
                return Err(Error::config("base_url has a user or password")
                    .with_hint("put the key in api_key, or OPENAI_API_KEY"));
            }
            _ => return Err(Error::config("base_url is no http URL").with_hint(URL_HINT)),
        };
        let key = address
            .api_key
            .cloned()
            .or_else(|| environment("OPENAI_API_KEY").map(SecretString::from))
            // A file that a key comes from ends with a line.
            .map(|key| SecretString::from(key.expose_secret().trim()))
            .filter(|key| !key.expose_secret().is_empty());
        if base_url.is_none() && key.is_none() {
            return Err(Error::config("OpenAI needs a key").with_hint(
                "set OPENAI_API_KEY or api_key, or base_url to a service that needs none",
            ));
        }
        let mut headers = HeaderMap::new();
        if let Some(key) = &key {
            let bearer = format!("Bearer {}", key.expose_secret());
            let mut bearer = HeaderValue::try_from(bearer).map_err(|_| {
                Error::config("the key has characters that no key has")
                    .with_hint("check api_key, or OPENAI_API_KEY")
            })?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(https, address.ca)?)
            .timeout(address.timeout)
            // A key is for the server that was named.
            .redirect(Policy::none())
            .user_agent(concat!("memquill/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::config(format!("no HTTP client can be made: {error}")))?;
        let endpoint = Endpoint {
            base_url: url.as_str().trim_end_matches('/').to_owned(),
            key: key.clone().unwrap_or_default(),
            headers,
        };
        let transport = Transport { api, http: http.clone(), key: key.clone() };
        Ok(Self {
            api,
            client: Client::build(http, endpoint).with_http_service(transport),
            key,
            openai: url.host_str() == Some("api.openai.com"),
        })
    }

    /// Asks once.
    pub(super) async fn ask<'a, T, F>(
        &'a self,
        request: impl FnOnce(&'a Client<Endpoint>) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T, OpenAIError>>,
    {
        // The client logs an answer that it cannot read as an error, whole: texts, of any length.
        let answer = request(&self.client).with_subscriber(Dispatch::none()).await;
        answer.map_err(|error| failure::of_client(self.api, error, self.key.as_ref()))
    }
}

/// TLS by ring, like all of this project's, whatever provider the process has or lacks; trusted are
/// the system's certificates and those of a file.
fn tls(https: bool, ca: Option<&Path>) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let problem = |error: rustls::Error| Error::config(format!("TLS cannot be set up: {error}"));
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(problem)?;
    if !https {
        // Never used; a system without certificates is then no error.
        return Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
    }
    let extra = ca.map_or_else(|| Ok(Vec::new()), certificates)?;
    let verifier = Verifier::new_with_extra_roots(extra, provider).map_err(problem)?;
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| Error::config(format!("ca: {}: {error}", path.display())))
}

/// Sends requests, and makes errors of answers while their headers are there.
#[derive(Clone)]
struct Transport {
    api: Api,
    http: reqwest::Client,
    key: Option<SecretString>,
}

impl tower_service::Service<HttpRequestFactory> for Transport {
    type Response = reqwest::Response;
    type Error = OpenAIError;
    type Future =
        Pin<Box<dyn Future<Output = Result<reqwest::Response, OpenAIError>> + Send + 'static>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OpenAIError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequestFactory) -> Self::Future {
        let Self { api, http, key } = self.clone();
        Box::pin(async move {
            let response = http.execute(request.build().await?).await?;
            let read = if response.status().is_success() {
                bounded(api, response).await
            } else {
                Err(failure::refused(api, response, key.as_ref()).await)
            };
            read.map_err(|error| OpenAIError::Boxed(Box::new(error)))
        })
    }
}

/// Reads an answer that is no longer than one of its kind can be.
async fn bounded(api: Api, mut response: Response) -> Result<Response> {
    let most = api.max_answer();
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(part) =
        response.chunk().await.map_err(|error| failure::of_transport(api, error))?
    {
        if body.len() + part.len() > most {
            return Err(Error::internal(format!(
                "the service's answer has more than {most} bytes"
            ))
            .with_hint(URL_HINT));
        }
        body.extend_from_slice(&part);
    }
    let mut whole = http::Response::new(body);
    (*whole.status_mut(), *whole.headers_mut()) = (status, headers);
    Ok(whole.into())
}
