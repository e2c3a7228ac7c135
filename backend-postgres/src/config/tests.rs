use super::*;

fn read(url: &str) -> Result<Config> {
    Config::from_url(&url.parse().unwrap())
}

/// Reads options of a URL of this machine's.
fn with(options: &str) -> Result<Config> {
    read(&format!("postgres://u:p@localhost/x?{options}"))
}

fn mode(config: &Config) -> String {
    format!("{:?}", config.connect.get_ssl_mode())
}

#[test]
fn a_url_names_server_schema_role_and_sizes() {
    let config = read(
        "postgres://u:p@db.example/x?schema=memory&role=a%20role&max_connections=3\
         &acquire_timeout=500ms&statement_timeout=2s",
    )
    .unwrap();
    assert_eq!(config.schema.name(), "memory");
    assert_eq!(config.role.as_deref(), Some("a role"));
    assert_eq!(config.max_connections, 3);
    assert_eq!(config.acquire_timeout, Duration::from_millis(500));
    assert_eq!(config.statement_timeout(), Duration::from_secs(2));
    assert_eq!(
        config.for_data(true).get_options(),
        Some("-c statement_timeout=2000ms -c client_connection_check_interval=500ms")
    );
    assert_eq!(config.connect.get_host(), "db.example");
    assert_eq!(config.connect.get_username(), "u");
    assert_eq!(config.connect.get_database(), Some("x"));
}

#[test]
fn a_server_has_an_address_a_name_or_a_socket() {
    for (url, host, port) in [
        ("postgres://u@[::1]/x", "::1", 5432),
        ("postgresql://u@[::1]:6000/x", "::1", 6000),
        ("postgres://u@[2001:db8::1]:6000/x", "2001:db8::1", 6000),
        ("postgres://u@10.0.0.1/x", "10.0.0.1", 5432),
        ("postgres://u@ignored/x?host=db.example&port=7", "db.example", 7),
        ("postgres:///x?host=db.example", "db.example", 5432),
        ("postgres://db.example/x?hostaddr=192.0.2.1", "192.0.2.1", 5432),
    ] {
        let config = read(url).unwrap();
        let found = (config.connect.get_host(), config.connect.get_port());
        assert_eq!(found, (host, port), "{url}");
    }
    for url in [
        "postgres:///x?host=/var/run/postgresql",
        "postgres://u@/x?host=%2Fvar%2Frun%2Fpostgresql",
        "postgres://u@%2Fvar%2Frun%2Fpostgresql/x",
        "postgres://u@localhost/x?host=/var/run/postgresql",
    ] {
        let config = read(url).unwrap();
        let socket = config.connect.get_socket().unwrap();
        assert_eq!(socket.to_str(), Some("/var/run/postgresql"), "{url}");
        assert_eq!(config.connect.get_database(), Some("x"), "{url}");
        assert_eq!(mode(&config), "Prefer", "{url}");
    }
    let error = read("postgres://u@a,b:6000/x").unwrap_err();
    assert!(error.hint().unwrap().contains("name one"), "{error:?}");
}

#[test]
fn certificates_are_verified_unless_the_server_is_here_or_the_url_says_otherwise() {
    for (url, expected) in [
        ("postgres://u@db.example/x", "VerifyFull"),
        ("postgres://u@10.0.0.1/x", "VerifyFull"),
        ("postgres://u@localhost/x", "Prefer"),
        ("postgres://u@127.0.0.1/x", "Prefer"),
        ("postgres://u@[::1]/x", "Prefer"),
        ("postgres://u@db.example/x?sslmode=require", "Require"),
        ("postgres://u@db.example/x?sslmode=verify-ca", "VerifyCa"),
        ("postgres://u@db.example/x?sslaccept=accept_invalid_certs", "Require"),
        ("postgres://u@db.example/x?ssl=true", "VerifyFull"),
        ("postgres://u@db.example/x?ssl=false", "Disable"),
        ("postgres://u@db.example/x?sslmode=require&channel_binding=require", "VerifyFull"),
        ("postgres://u@db.example/x?sslmode=require&channel_binding=prefer", "Require"),
        ("postgres://u@localhost/x?sslrootcert=system", "VerifyFull"),
    ] {
        assert_eq!(mode(&read(url).unwrap()), expected, "{url}");
    }
    let error = with("sslmode=no-verify").unwrap_err();
    assert!(error.hint().unwrap().contains("sslmode=require"), "{error:?}");
    let error = with("sslmode=disable&channel_binding=require").unwrap_err();
    assert!(error.hint().unwrap().contains("verify-full"), "{error:?}");
}

#[test]
fn urls_of_hosted_databases_are_read() {
    for url in [
        "postgresql://u:p@ep-cool-1-pooler.eu.aws.neon.tech/neondb?sslmode=require&channel_binding=require",
        "postgresql://u:p@ep-cool-1.eu.aws.neon.tech/neondb?sslmode=require&options=endpoint%3Dep-cool-1",
        "postgres://postgres.abc:p@aws-0-eu.pooler.supabase.com:6543/postgres?pgbouncer=true&connection_limit=1",
        "postgres://default:p@x.supabase.co:5432/postgres?sslmode=require&supa=base-pooler.x",
        "postgres://u:p@ec2-1.compute-1.amazonaws.com:5432/d1a",
        "postgresql://u:p@x.rds.amazonaws.com:5432/app?sslmode=verify-full&sslrootcert=global-bundle.pem",
        "postgresql://u:p@db/app?schema=memory&connect_timeout=10&pool_timeout=20&socket_timeout=30",
        "postgresql://u:p@db/app?target_session_attrs=read-write&gssencmode=prefer&client_encoding=utf8",
        "postgresql://u:p@db/app?application_name=x&fallback_application_name=y&sslsni=1",
        "postgres://u:p@db/app?pool=5&prepared_statements=false&connect_timeout=2s",
    ] {
        read(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    }
    let config = with("connect_timeout=7&pool_timeout=20&socket_timeout=3&connection_limit=4");
    let config = config.unwrap();
    assert_eq!(config.connect_timeout, Some(Duration::from_secs(7)));
    assert_eq!(config.acquire_timeout, Duration::from_secs(20));
    assert_eq!(config.statement_timeout(), Duration::from_secs(3));
    assert_eq!(config.max_connections, 4);
    assert_eq!(with("connect_timeout=0").unwrap().connect_timeout, None);
    assert!(with("target_session_attrs=primary").unwrap().must_write);
}

#[test]
fn settings_are_sent_at_connect_unless_a_pooler_refuses_them() {
    let settings = |options: &str| {
        let config = with(options).unwrap();
        config.for_data(true).get_options().map(str::to_owned)
    };
    assert!(settings("").unwrap().starts_with("-c statement_timeout=30000ms"));
    for without in ["startup_options=false", "pgbouncer=true"] {
        assert_eq!(settings(without), None, "{without}");
    }
    assert!(settings("pgbouncer=true&startup_options=true").is_some());
    assert!(settings("options=-c%20geqo%3Doff").unwrap().starts_with("-c geqo=off"));
    for (options, is_prepared) in [
        ("", true),
        ("pgbouncer=true", false),
        ("prepared_statements=false", false),
        ("statement_cache_size=0", false),
        ("statement_cache_size=100", true),
    ] {
        assert_eq!(with(options).unwrap().is_prepared, is_prepared, "{options}");
    }
    let administration = with("").unwrap().for_administration(false);
    assert_eq!(administration.get_options(), None, "a migration takes what it takes");
}

#[test]
fn g10_an_option_that_cannot_be_honoured_is_refused_with_what_to_write() {
    let error = with("max_conections=3").unwrap_err();
    assert_eq!(error.code(), "config");
    assert_eq!(error.hint(), Some(r#"did you mean "max_connections"?"#));
    for bad in [
        "schema=a.b",
        "schema=",
        "schema=my-app",
        "schema=pg_catalog",
        "schema=information_schema",
        "schema=%C3%BC",
        "max_connections=0",
        "acquire_timeout=1d",
        "role=",
        "connect_timeout=x",
        "target_session_attrs=standby",
        "target_session_attrs=read-only",
        "gssencmode=require",
        "client_encoding=LATIN1",
        "sslnegotiation=direct",
        "options=-c%20statement_timeout%3D5s",
        "port=0",
        "max_connections=2&connection_limit=3",
        "dbname=a%00b",
        "sslmode=on",
    ] {
        let error = with(bad).unwrap_err();
        assert_eq!(error.code(), "config", "{bad}");
        assert!(!error.is_transient(), "{bad}");
    }
}

#[test]
fn a_password_may_come_from_the_environment() {
    let error = read("postgres://u@localhost/x?password_env=MEMQUILL_NO_SUCH").unwrap_err();
    assert!(error.message().contains("MEMQUILL_NO_SUCH"), "{error}");
    read("postgres://u@localhost/x?password_env=PATH").unwrap();
}

#[test]
fn e3_no_password_shows() {
    let config = read("postgres://u:CANARY@localhost/x").unwrap();
    assert!(!format!("{config:?}").contains("CANARY"));
    let error = read("postgres://u:CAN#ARY@local host/x").unwrap_err();
    assert!(!format!("{error:?} {error}").contains("ARY"), "{error:?}");
}

#[test]
fn e3_what_may_be_a_piece_of_a_password_is_not_repeated() {
    for url in [
        "postgres://u:?CANARY@host/db",
        "postgres://u:12?CANARY&more@host/db",
        "postgres://u:12/CANARY@host/db",
        "postgres://u:12?schema=CANARY!@host/db",
        "postgres://u:12#CANARY@host/db",
        "postgres://u@host/db?user=CANARY@server",
    ] {
        let error = read(url).unwrap_err();
        assert_eq!(error.code(), "config", "{url}");
        let hint = error.hint().unwrap();
        assert!(hint.contains("%40") && hint.contains("password_env"), "{error:?}");
        assert!(!format!("{error:?} {error}").contains("CANARY"), "{error:?}");
    }
    let config = read("postgres://u:%3FCAN%40ARY@host/a%40b?user=a%40server").unwrap();
    assert_eq!(config.connect.get_username(), "a@server");
    assert_eq!(config.connect.get_database(), Some("a@b"));
}

#[test]
fn g10_an_option_that_is_given_twice_is_refused() {
    for twice in ["schema=a&schema=b", "role=a&role=a", "sslmode=disable&sslmode=verify-full"] {
        let error = with(twice).unwrap_err();
        assert_eq!(error.code(), "config", "{twice}");
        assert!(error.message().contains("twice"), "{error}");
    }
}

#[test]
fn the_environment_names_a_store_or_says_which_variable_would() {
    let from = |pairs: &[(&str, &str)]| {
        let pairs = pairs.to_vec();
        url_from_environment(|name| {
            pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
        })
    };
    assert!(from(&[]).unwrap().is_none());
    assert!(from(&[("DATABASE_URL", "sqlite:x")]).unwrap().is_none());
    let supabase = ("SUPABASE_DB_URL", "postgres://a/b");
    for pairs in [vec![supabase], vec![("SUPABASE_URL", "https://x.supabase.co"), supabase]] {
        let (name, url) = from(&pairs).unwrap().unwrap();
        assert_eq!((name, url.expose()), ("SUPABASE_DB_URL", "postgres://a/b"));
    }
    let error = from(&[("SUPABASE_SECRET_KEY", "CANARY")]).unwrap_err();
    assert_eq!(error.code(), "config");
    assert!(error.hint().unwrap().contains("SUPABASE_DB_URL"));
    assert!(!format!("{error:?}").contains("CANARY"));
}
