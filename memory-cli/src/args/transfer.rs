//! The command line of what moves memory.

use std::path::PathBuf;

use clap::Args;
use memquill::Facet;

use super::Secret;

/// What is moved or compared.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Only these facets, by commas: conversations, vectors, working [default: all]
    #[arg(long, value_name = "FACETS", value_delimiter = ',', value_parser = facet)]
    pub(crate) facets: Vec<Facet>,
    /// Of all users, not of --user alone; takes a right to administer the store
    #[arg(long)]
    pub(crate) all_users: bool,
}

/// Exports.
#[derive(Debug, Args)]
#[command(after_help = "\
The file holds a line of JSON for each item, with a checksum: docs/export-format.md.

Example:
  memquill export --all-users everything.jsonl")]
pub(crate) struct Export {
    /// The file, or - for stdout
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) which: Which,
}

/// Imports an export.
#[derive(Debug, Args)]
#[command(after_help = "\
Items keep their users, nodes, numbers, times, versions and expiry. With --user, only that user's
are taken. Importing a file again changes nothing; repeat an import that was interrupted to
complete it.

An item that is damaged, or that differs from what the store holds, is left out: the command lists
it with its line and ends with exit code 1. With --strict the first such item stops the import, and
a damaged file is refused before anything is written (stdin is not checked first).

Example:
  memquill --store postgres://localhost/agents import everything.jsonl")]
pub(crate) struct ImportExport {
    /// The file, or - for stdin
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
    /// Only these facets, by commas: conversations, vectors, working [default: all]
    #[arg(long, value_name = "FACETS", value_delimiter = ',', value_parser = facet)]
    pub(crate) facets: Vec<Facet>,
    /// Let records and entries take the place of what is there and differs
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Stop at the first item that cannot be taken, instead of leaving it out
    #[arg(long)]
    pub(crate) strict: bool,
}

/// The two sides of a copy or a comparison.
#[derive(Debug, Args)]
pub(crate) struct Sides {
    /// The source: a store, or a configuration
    #[arg(long, value_name = "URL|FILE.yaml")]
    pub(crate) from: Secret,
    /// The target: a store, or a configuration
    #[arg(long, value_name = "URL|FILE.yaml")]
    pub(crate) to: Secret,
    #[command(flatten)]
    pub(crate) which: Which,
}

/// Copies.
#[derive(Debug, Args)]
#[command(after_help = "\
A target that lacks a facet of the source is refused, unless --facets leaves that out. What is there
already and identical stays as it is: repeat a copy that was interrupted to complete it. What is
there and differs is left out and listed, and the exit code is 1, unless --overwrite replaces it;
with --strict it stops the copy. A conversation that differs is never replaced.

Examples:
  memquill copy --from sqlite:agent.db --to postgres://localhost/agents
  memquill copy --from sqlite:agent.db --to qdrant://localhost:6334 --facets vectors --all-users")]
pub(crate) struct Copy {
    #[command(flatten)]
    pub(crate) sides: Sides,
    /// Let records and entries take the place of what is there and differs
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Stop at the first item that cannot be taken, instead of leaving it out
    #[arg(long)]
    pub(crate) strict: bool,
}

/// Compares.
#[derive(Debug, Args)]
#[command(after_help = "\
The exit code is 1 where anything differs.

Example:
  memquill verify --from sqlite:agent.db --to postgres://localhost/agents")]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) sides: Sides,
}

fn facet(text: &str) -> Result<Facet, String> {
    let known = Facet::ALL.into_iter().find(|facet| facet.as_str() == text);
    known.ok_or_else(|| "the facets are conversations, vectors and working".to_owned())
}
