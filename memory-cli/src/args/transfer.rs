//! The arguments of the commands that move memory.

use std::path::PathBuf;

use clap::Args;
use memquill::Facet;

use super::Secret;

/// The facets and users to move or compare.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Facets to include, comma-separated: conversations, vectors, working [default: all]
    #[arg(long, value_name = "FACETS", value_delimiter = ',', value_parser = facet)]
    pub(crate) facets: Vec<Facet>,
    /// Include all users, not only --user; needs the right to administer the store
    #[arg(long)]
    pub(crate) all_users: bool,
}

/// Exports.
#[derive(Debug, Args)]
#[command(after_help = "\
The file holds one line of JSON per item, with a checksum; docs/export-format.md describes it.

Example:
  memquill export --all-users everything.jsonl")]
pub(crate) struct Export {
    /// The file, or - for stdout
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) selection: Selection,
}

/// Imports an export.
#[derive(Debug, Args)]
#[command(after_help = "\
Items keep their users, nodes, numbers, times, versions and expiry. With --user, only the items of
that user are imported. Importing a file again changes nothing; repeat an interrupted import to
complete it.

An item that is damaged, or that differs from the one in the store, is skipped: the command lists it
with its line and ends with exit code 1. With --strict the first such item stops the import, and a
damaged file is refused before anything is written (stdin is not checked first).

Example:
  memquill --store postgres://localhost/agents import everything.jsonl")]
pub(crate) struct ImportExport {
    /// The file, or - for stdin
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
    /// Facets to include, comma-separated: conversations, vectors, working [default: all]
    #[arg(long, value_name = "FACETS", value_delimiter = ',', value_parser = facet)]
    pub(crate) facets: Vec<Facet>,
    /// Overwrite records and entries of the target that differ
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Stop at the first item that cannot be stored, instead of skipping it
    #[arg(long)]
    pub(crate) strict: bool,
}

/// The source and the target of a copy or a comparison.
#[derive(Debug, Args)]
pub(crate) struct Endpoints {
    /// Source: the URL of a store, or a configuration file
    #[arg(long, value_name = "URL|FILE.yaml")]
    pub(crate) from: Secret,
    /// Target: the URL of a store, or a configuration file
    #[arg(long, value_name = "URL|FILE.yaml")]
    pub(crate) to: Secret,
    #[command(flatten)]
    pub(crate) selection: Selection,
}

/// Copies.
#[derive(Debug, Args)]
#[command(after_help = "\
A target that lacks a facet of the source is refused, unless --facets excludes that facet. Identical
items of the target stay as they are: repeat an interrupted copy to complete it. Items of the target
that differ are listed and not copied, and the exit code is 1; --overwrite replaces them, and
--strict stops the copy at the first. A conversation that differs is never replaced.

Examples:
  memquill copy --from sqlite:agent.db --to postgres://localhost/agents
  memquill copy --from sqlite:agent.db --to qdrant://localhost:6334 --facets vectors --all-users")]
pub(crate) struct Copy {
    #[command(flatten)]
    pub(crate) endpoints: Endpoints,
    /// Overwrite records and entries of the target that differ
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Stop at the first item that cannot be stored, instead of skipping it
    #[arg(long)]
    pub(crate) strict: bool,
}

/// Compares.
#[derive(Debug, Args)]
#[command(after_help = "\
The exit code is 1 if anything differs.

Example:
  memquill verify --from sqlite:agent.db --to postgres://localhost/agents")]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) endpoints: Endpoints,
}

fn facet(text: &str) -> Result<Facet, String> {
    let known = Facet::ALL.into_iter().find(|facet| facet.as_str() == text);
    known.ok_or_else(|| "the facets are conversations, vectors and working".to_owned())
}
