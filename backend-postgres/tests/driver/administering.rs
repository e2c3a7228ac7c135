//! Administration: who may, and what is told of it where it breaks off.

use std::sync::Arc;

use memquill_core::{Administrator, ErrorKind, PageRequest};
use memquill_postgres::driver;

use crate::faults::facts;
use crate::support::server::Server;
use crate::support::{Fixture, fixture, run_sql};

async fn admin(url: &str) -> Administrator {
    driver().admin(&url.parse().unwrap()).await.unwrap()
}

async fn run(fixture: &Fixture, sql: &str) {
    let sql = format!("SET search_path = {}; {sql}", fixture.schema);
    run_sql(&fixture.superuser, &sql).await.unwrap();
}

pub(crate) async fn a_role_that_sees_no_rows_does_not_administer(server: Arc<Server>) {
    let fixture = fixture(&server).await;
    let data = admin(&fixture.data).await;
    let errors = [
        data.users(&PageRequest::default()).await.err(),
        data.purge_expired().await.err(),
        data.build_indexes().await.err(),
    ];
    for error in errors {
        let error = error.expect("a success with nothing");
        assert_eq!(facts(&error), (ErrorKind::PermissionDenied, false, false), "{error}");
        assert!(error.hint().unwrap().contains("owner"), "{error}");
    }

    let schema = &fixture.schema;
    let heir = format!(
        "CREATE ROLE {schema}_heir LOGIN PASSWORD 'secret'; GRANT {schema}_owner TO {schema}_heir"
    );
    run(&fixture, &heir).await;
    let heir = fixture.owner.replace("_owner:", "_heir:");
    let superuser = format!("{}?schema={schema}", fixture.superuser);
    for url in [&fixture.owner, &heir, &superuser] {
        let users = admin(url).await.users(&PageRequest::default()).await.unwrap();
        assert_eq!(users.items, ["alice", "bob"], "{url}");
    }
}

pub(crate) async fn e1_a_purge_that_breaks_off_says_that_it_has_done_something(
    server: Arc<Server>,
) {
    let fixture = fixture(&server).await;
    let admin = admin(&fixture.owner).await;
    // From the `n`th batch on, entries cannot be deleted.
    let refuse_from = async |n: u32| {
        let sql = format!(
            "DROP SEQUENCE IF EXISTS batches CASCADE; CREATE SEQUENCE batches;
             GRANT USAGE ON batches TO PUBLIC;
             CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF nextval('{0}.batches') >= {n} THEN
                     RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'refused';
                 END IF;
                 RETURN NULL;
             END $$;
             CREATE OR REPLACE TRIGGER refuse BEFORE DELETE ON memory_data
             FOR EACH STATEMENT EXECUTE FUNCTION refuse()",
            fixture.schema
        );
        run(&fixture, &sql).await;
    };
    let broken_off = async |maybe_applied| {
        let error = admin.purge_expired().await.unwrap_err();
        assert_eq!(facts(&error), (ErrorKind::Unavailable, true, maybe_applied), "{error}");
    };

    refuse_from(1).await;
    broken_off(false).await;
    run(&fixture, "UPDATE embeddings SET expires_at = now()").await;
    broken_off(true).await; // the records are gone
    broken_off(false).await;
    let many = "INSERT INTO memory_data
        SELECT user_id, node_id, 'k' || n, value, bytes, size, metadata, version, created_at, updated_at, now()
        FROM memory_data, generate_series(1, 1500) AS n WHERE user_id = 'alice'";
    run(&fixture, many).await;
    refuse_from(2).await;
    broken_off(true).await; // a thousand entries are gone
    run(&fixture, "DROP TRIGGER refuse ON memory_data").await;
    assert_eq!(admin.purge_expired().await.unwrap().entries, 500);
}
