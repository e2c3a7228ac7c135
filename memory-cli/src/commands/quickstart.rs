//! `quickstart`: all kinds of memory at work, step by step.

use std::io;

use memquill::driver::Durability;
use memquill::kinds::Operation;
use memquill::nodes::{ExecutionContext, Node};
use memquill::{ConversationStatistics, Error, Facet, Memory};
use serde_json::{Value, json};

use crate::output::{self, BOLD, CALL, DIM, GOOD, Output, printable};
use crate::session::Session;
use crate::{Done, Failure};

/// The node whose memory it works on.
const NODE: &str = "quickstart";

/// One call and what to say of it.
struct Step {
    says: &'static str,
    subtype: &'static str,
    operation: Operation,
    input: Value,
    /// Which fields of the answer to show.
    shows: &'static [&'static str],
}

pub(crate) async fn quickstart(session: &Session, output: Output) -> Done {
    let memory = session.memory().await?;
    complete(&memory, &store_of(session))?;
    let context = ExecutionContext::for_user(session.user()).at_node(NODE);
    let before = remembered(&memory, &context).await?;
    let store = store_of(session);
    if !output.is_json() {
        output::people(|out| {
            writeln!(out, "{BOLD}memquill quickstart{BOLD:#} on {}", printable(&store))?;
            match before.message_count {
                0 => writeln!(out, "This is your first run here: the memory is empty."),
                n => writeln!(
                    out,
                    "{GOOD}Welcome back:{GOOD:#} {n} messages of earlier runs are still here."
                ),
            }
        })?;
    }
    let mut answers = Vec::new();
    for (at, step) in steps(before.last_seq / 2 + 1).into_iter().enumerate() {
        let node = Node::from_json(&json!({"type": "MEMORY", "subtype": step.subtype}))?;
        let mut input = step.input.clone();
        input["operation"] = step.operation.name().into();
        let answer = memory.execute(&node, &context, &input).await;
        if !output.is_json() {
            output::people(|out| show(out, at + 1, &step, &answer))?;
        }
        let failed = answer["success"] != true;
        answers.push(json!({
            "step": at + 1,
            "subtype": step.subtype,
            "operation": step.operation.name(),
            "input": step.input,
            "answer": answer,
        }));
        if failed {
            break;
        }
    }
    let success = answers.iter().all(|step| step["answer"]["success"] == true);
    let value = json!({
        "success": success,
        "store": store,
        "remembered_messages": before.message_count,
        "steps": answers,
    });
    let stays =
        memory.backend(Facet::Conversations)?.capabilities().durability > Durability::Process;
    output.answer(
        &value,
        |out| {
            if success { farewell(out, session, &store, stays) } else { Ok(()) }
        },
    )?;
    if success { Ok(()) } else { Err(Failure::Answered) }
}

/// Every facet has a store: it would be a pity to find out halfway.
fn complete(memory: &Memory, store: &str) -> memquill::Result<()> {
    let missing: Vec<&str> = Facet::ALL
        .into_iter()
        .filter(|facet| memory.backend(*facet).is_err())
        .map(Facet::as_str)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let bindings: Vec<String> = missing.iter().map(|facet| format!("{facet}: other")).collect();
    Err(Error::config(format!(
        "the quickstart needs {}, and no store offers it",
        missing.join(", ")
    ))
    .with_hint(format!(
        "bind it to another store: write `stores: {{main: \"{store}\", other: \
             \"sqlite:agent.db\"}}`, `default: main` and `{}` to a file, and give it with --config",
        bindings.join("`, `")
    )))
}

/// What earlier runs left.
async fn remembered(
    memory: &Memory,
    context: &ExecutionContext,
) -> memquill::Result<ConversationStatistics> {
    let node: Node = r#"{"type": "MEMORY", "subtype": "CONVERSATION_BUFFER"}"#.parse()?;
    let scope = node.scope(context)?;
    memory.conversations()?.statistics(&scope, "default").await
}

fn steps(visit: u64) -> Vec<Step> {
    vec![
        Step {
            says: "A conversation buffer keeps a chat, in order and within bounds",
            subtype: "CONVERSATION_BUFFER",
            operation: Operation::Store,
            input: json!({"messages": [
                {"role": "user", "content": format!("Hello, this is visit {visit}.")},
                {"role": "assistant", "content": "Welcome! I will remember it."},
            ]}),
            shows: &["seqs", "messages_count", "tokens"],
        },
        Step {
            says: "and gives a model what fits its window, never past the budget",
            subtype: "CONVERSATION_BUFFER",
            operation: Operation::GetContext,
            input: json!({"max_tokens": 60}),
            shows: &["context", "tokens"],
        },
        Step {
            says: "A vector database keeps documents; the same content is one record",
            subtype: "VECTOR_DATABASE",
            operation: Operation::Store,
            input: json!({"documents": [
                {"content": "Retry a timeout with exponential backoff and jitter.",
                 "metadata": {"topic": "reliability"}},
                {"content": "An index on the tenant column keeps queries fast.",
                 "metadata": {"topic": "performance"}},
                {"content": "东京塔是一座红色的铁塔。", "metadata": {"topic": "travel"}},
            ]}),
            shows: &["inserted", "updated", "unchanged"],
        },
        Step {
            says: "and finds the nearest, as text for a model",
            subtype: "VECTOR_DATABASE",
            operation: Operation::GetContext,
            input: json!({"query": "what to do after a timeout?", "format": "list"}),
            shows: &["context", "document_count"],
        },
        Step {
            says: "Working memory keeps values under keys, for as long as you say",
            subtype: "WORKING_MEMORY",
            operation: Operation::Store,
            input: json!({"key": "plan", "value": {"visit": visit, "done": false}, "ttl_seconds": 0}),
            shows: &["version", "expires_at"],
        },
        Step {
            says: "and gives them back exactly",
            subtype: "WORKING_MEMORY",
            operation: Operation::Retrieve,
            input: json!({"key": "plan"}),
            shows: &["value", "version", "updated_at"],
        },
    ]
}

fn show(out: &mut dyn io::Write, number: usize, step: &Step, answer: &Value) -> io::Result<()> {
    writeln!(out, "\n{BOLD}{number}. {}{BOLD:#}", step.says)?;
    writeln!(out, "   {CALL}{} {}{CALL:#} {}", step.subtype, step.operation, step.input)?;
    if answer["success"] != true {
        let error = &answer["error"];
        writeln!(out, "   failed: {}", error["message"])?;
        return writeln!(out, "   hint: {}", error["hint"]);
    }
    for field in step.shows {
        match &answer[field] {
            Value::Null => {}
            Value::String(text) if text.contains('\n') => {
                writeln!(out, "   {DIM}{field}{DIM:#}:")?;
                for line in printable(text).lines() {
                    writeln!(out, "     {line}")?;
                }
            }
            Value::String(text) => writeln!(out, "   {DIM}{field}{DIM:#}: {}", printable(text))?,
            other => writeln!(out, "   {DIM}{field}{DIM:#}: {other}")?,
        }
    }
    Ok(())
}

fn farewell(
    out: &mut dyn io::Write,
    session: &Session,
    store: &str,
    stays: bool,
) -> io::Result<()> {
    writeln!(out, "\n{GOOD}Done.{GOOD:#} The memory lies in {}", printable(store))?;
    writeln!(out, "as user {:?} at node {NODE:?}.", session.user())?;
    // Cargo says so where it runs the command, which then need not be installed.
    let cargo = std::env::var_os("CARGO").is_some();
    let program = if cargo { "cargo run --" } else { "memquill" };
    let here = |command: &str| format!("{program}{} {command}", session.flags());
    let next = if stays {
        vec![
            (here("quickstart"), "again: what is stored is still there"),
            (here(&format!("chat show default --node {NODE}")), "the conversation"),
            (here(&format!("search \"tenant index\" --node {NODE}")), "the documents"),
            (here("ingest README.md"), "documents of your own"),
        ]
    } else {
        writeln!(out, "That is this process: it is gone now.")?;
        vec![(format!("{program} --store sqlite:agent.db quickstart"), "in a file that stays")]
    };
    writeln!(out, "\nTry next:")?;
    let help = (format!("{program} --help"), "everything else");
    for (command, what) in next.into_iter().chain([help]) {
        writeln!(out, "  {CALL}{command}{CALL:#}\n      {what}")?;
    }
    Ok(())
}

/// The store of conversations, as it may be shown.
fn store_of(session: &Session) -> String {
    let bound = session.config.binding(Facet::Conversations);
    let url = bound.and_then(|name| session.config.stores.get(name));
    url.map(ToString::to_string).unwrap_or_default()
}
