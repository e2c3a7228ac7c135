//! The schema: the key `P:schema` says which layout the keys under a prefix have (G13).

use memquill_core::{Error, ErrorKind, Result};
use redis::Value;

use crate::codec;
use crate::connection::{Script, script};
use crate::error::foreign_key;
use crate::keys;
use crate::store::Store;

/// The schema that this driver reads and writes.
pub(crate) const SCHEMA: u32 = 1;

/// How many pages of how many keys are searched for those of another application.
const SEARCHED_PAGES: usize = 100;
const PAGE_SIZE: usize = 1_000;

static MIGRATE: Script = script!(writing, "admin/migrate");

/// Reads the schema of the store; none where it was never prepared, or emptied since.
pub(crate) async fn read(store: &Store) -> Result<Option<u32>> {
    let key = keys::schema(&store.prefix);
    let mut command = redis::cmd("GET");
    command.arg(&key);
    let mark = store.connection.read(&key, &command).await;
    parse(store, mark)
}

fn parse(store: &Store, mark: Result<Value>) -> Result<Option<u32>> {
    match mark {
        Ok(Value::Nil) => Ok(None),
        Ok(found) => match codec::number(&found) {
            Ok(schema) => Ok(Some(schema)),
            Err(_) => Err(foreign_key(&keys::schema(&store.prefix))),
        },
        Err(error) if error.kind() == ErrorKind::Corrupted => {
            Err(foreign_key(&keys::schema(&store.prefix)))
        }
        Err(error) => Err(error),
    }
}

/// Fails unless the store has the driver's own schema.
pub(crate) fn check(store: &Store, schema: Option<u32>) -> Result<()> {
    match schema {
        Some(SCHEMA) => Ok(()),
        Some(newer) if newer > SCHEMA => Err(Error::config(format!(
            "the store has schema {newer}, this version of memquill knows schema {SCHEMA}"
        ))
        .with_hint("use a version of memquill at least as new as the one that wrote it")),
        Some(_) => Err(Error::config("the store has an older schema").with_hint(HINT)),
        None => Err(Error::config(format!(
            "the store was never prepared for the prefix {:?}, or its server was emptied since",
            store.prefix
        ))
        .with_hint(HINT)),
    }
}

const HINT: &str = "run `memquill migrate` with the same URL, or call `Admin::migrate`";

/// Checks the schema, and prepares a store that is empty because its server keeps nothing on disk:
/// whoever connects after a restart would otherwise be refused, although there is nothing to lose.
pub(crate) async fn check_or_restore(store: &Store) -> Result<()> {
    match read(store).await? {
        None if store.volatile => prepare(store).await.map(drop),
        schema => check(store, schema),
    }
}

/// Prepares the store and says whether it had to be. Refuses a prefix of another application.
pub(crate) async fn prepare(store: &Store) -> Result<bool> {
    if read(store).await?.is_none()
        && let Some(key) = find_foreign_key(store).await?
    {
        return Err(foreign_key(&key));
    }
    let before = write(store).await?;
    check(store, before.or(Some(SCHEMA)))?;
    Ok(before.is_none())
}

/// Writes the schema where there is none, and returns the one before.
pub(crate) async fn write(store: &Store) -> Result<Option<u32>> {
    let names = [keys::schema(&store.prefix)];
    let before = store.run(&MIGRATE, &names, |call| {
        call.arg(SCHEMA);
    });
    parse(store, before.await)
}

/// Finds a key under the prefix that no memquill wrote, among the first 100,000 keys of each server.
/// A user who may not run SCAN is not refused for it: then nothing is known of other keys.
async fn find_foreign_key(store: &Store) -> Result<Option<String>> {
    let start = format!("{}:", store.prefix);
    let pattern = format!("{}*", glob_escaped(&start));
    for node in store.connection.nodes() {
        let mut cursor = "0".to_owned();
        for _ in 0..SEARCHED_PAGES {
            let mut command = redis::cmd("SCAN");
            command.arg(&cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(PAGE_SIZE);
            let page = match store.connection.ask(&node, &command).await {
                Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(None),
                page => codec::Reply::new(page?),
            };
            let mut page = page?;
            cursor = page.text()?;
            let mut found = page.list()?;
            while !found.is_empty() {
                let key = codec::lossy_text(&found.next()?);
                if !keys::is_ours(&key) {
                    return Ok(Some(key));
                }
            }
            if cursor == "0" {
                break;
            }
        }
    }
    Ok(None)
}

/// Escapes what has a meaning in the server's patterns.
fn glob_escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '^' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_prefix_is_literal_in_patterns() {
        assert_eq!(super::glob_escaped(r"a*[b]?\:"), r"a\*\[b\]\?\\:");
    }
}
