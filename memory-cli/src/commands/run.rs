//! `run`: executes one node.

use std::path::Path;

use memquill::kinds::Operation;
use memquill::nodes::Node;
use memquill::{Result, json, kinds};
use serde_json::{Value, json};

use crate::args::Run;
use crate::input::text::read_text;
use crate::output;
use crate::session::Session;
use crate::{Done, Failure};

/// Executes the node. An error of any kind is an answer of section M, too.
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
    let context = session.execution();
    if !node.enabled {
        return Ok(session.transient_memory().await?.execute(&node, &context, &input).await);
    }
    // Before a store is opened for a user that nobody named.
    node.scope(&context)?;
    let memory = if !node.persistent {
        session.transient_memory().await?
    } else if stores(&node, &input) {
        // What is refused creates no store.
        let accepted = async || {
            let Ok(memory) = session.transient_memory().await else { return true };
            memory.execute(&node, &context, &input).await["success"] == true
        };
        session.memory_for(accepted).await?
    } else {
        session.existing_memory().await?
    };
    Ok(memory.execute(&node, &context, &input).await)
}

/// Returns whether the operation is `store`: only that creates a store.
fn stores(node: &Node, input: &Value) -> bool {
    let named = input["operation"].as_str().and_then(|name| name.parse().ok());
    named.or(node.operation) == Some(Operation::Store)
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
