//! `health`, `migrate`, `erase`, `purge` and `index`: the stores themselves.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use comfy_table::Cell;
use memquill::driver::StoreUrl;
use memquill::{ErasureReceipt, Error, ErrorKind, Health, HealthStatus};
use serde_json::{Map, Value, json};

use crate::output::{Color, Output, coloured, printable, table};
use crate::session::Session;
use crate::{Done, Failure};

pub(crate) async fn health(deadline: u64, session: &Session, output: Output) -> Done {
    let deadline = Duration::from_secs(deadline);
    let mut healthy = true;
    let mut answers = Map::new();
    let mut lines = table(["store", "status", "latency", "server", "missing"]);
    for (name, url) in &session.config.stores {
        // Each store on its own, so that one that is lost does not hide the others.
        let health = health_of(url, deadline, session).await;
        healthy &= health.status == HealthStatus::Healthy;
        let (colour, status) = match health.status {
            HealthStatus::Healthy => (Color::Green, "healthy"),
            HealthStatus::Degraded => (Color::Yellow, "degraded"),
            HealthStatus::Unreachable => (Color::Red, "unreachable"),
        };
        let millis = health.latency.as_secs_f64() * 1000.0;
        lines.add_row([
            Cell::new(format!("{name} ({url})")),
            coloured(status, colour),
            Cell::new(format!("{millis:.2} ms")),
            Cell::new(printable(&health.server_version)),
            Cell::new(printable(&health.missing.join("\n"))),
        ]);
        answers.insert(
            name.clone(),
            json!({
                "url": url.to_string(),
                "status": status,
                "latency_ms": millis,
                "server_version": health.server_version,
                "missing": health.missing,
            }),
        );
    }
    output
        .answer(&json!({"success": healthy, "stores": answers}), |out| writeln!(out, "{lines}"))?;
    if healthy { Ok(()) } else { Err(Failure::Answered) }
}

/// Within the deadline, connecting included. A store that answers and refuses is reached.
async fn health_of(url: &StoreUrl, deadline: Duration, session: &Session) -> Health {
    let begun = Instant::now();
    let url = url.clone().existing();
    let connected = tokio::time::timeout(deadline, session.connect(&url)).await;
    let (status, missing) = match connected {
        Ok(Ok(backend)) => {
            return backend.control().health(deadline.saturating_sub(begun.elapsed())).await;
        }
        Ok(Err(error)) if error.is_transient() || error.kind() == ErrorKind::NotFound => {
            (HealthStatus::Unreachable, error.to_string())
        }
        Ok(Err(error)) => (HealthStatus::Degraded, error.to_string()),
        Err(_) => {
            let seconds = deadline.as_secs();
            (HealthStatus::Unreachable, format!("it did not answer within {seconds} s"))
        }
    };
    let (latency, server_version) = (begun.elapsed(), String::new());
    Health { status, latency, server_version, missing: vec![missing] }
}

pub(crate) async fn migrate(session: &Session, output: Output) -> Done {
    let mut answers = Map::new();
    let mut lines = table(["store", "applied"]);
    for (name, url) in &session.config.stores {
        let applied = session.admin(url).await?.migrate().await?.applied;
        let shown =
            if applied.is_empty() { "nothing: up to date".into() } else { applied.join("\n") };
        lines.add_row([format!("{name} ({url})"), shown]);
        answers.insert(name.clone(), applied.into());
    }
    let value = json!({"success": true, "applied": answers});
    Ok(output.answer(&value, |out| writeln!(out, "{lines}"))?)
}

pub(crate) async fn purge(session: &Session, output: Output) -> Done {
    session.of_all_nodes()?;
    let mut answers = Map::new();
    let mut lines = table(["store", "records", "entries"]);
    for (name, url) in &session.config.stores {
        let receipt = session.admin(&url.clone().existing()).await?.purge_expired().await?;
        lines.add_row([
            format!("{name} ({url})"),
            receipt.records.to_string(),
            receipt.entries.to_string(),
        ]);
        answers.insert(name.clone(), json!(receipt));
    }
    let value = json!({"success": true, "purged": answers});
    Ok(output.answer(&value, |out| writeln!(out, "{lines}"))?)
}

pub(crate) async fn index(session: &Session, output: Output) -> Done {
    let mut answers = Map::new();
    let mut lines = table(["store", "built"]);
    for (name, url) in &session.config.stores {
        let built = session.admin(&url.clone().existing()).await?.build_indexes().await?.built;
        let shown =
            if built.is_empty() { "nothing: none is needed".into() } else { built.join("\n") };
        lines.add_row([format!("{name} ({url})"), shown]);
        answers.insert(name.clone(), built.into());
    }
    let value = json!({"success": true, "built": answers});
    Ok(output.answer(&value, |out| writeln!(out, "{lines}"))?)
}

pub(crate) async fn erase(yes: bool, session: &Session, output: Output) -> Done {
    session.of_all_nodes()?;
    let Some(user) = session.named_user() else {
        return Err(Failure::Usage(
            Error::invalid_input("erase needs a user").with_hint("name one: erase --user ID"),
        ));
    };
    if !(yes || confirmed(user)?) {
        return Err(Failure::Usage(
            Error::invalid_input("nothing was erased: the erasure was not confirmed")
                .with_hint("type the user's id when asked, or give --yes"),
        ));
    }
    let receipts = session.existing_memory().await?.erase(user).await?;
    let mut lines = table(["store", "messages", "records", "entries"]);
    let answers: Map<String, Value> =
        receipts.iter().map(|(name, receipt)| (name.clone(), json!(receipt))).collect();
    for (name, ErasureReceipt { messages, records, entries }) in &receipts {
        lines.add_row([
            name.clone(),
            messages.to_string(),
            records.to_string(),
            entries.to_string(),
        ]);
    }
    let value = json!({"success": true, "user": user, "erased": answers});
    Ok(output.answer(&value, |out| {
        writeln!(out, "erased the memory of {}:\n{lines}", printable(user))
    })?)
}

/// Asks at a terminal; elsewhere there is nobody to ask.
fn confirmed(user: &str) -> io::Result<bool> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Ok(false);
    }
    let mut ask = io::stderr().lock();
    write!(
        ask,
        "This erases all memory of {} for good. Type the id to confirm: ",
        printable(user)
    )?;
    ask.flush()?;
    let mut typed = String::new();
    io::stdin().lock().read_line(&mut typed)?;
    Ok(typed.trim_end_matches(['\n', '\r']) == user)
}
