//! URLs as users have them, and what an error says to type where one does not work (G10, E2).

use std::error::Error as _;

use memquill_core::Error;
use memquill_redis::driver;

use crate::support::cluster::Cluster;
use crate::support::connect;
use crate::{facts, get, put};
use testkit::free_port;
use testkit::redis::Server;

crate::cases! {
    g10_a_unix_socket_is_a_server,
    g10_credentials_come_from_the_url_its_options_or_a_variable,
    g10_a_database_is_a_number_in_the_path_or_an_option,
    e2_wrong_credentials_say_what_to_type,
    e2_a_user_who_may_not_connect_is_told_what_to_grant,
    e2_a_sentinel_is_no_store,
    e2_a_node_of_a_cluster_is_refused_at_connect,
    e2_what_is_no_redis_is_a_config_error,
}

async fn refused(url: &str) -> Error {
    let error = driver().connect(&url.parse().unwrap()).await.unwrap_err();
    assert!(error.hint().is_some(), "{error:?}");
    error
}

async fn g10_a_unix_socket_is_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("redis.sock");
    let path = path.to_str().unwrap();
    let server = Server::start("redis-server", &["--unixsocket", path, "--requirepass", "s3@/#"]);
    let by_name = format!("redis://:s3%40%2F%23@{}/2", path.replace('/', "%2F"));
    for url in [
        format!("redis+unix://:s3%40%2F%23@{path}?db=2"),
        format!("unix://{path}?db=2&password=s3%40%2F%23"),
        format!("redis-socket://default:s3%40%2F%23@{path}?db=2"),
        by_name,
    ] {
        let backend = connect(&url).await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
        put(&backend, "k", "v").await.unwrap();
        assert_eq!(get(&backend, "k").await.unwrap().as_deref(), Some("v"));
    }
    drop(server);
    let error = refused("redis+unix:///no/such/redis.sock").await;
    assert_eq!(facts(&error), ("unavailable", true, false), "{error:?}");
    assert!(error.hint().unwrap().contains("socket"), "{error:?}");
}

async fn g10_credentials_come_from_the_url_its_options_or_a_variable() {
    let password = "p@ss/w#rd?:%41";
    let server = Server::start("redis-server", &["--requirepass", password]);
    let escaped = "p%40ss%2Fw%23rd%3F:%2541";
    let port = server.port;
    // The environment is the process's own; no other test reads this variable.
    let variable = std::env::vars().find(|(_, value)| value == password);
    assert!(variable.is_none());
    for url in [
        format!("redis://:{escaped}@127.0.0.1:{port}"),
        format!("redis://default:{escaped}@127.0.0.1:{port}/1"),
        format!("redis://127.0.0.1:{port}?password={escaped}&username=default"),
    ] {
        connect(&url).await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
    }
    let raw = refused(&format!("redis://:{password}@127.0.0.1:{port}")).await;
    let printed = format!("{raw} {raw:?}");
    assert!(printed.contains("password_env=NAME") && printed.contains("%40"), "{printed}");
    assert!(!printed.contains("w#rd") && !printed.contains("p@ss"), "{printed}");
}

async fn g10_a_database_is_a_number_in_the_path_or_an_option() {
    let server = Server::start("redis-server", &["--databases", "3"]);
    let path = connect(&format!("{}/2", server.url())).await.unwrap();
    put(&path, "k", "two").await.unwrap();
    let option = connect(&format!("{}?db=2", server.url())).await.unwrap();
    assert_eq!(get(&option, "k").await.unwrap().as_deref(), Some("two"));
    let other = connect(&server.url()).await.unwrap();
    assert_eq!(get(&other, "k").await.unwrap(), None);
    for wrong in ["/3", "?db=3"] {
        let error = refused(&format!("{}{wrong}", server.url())).await;
        assert_eq!(facts(&error), ("config", false, false), "{error:?}");
        assert!(error.hint().unwrap().contains("databases"), "{error:?}");
    }
}

async fn e2_wrong_credentials_say_what_to_type() {
    let guarded = Server::start("redis-server", &["--requirepass", "right"]);
    let open = Server::start("redis-server", &[]);
    let at = |server: &Server, credentials: &str| {
        format!("redis://{credentials}127.0.0.1:{}", server.port)
    };
    for (url, hint) in [
        (at(&guarded, ""), "password_env=NAME"),
        (at(&guarded, ":CANARY@"), "USER:PASSWORD@host"),
        (at(&guarded, "nobody:CANARY@"), "USER:PASSWORD@host"),
        (at(&open, "nobody:CANARY@"), "USER:PASSWORD@host"),
    ] {
        let error = refused(&url).await;
        assert_eq!(facts(&error), ("permission_denied", false, false), "{error:?}");
        assert!(error.hint().unwrap().contains(hint), "{error:?}");
        let printed = format!("{error} {error:?} {:?}", error.source());
        assert!(!printed.contains("CANARY"), "{printed}");
    }
}

async fn e2_a_user_who_may_not_connect_is_told_what_to_grant() {
    let server = Server::start("redis-server", &[]);
    connect(&server.url()).await.unwrap();
    for (rights, database, lacks) in [("-info", "", "info"), ("-select", "/1", "select")] {
        let rule = ["ACL", "SETUSER", "me", "reset", "on", ">pw", "~*", "+@all", rights];
        server.command(&rule);
        let error = refused(&format!("redis://me:pw@127.0.0.1:{}{database}", server.port)).await;
        assert_eq!(facts(&error), ("permission_denied", false, false), "{error:?}");
        assert!(error.message().contains(lacks), "{error:?}");
        assert!(error.hint().unwrap().contains("ACL SETUSER"), "{error:?}");
    }
    server.command(&["ACL", "SETUSER", "me", "reset", "on", ">pw", "~other:*", "+@all"]);
    let error = refused(&format!("redis://me:pw@127.0.0.1:{}", server.port)).await;
    assert_eq!(facts(&error), ("permission_denied", false, false), "{error:?}");
}

async fn e2_a_sentinel_is_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sentinel.conf");
    let primary = Server::start("redis-server", &[]);
    let monitor = format!("sentinel monitor main 127.0.0.1 {} 1\n", primary.port);
    std::fs::write(&file, monitor).unwrap();
    let port = free_port();
    let mut sentinel = std::process::Command::new("redis-server")
        .arg(&file)
        .args(["--sentinel", "--port", &port.to_string()])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    testkit::until(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let error = refused(&format!("redis://127.0.0.1:{port}")).await;
    sentinel.kill().unwrap();
    sentinel.wait().unwrap();
    assert_eq!(facts(&error), ("config", false, false), "{error:?}");
    assert!(error.hint().unwrap().contains("get-master-addr-by-name"), "{error:?}");
}

async fn e2_a_node_of_a_cluster_is_refused_at_connect() {
    let cluster = Cluster::start("redis-server", 0, &[]);
    connect(&cluster.url()).await.unwrap();
    for server in &cluster.servers {
        for path in ["", "/0", "/1"] {
            let error = refused(&format!("{}{path}", server.url())).await;
            assert_eq!(facts(&error), ("config", false, false), "{error:?}");
            assert!(error.hint().unwrap().contains("redis+cluster://"), "{error:?}");
        }
    }
    let plain = Server::start("redis-server", &[]);
    let url = plain.url().replace("redis://", "redis+cluster://");
    let error = refused(&url).await;
    assert_eq!(facts(&error), ("config", false, false), "{error:?}");
    assert!(error.hint().unwrap().contains("redis://"), "{error:?}");
}

async fn e2_what_is_no_redis_is_a_config_error() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let other = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let _ = stream.read(&mut [0; 64]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = refused(&format!("redis://127.0.0.1:{port}")).await;
    other.abort();
    assert_eq!(facts(&error), ("config", false, false), "{error:?}");
    assert!(error.hint().unwrap().contains("6379"), "{error:?}");
}
