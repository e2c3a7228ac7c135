//! `search`: passages by meaning and by words.

use agent_memory::kinds::{
    DocumentQuery, KindName, SearchMode, VectorDatabase, VectorDatabaseConfig,
};
use agent_memory::{Hit, Memory, Result};
use serde_json::{Value, json};

use crate::Done;
use crate::args::{Mode, Search};
use crate::output::{BOLD, DIM, Output, printable, shortened};
use crate::session::Session;

/// How much of a passage is shown to people.
const SHOWN: usize = 300;

/// The documents of the session's scope. Without a threshold, so that the best are shown, however
/// near they are.
pub(super) fn documents(session: &Session, memory: &Memory) -> Result<VectorDatabase> {
    let config =
        VectorDatabaseConfig { similarity_threshold: -1.0, ..VectorDatabaseConfig::default() };
    VectorDatabase::new(
        session.scope(KindName::VectorDatabase)?,
        memory.vectors()?.clone(),
        memory.embedder().clone(),
        memory.counter().clone(),
        config,
    )
}

pub(crate) async fn search(args: Search, session: &Session, output: Output) -> Done {
    let memory = session.memory().await?;
    let query = DocumentQuery {
        text: Some(args.text),
        limit: Some(args.limit),
        min_similarity: args.min_similarity,
        filter: args.filter,
        namespace: Some(args.namespace.clone()),
        search: Some(match args.mode {
            Mode::Hybrid => SearchMode::Hybrid,
            Mode::Vector => SearchMode::Vector,
            Mode::Text => SearchMode::Text,
        }),
        language: args.language,
        ..DocumentQuery::default()
    };
    let found = documents(session, &memory)?.search(query).await?;
    let hits: Vec<Value> = found.result.hits.iter().map(hit).collect();
    let value = json!({
        "success": true,
        "search": args.mode.as_str(),
        "complete": found.result.complete,
        "results": hits,
    });
    Ok(output.answer(&value, |out| {
        if found.result.hits.is_empty() {
            return writeln!(
                out,
                "nothing found in {:?}; `agent-memory ingest` stores passages",
                args.namespace
            );
        }
        for (at, hit) in found.result.hits.iter().enumerate() {
            let source = hit.record.metadata.get("source").and_then(Value::as_str);
            let similarity =
                hit.similarity.map_or(String::new(), |s| format!(", similarity {s:.3}"));
            writeln!(
                out,
                "{BOLD}{}. {}{BOLD:#} {DIM}score {:.3}{similarity}{DIM:#}",
                at + 1,
                printable(source.unwrap_or(&hit.record.id)),
                hit.score,
            )?;
            writeln!(out, "   {}\n", printable(&shortened(&hit.record.content, SHOWN)))?;
        }
        if found.result.complete { Ok(()) } else { writeln!(out, "more match than were found") }
    })?)
}

fn hit(hit: &Hit) -> Value {
    json!({
        "id": hit.record.id,
        "score": hit.score,
        "similarity": hit.similarity,
        "content": hit.record.content,
        "document_type": hit.record.document_type,
        "metadata": hit.record.metadata,
        "created_at": hit.record.created_at,
    })
}
