//! The stores that tests run on, and how each is had here.

use std::env;

use anyhow::{Result, bail};
use xshell::{Shell, cmd};

use crate::{images, models};

/// A store that the conformance suite runs on.
pub(crate) struct Store {
    /// The driver's name, and the first part of its tests' names.
    pub(crate) name: &'static str,
    source: Source,
}

/// Where a store comes from.
enum Source {
    /// It needs nothing.
    Embedded(&'static str),
    /// A server: the one that an environment variable names; else one in a container; else one
    /// that the tests start from a program of this machine, where there is such.
    Server { variable: &'static str, program: Option<&'static str> },
    /// Embedded, and over the wire: the server that an environment variable names, else one in a
    /// container of this image, else a fixture that the tests bring along.
    Wire { variable: &'static str, image: &'static str },
}

/// Every store that this project has a driver for.
pub(crate) const STORES: [Store; 5] = [
    Store { name: "inmemory", source: Source::Embedded("in the test's own process") },
    Store { name: "sqlite", source: Source::Embedded("files in a temporary folder") },
    Store {
        name: "postgres",
        source: Source::Server { variable: "MEMQUILL_TEST_POSTGRES_URL", program: None },
    },
    Store {
        name: "redis",
        source: Source::Server {
            variable: "MEMQUILL_TEST_REDIS_URL",
            program: Some("redis-server"),
        },
    },
    Store {
        name: "qdrant",
        source: Source::Wire {
            variable: "MEMQUILL_TEST_QDRANT_URL",
            image: "qdrant/qdrant:v1.18.3",
        },
    },
];

impl Store {
    /// How the tests will get it; an error says why they cannot, and what would help.
    pub(crate) fn how(&self, sh: &Shell) -> Result<String, String> {
        match &self.source {
            Source::Embedded(how) => Ok((*how).into()),
            Source::Wire { variable, .. } if env::var_os(variable).is_some() => {
                Ok(format!("the server of {variable}, and the test's own process"))
            }
            Source::Wire { image, .. } => Ok(format!(
                "the test's own process, and {image} or, where that cannot be had, a fixture"
            )),
            Source::Server { variable, program } => {
                if env::var_os(variable).is_some() {
                    return Ok(format!("the server of {variable}"));
                }
                if images::is_there(sh) {
                    return Ok(format!("a container of {}", images::IMAGE));
                }
                match program {
                    Some(program) if has(sh, program) => Ok(format!("{program} of this machine")),
                    _ => Err(format!("not to be had: needs Docker, or {variable}")),
                }
            }
        }
    }
}

/// What `MEMQUILL_REQUIRE` calls the model that embedders are tried with.
const MODEL: &str = "fastembed";

/// Builds the image of the servers and fetches the model where they are needed and can be had, and
/// fails where `MEMQUILL_REQUIRE` names one that cannot.
pub(crate) fn set_up(sh: &Shell) -> Result<()> {
    let required = env::var("MEMQUILL_REQUIRE").unwrap_or_default();
    let required: Vec<&str> =
        required.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    for name in &required {
        if *name != MODEL && !STORES.iter().any(|store| store.name == *name) {
            let known: Vec<_> = STORES.iter().map(|store| store.name).collect();
            bail!("MEMQUILL_REQUIRE names {name:?}; there are {}, {MODEL}", known.join(", "));
        }
    }
    let missing = STORES.iter().any(|store| {
        matches!(store.source, Source::Server { variable, .. } if env::var_os(variable).is_none())
    });
    if missing && !images::is_there(sh) && docker_runs(sh) {
        println!("Building {}, which holds the servers; this takes some minutes.", images::IMAGE);
        if let Err(error) = images::run(sh) {
            println!("That failed: {error:#}");
        }
    }
    if let Err(error) = models::run(sh, None) {
        if required.contains(&MODEL) {
            return Err(error.context("MEMQUILL_REQUIRE names fastembed, which needs a model"));
        }
        println!("No model to try embedders with: {error:#}");
    }
    println!("Stores:");
    for store in &STORES {
        let how = store.how(sh);
        println!("  {:<10} {}", store.name, how.as_ref().unwrap_or_else(|why| why));
        if let (Err(why), true) = (&how, required.contains(&store.name)) {
            bail!("MEMQUILL_REQUIRE names {}, which is {why}", store.name);
        }
    }
    Ok(())
}

fn docker_runs(sh: &Shell) -> bool {
    cmd!(sh, "docker info").quiet().ignore_stdout().ignore_stderr().run().is_ok()
}

fn has(sh: &Shell, program: &str) -> bool {
    cmd!(sh, "{program} --version").quiet().ignore_stdout().ignore_stderr().run().is_ok()
}
