//! `run`: executes one node.

use std::path::Path;

use memquill::kinds::Operation;
use memquill::{Node, Result, json, kinds};
use serde_json::{Value, json};

use crate::args::Run;
use crate::input::text::read_text;
use crate::output;
use crate::session::Session;
use crate::{Done, Failure};

/// Whatever goes wrong is told as an answer of section M.
pub(crate) async fn run(args: Run, session: &Session) -> Done {
    let answer = execute(&args, session).await.unwrap_or_else(|error| kinds::failure(&error));
    output::value(&answer)?;
    if answer["success"] == true { Ok(()) } else { Err(Failure::Answered) }
}

async fn execute(args: &Run, session: &Session) -> Result<Value> {
    let node = node(args, session)?;
    let input = match &args.input {
        Some(path) => parse(path)?,
        None => json!({}),
    };
    let memory = if only_reads(&node, &input) {
        session.existing_memory().await?
    } else {
        session.memory().await?
    };
    Ok(memory.execute(&node, &session.execution(), &input).await)
}

/// Whether the node's stores must exist: only what stores makes one.
fn only_reads(node: &Node, input: &Value) -> bool {
    let named = input["operation"].as_str().and_then(|name| name.parse().ok());
    node.persistent && named.or(node.operation).is_some_and(|named| named != Operation::Store)
}

/// The node of the configuration that has this name, else the one in the file.
fn node(args: &Run, session: &Session) -> Result<Node> {
    if let Some(node) = args.node_file.to_str().and_then(|name| session.config.nodes.get(name)) {
        return Ok(node.clone());
    }
    Node::from_json(&parse(&args.node_file)?)
}

fn parse(path: &Path) -> Result<Value> {
    json::parse(&read_text(path)?).map_err(|error| error.at(path.display()))
}
