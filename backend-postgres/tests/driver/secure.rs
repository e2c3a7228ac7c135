//! TLS: what a certificate has to be for a connection that leaves this machine.

use std::process::Command;
use std::sync::Arc;

use memquill_core::{ErrorKind, Result};
use memquill_postgres::driver;
use tempfile::TempDir;

use crate::faults::facts;
use crate::support::server::Server;
use crate::support::{fixture, run_sql};

/// Runs openssl in a folder.
fn openssl(folder: &TempDir, arguments: &str) {
    let arguments = arguments.split_whitespace();
    let output =
        Command::new("openssl").args(arguments).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An authority `NAME.pem`.
fn make_authority(folder: &TempDir, name: &str) {
    openssl(
        folder,
        &format!(
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -keyout {name}.key \
             -out {name}.pem -addext basicConstraints=critical,CA:TRUE"
        ),
    );
}

/// A certificate of the authority `ca` for an address, installed in the server.
fn install(folder: &TempDir, server: &Server, address: &str) {
    std::fs::write(folder.path().join("names"), format!("subjectAltName=IP:{address}")).unwrap();
    openssl(folder, "req -newkey rsa:2048 -nodes -subj /CN=db -keyout db.key -out db.csr");
    openssl(
        folder,
        "x509 -req -in db.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
         -extfile names -out db.pem",
    );
    for name in ["db.key", "db.pem"] {
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
        server.shell("postgres", &format!("umask 077; cat > /tiny/{name}"), &text);
    }
}

pub(crate) async fn certificates_are_verified_beyond_this_machine(_shared: Arc<Server>) {
    let Some(server) = Server::for_one(|| Server::own(&[])).await else { return };
    let folder = Arc::new(TempDir::new().unwrap());
    let made = tokio::task::spawn_blocking({
        let (server, folder) = (Arc::clone(&server), Arc::clone(&folder));
        move || {
            make_authority(&folder, "ca");
            make_authority(&folder, "other");
            install(&folder, &server, &server.bridge());
        }
    });
    made.await.unwrap();
    let fixture = fixture(&server).await;
    let address = tokio::task::spawn_blocking({
        let server = Arc::clone(&server);
        move || server.bridge()
    });
    let there = format!("{}:5432", address.await.unwrap());
    let url = fixture.data.replace(server.address(), &there);
    let connect = async |options: &str| -> Result<()> {
        let folder = folder.path().display();
        let options = options.replace("FOLDER", &folder.to_string());
        driver().connect(&format!("{url}{options}").parse().unwrap()).await.map(drop)
    };
    let refused = async |options: &str| {
        let error = connect(options).await.unwrap_err();
        assert_eq!(facts(&error), (ErrorKind::Config, false, false), "{options:?}: {error}");
        assert!(error.hint().unwrap().contains("sslmode"), "{error}");
    };

    refused("").await; // a server without TLS
    connect("&sslmode=disable").await.unwrap();
    let on = "ALTER SYSTEM SET ssl_cert_file = '/tiny/db.pem';
              ALTER SYSTEM SET ssl_key_file = '/tiny/db.key';
              ALTER SYSTEM SET ssl = on; SELECT pg_reload_conf()";
    for statement in on.split(';') {
        run_sql(&fixture.superuser, statement).await.unwrap();
    }
    // The server reads its files in its own time.
    while connect("&sslmode=require").await.is_err() {
        tokio::task::yield_now().await;
    }
    connect("&sslrootcert=FOLDER/ca.pem").await.unwrap();
    refused("").await; // an authority that this machine does not know
    refused("&sslrootcert=FOLDER/other.pem").await;

    let reissue = {
        let (server, folder) = (Arc::clone(&server), Arc::clone(&folder));
        move || install(&folder, &server, "192.0.2.1")
    };
    tokio::task::spawn_blocking(reissue).await.unwrap();
    run_sql(&fixture.superuser, "SELECT pg_reload_conf()").await.unwrap();
    while connect("&sslrootcert=FOLDER/ca.pem").await.is_ok() {
        tokio::task::yield_now().await;
    }
    refused("&sslrootcert=FOLDER/ca.pem").await; // another's name
    connect("&sslmode=verify-ca&sslrootcert=FOLDER/ca.pem").await.unwrap();
}
