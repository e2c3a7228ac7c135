//! Binding a namespace to another space, within the caller's transaction (V13).

use memquill_core::{Rebind, Result, Scope, Timestamp, conflict};
use sqlx::SqliteConnection;

use super::Namespace;
use crate::error::translate;

/// The live records of ?1 without a counterpart in ?2.
const MISSING: &str = "
SELECT count(*) FROM embeddings r
WHERE r.namespace = ?1 AND (r.expires_at IS NULL OR r.expires_at > ?3)
    AND NOT EXISTS (
        SELECT 1 FROM embeddings c
        WHERE c.namespace = ?2 AND c.id = r.id
            AND c.content_hash = r.content_hash AND c.document_type = r.document_type
            AND c.language IS r.language AND same_metadata(c.metadata, r.metadata)
            AND (c.expires_at IS NULL OR c.expires_at > ?3))";

/// Expired records have no counterpart, and must not keep an embedding of the old space.
const SWEEP: &str = "DELETE FROM embeddings WHERE namespace = ?1 AND expires_at <= ?2";

const TAKE: &str = "
UPDATE embeddings SET embedding = c.embedding
FROM embeddings c
WHERE embeddings.namespace = ?1 AND c.namespace = ?2 AND c.id = embeddings.id";

const BIND: &str = "
UPDATE namespaces SET (model, dimensions) = (
    SELECT model, dimensions FROM namespaces WHERE namespace = ?2)
WHERE namespace = ?1";

const DROP: &str = "DELETE FROM namespaces WHERE namespace = ?1";

pub(super) async fn rebind(
    connection: &mut SqliteConnection,
    scope: &Scope,
    request: &Rebind,
    now: Timestamp,
) -> Result<u64> {
    let namespace = existing(connection, scope, &request.namespace, now).await?;
    let from = existing(connection, scope, &request.from, now).await?;
    let missing: u64 = sqlx::query_scalar(MISSING)
        .bind(namespace.key)
        .bind(from.key)
        .bind(now.as_millis())
        .fetch_one(&mut *connection)
        .await
        .map_err(translate)?;
    if missing > 0 {
        return Err(conflict::counterparts_missing(request, missing));
    }
    let sweep = sqlx::query(SWEEP).bind(namespace.key).bind(now.as_millis());
    sweep.execute(&mut *connection).await.map_err(translate)?;
    for statement in [TAKE, BIND] {
        let query = sqlx::query(statement).bind(namespace.key).bind(from.key);
        query.execute(&mut *connection).await.map_err(translate)?;
    }
    sqlx::query(DROP).bind(from.key).execute(connection).await.map_err(translate)?;
    Ok(namespace.records)
}

async fn existing(
    connection: &mut SqliteConnection,
    scope: &Scope,
    name: &str,
    now: Timestamp,
) -> Result<Namespace> {
    let found = Namespace::find(connection, scope, name, now).await?;
    found.ok_or_else(|| conflict::no_namespace(name))
}
