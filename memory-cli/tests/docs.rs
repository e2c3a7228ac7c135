//! Every code block of the README and the documents is compiled or run.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use memquill::config::Config;
use memquill::json;
use memquill::nodes::Node;

/// A fenced block of a document.
struct Block {
    file: String,
    line: usize,
    language: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn documents() -> Vec<String> {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let docs = docs.map(|entry| format!("docs/{}", entry.unwrap().file_name().display()));
    let mut all: Vec<_> =
        docs.filter(|name| Path::new(name).extension().is_some_and(|end| end == "md")).collect();
    all.extend(["README.md", "ARCHITECTURE.md"].map(String::from));
    all
}

fn blocks(language: &str) -> Vec<Block> {
    documents().iter().flat_map(|file| read(file)).filter(|b| b.language == language).collect()
}

fn read(file: &str) -> Vec<Block> {
    let text = fs::read_to_string(root().join(file)).unwrap();
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (line, text) in (1..).zip(text.lines()) {
        match (&mut open, text.strip_prefix("```")) {
            (Some(block), None) => block.text.extend([text, "\n"]),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(language)) => {
                let (file, language) = (file.to_owned(), language.to_owned());
                open = Some(Block { file, line, language, text: String::new() });
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{file}: a block is not closed");
    blocks
}

#[test]
fn every_block_is_of_a_language_that_is_checked() {
    // `text` is no code: pictures and output. SQL is run by the Postgres driver's tests.
    // Files of the driver guide are compiled by `cargo xtask stranger`, outside of the workspace.
    let known = ["rust", "rust,ignore", "toml", "yaml", "json", "console", "sql", "text"];
    for Block { file, line, language, .. } in documents().iter().flat_map(|file| read(file)) {
        assert!(known.contains(&language.as_str()), "{file}:{line}: {language:?} is not checked");
    }
}

#[test]
fn rust_blocks_are_doctests() {
    let sources = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    for Block { file, line, .. } in blocks("rust") {
        let included = sources.contains(&format!("/{file}\")]"));
        assert!(included, "{file}:{line}: no crate includes {file} as a doctest");
    }
}

#[test]
fn toml_blocks_are_read() {
    for Block { file, line, text, .. } in blocks("toml") {
        text.parse::<toml::Table>().unwrap_or_else(|error| panic!("{file}:{line}: {error}"));
    }
}

#[test]
fn yaml_blocks_are_configurations() {
    for Block { file, line, text, .. } in blocks("yaml") {
        let env = |_: &str| Some("value".to_owned());
        match Config::from_text(&file, &text, &env) {
            // What is not compiled in can be written about.
            Err(error) if error.message().ends_with("is not compiled in") => {}
            Err(error) => panic!("{file}:{line}: {error}"),
            Ok(_) => {}
        }
    }
}

#[test]
fn json_blocks_are_nodes_or_plain_json() {
    for Block { file, line, text, .. } in blocks("json") {
        let value = json::parse(&text).unwrap_or_else(|error| panic!("{file}:{line}: {error}"));
        let value: serde_json::Value = value;
        if value.get("type").is_some() {
            Node::from_json(&value).unwrap_or_else(|error| panic!("{file}:{line}: {error}"));
        }
    }
}

#[test]
fn commands_run() {
    let mut by_file: BTreeMap<String, Vec<Block>> = BTreeMap::new();
    for block in blocks("console") {
        by_file.entry(block.file.clone()).or_default().push(block);
    }
    for (file, blocks) in by_file {
        let place = tempfile::tempdir().unwrap();
        furnish(place.path(), &file);
        for Block { line, text, .. } in blocks {
            for command in text.lines().filter_map(|line| line.strip_prefix("$ ")) {
                run(place.path(), command).unwrap_or_else(|why| {
                    panic!("{file}:{line}: `{command}` fails: {why}");
                });
            }
        }
    }
}

/// What the commands of the documents find in the folder where they run.
fn furnish(place: &Path, file: &str) {
    let node = read(file).into_iter().find(|block| block.language == "json");
    if let Some(node) = node {
        fs::write(place.join("node.json"), node.text).unwrap();
    }
    fs::write(place.join("input.json"), r#"{"message": "Hello"}"#).unwrap();
    let transcript =
        r#"{"conversation_id": "ID", "messages": [{"role": "user", "content": "Hello"}]}"#;
    fs::write(place.join("transcripts.jsonl"), transcript).unwrap();
    let questions = r#"{"data": [{"paragraphs": [
        {"context": "A session lasts 20 minutes.", "qas": [{"question": "How long?"}]}]}]}"#;
    fs::write(place.join("questions.json"), questions).unwrap();
    fs::create_dir(place.join("docs")).unwrap();
    fs::write(place.join("docs/session.md"), "# Sessions\n\nA session lasts 20 minutes.\n")
        .unwrap();
    fs::create_dir(place.join("bin")).unwrap();
    let binary = env!("CARGO_BIN_EXE_memquill");
    std::os::unix::fs::symlink(binary, place.join("bin/memquill")).unwrap();
}

fn run(place: &Path, command: &str) -> Result<(), String> {
    // `cargo run` is this very binary. The chores of `cargo xtask` would run this test again, so
    // only their being there is checked.
    let command = match command.strip_prefix("cargo run -- ") {
        Some(arguments) => format!("memquill {arguments}"),
        None => command.to_owned(),
    };
    let mut shell = Command::new("sh");
    if command.starts_with("cargo xtask ") {
        shell.args(["-c", &format!("{command} --help")]).current_dir(root());
    } else if command.starts_with("memquill ") {
        let path = format!("{}/bin:{}", place.display(), std::env::var("PATH").unwrap());
        shell.args(["-c", &command]).current_dir(place).env("PATH", path);
        shell.env("HOME", place).env("XDG_DATA_HOME", place.join("data"));
        shell.env_remove("MEMQUILL_STORE").env_remove("MEMQUILL_USER");
    } else {
        return Err("this test knows no such command".into());
    }
    let output = shell.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let (out, err) = (output.stdout, output.stderr);
    Err([out, err].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat())
}
