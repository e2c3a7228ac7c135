//! The command line.
#![expect(clippy::doc_markdown, reason = "the comments are the help that people read")]

mod transfer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use memquill::Filter;
use memquill::text::Language;
use memquill::transfer::transcript::Form;

use crate::input::text::read_text;

const EXAMPLES: &str = "\
Examples:
  memquill quickstart
  memquill chat import transcripts.jsonl
  memquill chat show dlg-42 --max-tokens 2000
  memquill ingest docs/ && memquill search \"how do I migrate?\"
  memquill run node.json --user ada --input - <<< '{\"operation\": \"get_statistics\"}'
  memquill --store postgres://localhost/agents health

Answers go to stdout: tables at a terminal, JSON with --json or in a pipe. Logs go to stderr.
Exit codes: 0 success, 1 the operation failed, 2 the command line is wrong.";

/// Memory for LLM agents, in the store of your choice.
#[derive(Debug, Parser)]
#[command(name = "memquill", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Configuration file in YAML or JSON: stores, facets, embedder, nodes
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub(crate) config: Option<PathBuf>,
    /// URL of the store for all facets. Set MEMQUILL_STORE instead to keep a password off the
    /// command line [default: the Postgres of DATABASE_URL or SUPABASE_DB_URL if its driver is
    /// compiled in, else a file in your data directory]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        conflicts_with = "config",
        help_heading = "Global options"
    )]
    pub(crate) store: Option<Secret>,
    /// Embedder: hashing, fastembed:MODEL (a model's name or folder) or openai:MODEL (set
    /// OPENAI_API_KEY, and OPENAI_BASE_URL for another service) [default: the configuration's;
    /// without a configuration MEMQUILL_EMBEDDER; else hashing, which matches wording rather than
    /// meaning]
    #[arg(long, global = true, value_name = "EMBEDDER", help_heading = "Global options")]
    pub(crate) embedder: Option<String>,
    /// User whose memory to work on [default: local; `run` and `erase` have no default]
    #[arg(
        long,
        global = true,
        value_name = "ID",
        env = "MEMQUILL_USER",
        help_heading = "Global options"
    )]
    pub(crate) user: Option<String>,
    /// Id of the memory node [default: the one that nodes without an id share]
    #[arg(long, global = true, value_name = "ID", help_heading = "Global options")]
    pub(crate) node: Option<String>,
    /// Log level (error, warn, info, debug or trace), or a filter such as memquill=debug
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        // Edge warns of flags that only its own server sets.
        default_value = "warn,qdrant_edge=error",
        env = "MEMQUILL_LOG",
        help_heading = "Global options"
    )]
    pub(crate) log: String,
    /// Print JSON even at a terminal
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
}

/// A text of the command line that may hold a password: it is never printed.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) String);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Execute a memory node and print its answer
    Run(Run),
    /// Import, show and list conversations
    #[command(
        after_help = "Examples:\n  memquill chat import transcripts.jsonl\n  memquill chat list\n  memquill chat show dlg-42"
    )]
    #[command(subcommand)]
    Chat(Chat),
    /// Search passages by meaning and by words
    Search(Search),
    /// Split text, Markdown, HTML, CSV and JSON documents into passages and store them for `search`
    Ingest(Ingest),
    /// Embed a namespace again with another embedder; it stays readable meanwhile
    Reembed(Reembed),
    /// Measure the quality of retrieval with questions and passages
    #[command(after_help = "Example:\n  memquill --store memory: eval retrieval questions.json")]
    #[command(subcommand)]
    Eval(Eval),
    /// Export memory to a file that any store can import
    Export(Export),
    /// Import a file that `export` wrote
    Import(ImportExport),
    /// Copy memory from one store to another
    Copy(Copy),
    /// Compare the contents of two stores exactly
    Verify(Verify),
    /// Check that every store is reachable and ready
    #[command(
        after_help = "Example:\n  memquill --store postgres://localhost/agents health --deadline 2"
    )]
    Health {
        /// Seconds to wait for the answer of a store
        #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
        deadline: u64,
    },
    /// Show the capabilities of the stores
    #[command(after_help = "Example:\n  memquill --store sqlite:agent.db capabilities")]
    Capabilities,
    /// Migrate every store to the schema of this version
    #[command(after_help = "Example:\n  memquill --store postgres://localhost/agents migrate")]
    Migrate,
    /// Erase all memory of --user in every store
    #[command(after_help = "Example:\n  memquill erase --user ada")]
    Erase {
        /// Erase without asking for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Delete the expired records and entries of all users
    #[command(after_help = "Example:\n  memquill --store sqlite:agent.db purge")]
    Purge,
    /// Build the search indexes that large namespaces need
    ///
    /// Reads and writes continue meanwhile. Run it regularly: it does nothing if no index is missing.
    #[command(after_help = "Example:\n  memquill --store qdrant://localhost:6334 index")]
    Index,
    /// Try every kind of memory in a short demonstration
    #[command(after_help = "Example:\n  memquill --store memory: quickstart")]
    Quickstart,
    /// Print the completion script for a shell
    #[command(
        after_help = "Example:\n  memquill completions bash > ~/.local/share/bash-completion/completions/memquill"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Executes a node.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cat > node.json <<'END'
  {\"type\": \"MEMORY\", \"subtype\": \"WORKING_MEMORY\", \"configurations\": {\"operation\": \"store\"}}
  END
  memquill run node.json --user ada --input - <<< '{\"key\": \"plan\", \"value\": {\"step\": 1}}'

The exit code is 1 if the answer says \"success\": false.")]
pub(crate) struct Run {
    /// JSON file of the node, or the name of a node in the configuration
    #[arg(value_name = "NODE.json")]
    pub(crate) node_file: PathBuf,
    /// JSON file of the input, or - for stdin [default: {}]
    #[arg(long, value_name = "FILE|-")]
    pub(crate) input: Option<PathBuf>,
}

pub(crate) use self::transfer::{Copy, Endpoints, Export, ImportExport, Selection, Verify};

/// Conversations.
#[derive(Debug, Subcommand)]
pub(crate) enum Chat {
    /// Import transcripts: chat logs, dumps of APIs, exports of ChatGPT and Claude, sessions
    ///
    /// Importing a file again changes nothing; importing one that has grown adds what is new.
    Import(Import),
    /// Print a conversation, or a window of it
    Show(Show),
    /// List conversations, those with the newest messages first
    #[command(after_help = "Example:\n  memquill --user ada chat list --limit 20")]
    List {
        /// The most conversations to list
        #[arg(long, value_name = "N", value_parser = at_least_one)]
        limit: Option<usize>,
        /// Their order
        #[arg(long, value_enum, default_value_t)]
        by: ListOrder,
    },
    /// Remove all messages behind a number
    ///
    /// The numbers are not given again, and a repeated append of what was removed does not bring it
    /// back.
    #[command(after_help = "Example:\n  memquill --user ada chat truncate chat-1 --after 12")]
    Truncate {
        /// The conversation
        #[arg(value_name = "ID")]
        conversation: String,
        /// The number of the last message that stays; 0 for none
        #[arg(long, value_name = "SEQ")]
        after: u64,
    },
    /// Remove the newest messages and print them
    #[command(after_help = "Example:\n  memquill --user ada chat pop chat-1 --count 2")]
    Pop {
        /// The conversation
        #[arg(value_name = "ID")]
        conversation: String,
        /// How many messages, at most 1000
        #[arg(long, value_name = "N", default_value_t = 1)]
        count: usize,
        /// Remove them only if the newest message has this number
        #[arg(long, value_name = "SEQ")]
        if_newest: Option<u64>,
    },
    /// Delete conversations as a whole
    ///
    /// A deleted conversation is gone with its numbering; deleting it again does nothing.
    #[command(after_help = "Example:\n  memquill --user ada chat delete chat-1 chat-2")]
    Delete {
        /// The conversations
        #[arg(value_name = "ID", required = true)]
        conversations: Vec<String>,
    },
}

/// The order of a listing of conversations.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum ListOrder {
    /// The newest message first
    #[default]
    Activity,
    /// By id, in the order of its bytes
    Name,
}

/// Imports conversations.
#[derive(Debug, Args)]
#[command(after_help = "\
The forms, detected by themselves: {\"conversation_id\": \"…\", \"messages\": […]} and messages in the
common chat form; requests and answers of OpenAI's and Anthropic's APIs, fine-tuning files; dumps of
LangChain; ShareGPT; conversations.json of ChatGPT's and Claude's account exports; sessions of Claude
Code. The objects may stand one on a line, pretty-printed, or in a list. A conversation without an
id gets one made from its messages, or, where its messages stand alone, the file's name.

A conversation that cannot be imported is left out: the command lists it with its line and ends with
exit code 1. With --strict the first one stops the import.

With --index a turn of a user or an assistant is also a record to be found by `search`, with the
metadata \"conversation_id\", \"seq\", \"turn\", \"role\" and \"date\": the \"date\" of its
conversation, else the time of the message, else the time when it was stored.

Examples:
  memquill chat import conversations.json
  memquill chat import transcripts.jsonl --index
  memquill search \"a table for four\" --namespace turns --group-by conversation_id")]
pub(crate) struct Import {
    /// The files, or - for stdin
    #[arg(value_name = "FILE|-", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The form that everything in them has [default: detected]
    #[arg(long, value_name = "FORM", value_parser = form())]
    pub(crate) from: Option<Form>,
    /// Stop at the first conversation that cannot be imported, instead of leaving it out
    #[arg(long)]
    pub(crate) strict: bool,
    /// Also make every turn searchable
    #[arg(long)]
    pub(crate) index: bool,
    /// Where to store the turns
    #[arg(long, default_value = "turns", requires = "index")]
    pub(crate) namespace: String,
    /// Embed a turn together with this many turns before and after it
    #[arg(long, value_name = "N", default_value = "1", value_parser = few, requires = "index")]
    pub(crate) embed_with: usize,
    /// The language of the turns, an ISO 639-1 code, for word stems and stop words
    #[arg(long, value_name = "CODE", value_parser = language, requires = "index")]
    pub(crate) language: Option<Language>,
}

/// Shows a conversation.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  memquill chat show dlg-42 --max-tokens 2000
  memquill chat show dlg-42 --format json > dlg-42.jsonl
  memquill chat show dlg-42 --format anthropic --max-tokens 8000 > messages.json")]
pub(crate) struct Show {
    /// The conversation
    #[arg(value_name = "ID")]
    pub(crate) conversation: String,
    /// How to print it [default: conversation at a terminal, else json, which can be imported]
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// The most tokens: a window that a model can be given. It never starts between a tool call and
    /// its results
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_tokens: Option<u32>,
    /// Only the newest messages, at most this many
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) limit: Option<usize>,
    /// Print the ids that `chat import` gave to messages without one, too
    #[arg(long)]
    pub(crate) with_ids: bool,
}

/// How a conversation is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The common chat form, as `chat import` reads it
    Json,
    /// The messages as OpenAI's Chat Completions API takes them
    Openai,
    /// Instructions and messages as Anthropic's Messages API takes them
    Anthropic,
    /// A line for each message
    Conversation,
    /// One line
    Compact,
    /// Counts and the last exchange
    Summary,
}

/// Searches.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  memquill search \"retry after a timeout\" --limit 3 \\
    --filter '{\"metadata.source\": {\"contains\": \"operations\"}}'")]
pub(crate) struct Search {
    /// Text to search for
    pub(crate) text: String,
    /// Namespace to search
    #[arg(long, default_value = "default")]
    pub(crate) namespace: String,
    /// Maximum number of hits
    #[arg(long, value_name = "N", default_value = "10", value_parser = at_least_one)]
    pub(crate) limit: usize,
    /// Only hits of at least this cosine similarity, from -1 to 1
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) min_similarity: Option<f32>,
    /// Only records that match, as in {"metadata.year": {"gte": 2024}}, or @FILE to read it from one
    #[arg(long, value_name = "JSON|@FILE", value_parser = filter)]
    pub(crate) filter: Option<Filter>,
    /// Search by meaning and words, by meaning only, or by words only
    #[arg(long = "search", value_enum, default_value = "hybrid")]
    pub(crate) mode: Mode,
    /// The language of the text, an ISO 639-1 code, for word stems and stop words; as when it was
    /// ingested
    #[arg(long, value_name = "CODE", value_parser = language)]
    pub(crate) language: Option<Language>,
    /// Also show this many passages before and after each hit
    #[arg(long, value_name = "N", default_value = "0", value_parser = few)]
    pub(crate) neighbours: usize,
    /// Penalty of a hit for its similarity to better hits, from 0 (none) to 1
    #[arg(long, value_name = "X", default_value = "0")]
    pub(crate) diversity: f64,
    /// Age at which the score of a record is halved, as in 30d, 12h, 15m or 90s
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) recency_half_life: Option<Duration>,
    /// Group hits by this key of their metadata, best group first; --limit then counts groups, out
    /// of the best 10,000 hits
    #[arg(long, value_name = "KEY")]
    pub(crate) group_by: Option<String>,
}

fn form() -> impl TypedValueParser<Value = Form> {
    PossibleValuesParser::new(Form::ALL.map(Form::as_str)).try_map(|name| name.parse::<Form>())
}

/// How a search ranks records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// By meaning and words, with fused scores
    Hybrid,
    /// By the similarity of embeddings
    Vector,
    /// By words
    Text,
}

impl Mode {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Hybrid => "hybrid",
            Self::Vector => "vector",
            Self::Text => "text",
        }
    }
}

/// Ingests.
#[derive(Debug, Args)]
#[command(after_help = "\
A passage is one record, identified by its file and content, with the metadata \"source\" (the
file), \"passage\" (its number), \"offset\" (in bytes of the text), \"headings\" (those above it,
in Markdown and HTML), \"title\" (of an HTML page) and \"ingested_in\" (the folders that this
command was run in, where the file's name begins). Headings and title are embedded with the passage.

Ingesting a file again updates the passages that changed and removes those that are gone; ingesting a
folder again also removes the passages of deleted files. Passages of other folders stay.

HTML is read as text. If a table, CSV or TSV is split, each passage has its header. JSONL holds one
document per line: {\"content\": \"…\", \"id\": \"…\", \"document_type\": \"…\", \"metadata\": {…}},
where only the content is required; documents are not split. A .json file that you name holds such
documents, or paragraphs in the form of SQuAD. PDF, DOCX and other formats are refused, with the
command that converts them.

A file, line or document that cannot be ingested is skipped: the command lists it with its place and
ends with exit code 1. With --strict the first one stops the command.

Examples:
  memquill ingest docs/ README.md
  memquill ingest faq.jsonl --namespace faq --language en")]
pub(crate) struct Ingest {
    /// A file, or a folder of .txt, .md, .html, .csv, .tsv and .jsonl files
    #[arg(value_name = "FILE|DIR", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Namespace to store the passages in
    #[arg(long, default_value = "default")]
    pub(crate) namespace: String,
    /// Maximum number of characters in a passage, from 50 to 100000
    #[arg(long, value_name = "N", default_value = "1000", value_parser = passage_size)]
    pub(crate) passage: usize,
    /// The language of the text, an ISO 639-1 code, for word stems and stop words
    #[arg(long, value_name = "CODE", value_parser = language)]
    pub(crate) language: Option<Language>,
    /// Stop at the first file, line or document that cannot be ingested, instead of skipping it
    #[arg(long)]
    pub(crate) strict: bool,
    /// Embed a passage together with this many passages before and after it
    #[arg(long, value_name = "N", default_value = "0", value_parser = few)]
    pub(crate) embed_with: usize,
}

/// Embeds with another embedder.
#[derive(Debug, Args)]
#[command(after_help = "\
Every record is embedded again into a second namespace, which replaces the first in one step at the
end. Until then the namespace answers as before; afterwards it accepts only the new embedder. Repeat
an interrupted run to continue where it stopped.

Example:
  memquill reembed --namespace default --embedder fastembed:all-MiniLM-L6-v2")]
pub(crate) struct Reembed {
    /// Namespace to embed again
    #[arg(long)]
    pub(crate) namespace: String,
}

/// Measurements.
#[derive(Debug, Subcommand)]
pub(crate) enum Eval {
    /// Measure search by meaning, by words and by both: recall@1, @5, @10, MRR@10 and nDCG@10
    Retrieval(Retrieval),
}

/// Measures retrieval.
#[derive(Debug, Args)]
#[command(after_help = "\
The file has the format of SQuAD 1.1 and XQuAD: paragraphs with the questions that each answers. The
command stores the paragraphs in a namespace of its own and removes it at the end.

Example:
  memquill --store memory: eval retrieval xquad.en.json --language en --plot recall.svg")]
pub(crate) struct Retrieval {
    /// File with questions and passages
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The language of both, an ISO 639-1 code, for word stems and stop words
    #[arg(long, value_name = "CODE", value_parser = language)]
    pub(crate) language: Option<Language>,
    /// Also measure this embedder; may be given several times
    #[arg(long, value_name = "EMBEDDER")]
    pub(crate) compare: Vec<String>,
    /// Plot the results to this file
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) plot: Option<PathBuf>,
}

fn few(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 0..=100) => Ok(number),
        _ => Err("expected a whole number from 0 to 100".to_owned()),
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time, as in 30d, 12h, 15m or 90s".to_owned();
    let (number, unit) = text.split_at(text.len() - text.chars().last().map_or(0, char::len_utf8));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a whole number from 1".to_owned()),
        Ok(number) => Ok(number),
    }
}

fn passage_size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(size @ 50..=100_000) => Ok(size),
        _ => Err("expected a whole number from 50 to 100000".to_owned()),
    }
}

fn filter(text: &str) -> Result<Filter, String> {
    let text = match text.strip_prefix('@') {
        Some(file) => read_text(Path::new(file)).map_err(|error| said(&error))?,
        None => text.to_owned(),
    };
    let value = memquill::json::parse(&text).map_err(|error| said(&error))?;
    Filter::from_json(&value).map_err(|error| said(&error))
}

fn language(code: &str) -> Result<Language, String> {
    Language::from_code(code).ok_or_else(|| {
        let codes: Vec<_> = Language::ALL.iter().map(|(_, code)| *code).collect();
        format!("expected one of {}; leave it out for other languages", codes.join(", "))
    })
}

/// Message and hint, without the code: what clap prints behind the argument's name.
fn said(error: &memquill::Error) -> String {
    match error.hint() {
        Some(hint) => format!("{} ({hint})", error.message()),
        None => error.message().to_owned(),
    }
}
