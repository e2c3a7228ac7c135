//! `capabilities`: what the stores can do.

use agent_memory::{Backend, Facet, Feature};
use serde_json::{Map, Value, json};

use crate::Done;
use crate::output::{BAD, DIM, GOOD, Output, table};
use crate::session::Session;

/// Drivers that need no server: a store of theirs that keeps nothing tells what they can do.
const EMBEDDED: [(&str, &str); 2] = [("inmemory", "memory:"), ("sqlite", "sqlite::memory:")];

/// What is known of one store, or of one driver.
struct Claim {
    name: String,
    backend: Result<Backend, String>,
}

pub(crate) async fn capabilities(session: &Session, output: Output) -> Done {
    let mut claims = Vec::new();
    for driver in session.registry.drivers() {
        let embedded = EMBEDDED.iter().find(|(name, _)| *name == driver.name());
        let backend = match embedded {
            Some((_, url)) => {
                session.registry.connect(&url.parse()?).await.map_err(|error| error.to_string())
            }
            None => Err("needs a server: name it with --store or --config".to_owned()),
        };
        claims.push(Claim { name: driver.name().to_owned(), backend });
    }
    // Of other drivers a server tells, where one is named.
    for (name, url) in &session.config.stores {
        let known = |driver: &str| EMBEDDED.iter().any(|(embedded, _)| *embedded == driver);
        if session.registry.driver(url).is_ok_and(|driver| known(driver.name())) {
            continue;
        }
        let backend = session.registry.connect(url).await.map_err(|error| error.to_string());
        claims.push(Claim { name: format!("{name} ({url})"), backend });
    }
    Ok(output.answer(&json(&claims), |out| {
        for chunk in claims.chunks(4) {
            let mut lines = table([""]);
            let names = chunk.iter().map(|claim| claim.name.clone());
            lines.set_header([String::new()].into_iter().chain(names));
            for (what, cells) in rows(chunk) {
                lines.add_row([what].into_iter().chain(cells));
            }
            writeln!(out, "{lines}")?;
        }
        Ok(())
    })?)
}

/// The rows of the table, each with a cell for each claim.
fn rows(claims: &[Claim]) -> Vec<(String, Vec<String>)> {
    let row = |what: &str, cell: &dyn Fn(&Backend) -> String| {
        let cells = claims.iter().map(|claim| claim.backend.as_ref().map_or("?".into(), cell));
        (what.to_owned(), cells.collect())
    };
    let mut rows = vec![row("durability", &|b| b.capabilities().durability.to_string())];
    for facet in Facet::ALL {
        rows.push(row(facet.as_str(), &|b| mark(b.facets().contains(&facet))));
        if facet == Facet::Vectors {
            rows.push(row("  exact search", &|b| exact(b)));
        }
        for feature in Feature::ALL.into_iter().filter(|f| f.facet() == Some(facet)) {
            let name = format!("  {feature}");
            rows.push(row(&name, &|b| mark(b.capabilities().has(feature))));
        }
    }
    let isolation = Feature::EnforcedIsolation;
    rows.push(row(isolation.as_str(), &|b| mark(b.capabilities().has(isolation))));
    let unknown = claims.iter().filter_map(|claim| claim.backend.as_ref().err());
    if unknown.count() > 0 {
        let cells =
            claims.iter().map(|claim| claim.backend.as_ref().err().cloned().unwrap_or_default());
        rows.push(("unknown because".to_owned(), cells.collect()));
    }
    rows
}

fn mark(yes: bool) -> String {
    if yes { format!("{GOOD}yes{GOOD:#}") } else { format!("{DIM}no{DIM:#}") }
}

fn exact(backend: &Backend) -> String {
    match backend.capabilities().vectors {
        Some(quality) => match quality.exact_up_to {
            Some(records) => format!("to {records} records"),
            None => "always".to_owned(),
        },
        None => format!("{BAD}-{BAD:#}"),
    }
}

fn json(claims: &[Claim]) -> Value {
    let stores: Map<String, Value> = claims
        .iter()
        .map(|claim| {
            let value = match &claim.backend {
                Ok(backend) => json!({
                    "facets": backend.facets(),
                    "capabilities": backend.capabilities(),
                }),
                Err(reason) => json!({"unknown_because": reason}),
            };
            (claim.name.clone(), value)
        })
        .collect();
    json!({"success": true, "stores": stores})
}
