//! The rights of the user of the connection.
//!
//! A script that meets a command which its user may not run ends there, and what it wrote before
//! stays. So every command is tried before the first script runs (G5).

use memquill_core::{Error, ErrorKind, Result};

use crate::codec::Reply;
use crate::connection::{Script, script};
use crate::keys::probe;
use crate::store::Store;

// It does not count as writing: on a replica it is refused, and that is no lack of rights.
static RIGHTS: Script = script!(reading, "admin/rights");

/// Says whether the user may run WAIT. A replica refuses it to everybody, which is not a lack of rights.
async fn may_wait(store: &Store) -> bool {
    let mut wait = redis::cmd("WAIT");
    wait.arg(0).arg(1);
    let tried = store.connection.everywhere(&wait).await;
    tried.err().is_none_or(|error| error.kind() != ErrorKind::PermissionDenied)
}

/// Fails with `PermissionDenied` naming every command that the user may not run.
pub(crate) async fn check(store: &Store) -> Result<()> {
    let names = ["text", "hash", "set", "stream"].map(|kind| probe(&store.prefix, kind));
    let mut denied = Reply::new(store.run(&RIGHTS, &names, |_| ()).await?)?;
    let mut commands = Vec::new();
    while !denied.is_empty() {
        commands.push(denied.text()?);
    }
    if store.connection.replicas() > 0 && !may_wait(store).await {
        commands.push("WAIT".into());
    }
    if commands.is_empty() {
        return Ok(());
    }
    let grants: Vec<String> =
        commands.iter().map(|command| format!("+{}", command.to_lowercase())).collect();
    Err(Error::new(
        ErrorKind::PermissionDenied,
        format!("the user may not run {}", commands.join(", ")),
    )
    .with_hint(format!("grant it: ACL SETUSER NAME {}", grants.join(" "))))
}
