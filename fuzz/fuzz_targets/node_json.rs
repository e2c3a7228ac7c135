//! Any text is a node or an error, and whatever node it is can be executed on any input.
#![no_main]

use std::sync::LazyLock;

use memquill::nodes::{ExecutionContext, Node};
use memquill::{Memory, json};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().expect("a runtime")
    });

// The text before the first line break is the node, the rest its input.
fuzz_target!(|text: &str| {
    let (node, input) = text.split_once('\n').unwrap_or((text, "{}"));
    let Ok(node) = node.parse::<Node>() else { return };
    let Ok(input) = json::parse::<Value>(input) else { return };
    let answer = RUNTIME.block_on(async {
        let memory = Memory::builder().store("main", "memory:").expect("a URL");
        let memory = memory.build().await.expect("a memory");
        memory.execute(&node, &ExecutionContext::for_user("fuzz"), &input).await
    });
    assert!(answer["success"].is_boolean());
});
