//! `capabilities`: what the stores can do.

use comfy_table::Cell;
use memquill::Facet;
use memquill::driver::{Backend, Driver, Feature, StoreUrl};
use serde_json::{Map, Value, json};

use crate::Done;
use crate::output::{Color, Output, coloured, table};
use crate::session::Session;

/// What is known of one store, or of one driver.
struct Claim {
    name: String,
    backend: Result<Backend, String>,
}

pub(crate) async fn capabilities(session: &Session, output: Output) -> Done {
    // Drivers that need no server tell by a store that is thrown away.
    let folder = tempfile::tempdir()?;
    let embedded = [
        ("inmemory", "memory:".to_owned()),
        ("sqlite", format!("sqlite:{}", folder.path().join("empty.db").display())),
    ];
    let mut claims = Vec::new();
    for driver in session.registry.drivers() {
        let backend = match embedded.iter().find(|(name, _)| *name == driver.name()) {
            Some((_, url)) => connect(session, &url.parse()?).await,
            None => Err("needs a server: name it with --store or --config".to_owned()),
        };
        claims.push(Claim { name: driver.name().to_owned(), backend });
    }
    // Of other drivers a server tells, where one is named.
    for (name, url) in &session.config.stores {
        let driver = session.registry.driver(url).map(Driver::name);
        if !embedded.iter().any(|(known, _)| driver.as_ref().is_ok_and(|name| name == known)) {
            let backend = connect(session, &url.clone().existing()).await;
            claims.push(Claim { name: format!("{name} ({url})"), backend });
        }
    }
    Ok(output.answer(&json(&claims), |out| {
        for chunk in claims.chunks(4) {
            let names = chunk.iter().map(|claim| claim.name.as_str());
            let mut lines = table([""].into_iter().chain(names));
            for (what, cells) in rows(chunk) {
                lines.add_row([Cell::new(what)].into_iter().chain(cells));
            }
            writeln!(out, "{lines}")?;
        }
        Ok(())
    })?)
}

async fn connect(session: &Session, url: &StoreUrl) -> Result<Backend, String> {
    session.connect(url).await.map_err(|error| error.to_string())
}

/// The rows of the table, each with a cell for each claim.
fn rows(claims: &[Claim]) -> Vec<(String, Vec<Cell>)> {
    let row = |what: &str, cell: &dyn Fn(&Backend) -> Cell| {
        let cells =
            claims.iter().map(|claim| claim.backend.as_ref().map_or_else(|_| Cell::new("?"), cell));
        (what.to_owned(), cells.collect())
    };
    let mut rows = vec![
        row("durability", &|b| Cell::new(b.capabilities().durability)),
        row("clock", &|b| Cell::new(format!("the {}'s", b.capabilities().time))),
    ];
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
    let notes = |b: &Backend| b.capabilities().notes.join("\n");
    if claims.iter().any(|claim| claim.backend.as_ref().is_ok_and(|b| !notes(b).is_empty())) {
        rows.push(row("notes", &|b| Cell::new(notes(b))));
    }
    if claims.iter().any(|claim| claim.backend.is_err()) {
        let reason = |claim: &Claim| Cell::new(claim.backend.as_ref().err().map_or("", |r| r));
        rows.push(("unknown because".to_owned(), claims.iter().map(reason).collect()));
    }
    rows
}

fn mark(yes: bool) -> Cell {
    if yes { coloured("yes", Color::Green) } else { coloured("no", Color::DarkGrey) }
}

fn exact(backend: &Backend) -> Cell {
    Cell::new(match backend.capabilities().vectors {
        Some(quality) => match quality.exact_up_to {
            Some(records) => format!("to {records} records"),
            None => "always".to_owned(),
        },
        None => String::new(),
    })
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
