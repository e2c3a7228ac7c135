//! Encrypted connections.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::connect;
use crate::{facts, get, put};
use testkit::free_port;
use testkit::redis::Server;

crate::cases! { an_encrypted_server_is_trusted_by_its_authority_alone }

/// Runs openssl in a folder; says whether it could.
fn openssl(folder: &Path, arguments: &str) -> bool {
    let status = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

async fn an_encrypted_server_is_trusted_by_its_authority_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost").unwrap();
    let made = openssl(
        at,
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=test-ca",
    ) && openssl(
        at,
        "req -newkey rsa:2048 -nodes -keyout s.key -out s.csr -subj /CN=localhost",
    ) && openssl(
        at,
        "x509 -req -in s.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out s.crt -days 2 -extfile names",
    );
    assert!(made, "openssl makes no certificates here");
    let path = |name: &str| at.join(name).to_str().unwrap().to_owned();
    let port = free_port();
    let server = Server::start(
        "redis-server",
        &[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &path("s.crt"),
            "--tls-key-file",
            &path("s.key"),
            "--tls-ca-cert-file",
            &path("ca.crt"),
        ],
    );
    let url = |ends: &str| format!("rediss://127.0.0.1:{port}/{ends}");
    let certificates = format!(
        "ca_file={}&cert_file={}&key_file={}",
        path("ca.crt"),
        path("s.crt"),
        path("s.key")
    );
    let backend = connect(&url(&format!("?{certificates}"))).await.unwrap();
    put(&backend, "k", "v").await.unwrap();
    assert_eq!(get(&backend, "k").await.unwrap().as_deref(), Some("v"));
    let error = connect(&url("")).await.unwrap_err();
    assert_eq!(error.code(), "unavailable", "{error:?}");
    assert!(error.hint().unwrap().contains("ca_file"), "{error:?}");
    let unverified = certificates.split_once('&').unwrap().1;
    let backend = connect(&url(&format!("?{unverified}&ssl_cert_reqs=none"))).await.unwrap();
    assert_eq!(get(&backend, "k").await.unwrap().as_deref(), Some("v"));
    // The port of the wrong kind says so.
    for (url, scheme) in [
        (format!("redis://127.0.0.1:{port}"), "rediss://"),
        (format!("redis://:CANARY@127.0.0.1:{port}/1?timeout=500ms"), "rediss://"),
        (format!("rediss://127.0.0.1:{}", server.port), "redis://"),
        (format!("rediss://me:CANARY@127.0.0.1:{}?connect_timeout=1s", server.port), "redis://"),
        (format!("rediss+cluster://127.0.0.1:{}?timeout=1s", server.port), "redis://"),
    ] {
        let error = connect(&url).await.unwrap_err();
        assert_eq!(facts(&error), ("config", false, false), "{url}: {error:?}");
        assert!(error.message().contains("TLS"), "{url}: {error:?}");
        assert!(error.hint().unwrap().contains(scheme), "{url}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("CANARY"), "{error:?}");
    }
}
