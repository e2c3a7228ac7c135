//! The `memquill` command: memory for LLM agents, from a shell.
//!
//! [`run`] is the whole command, for the drivers of a [`Registry`]. A program that adds a driver of
//! its own has every subcommand:
//!
//! ```no_run
//! # fn driver() -> std::sync::Arc<dyn memquill::driver::Driver> { std::process::exit(0) }
//! fn main() -> std::process::ExitCode {
//!     let mut registry = memquill::driver::Registry::with_compiled_drivers();
//!     registry.register(driver());
//!     memquill_cli::run(registry)
//! }
//! ```
//!
//! Every command opens a session (the stores that the command line names), does its work through
//! the facade, and prints an answer.

mod args;
mod commands;
mod input;
mod opened;
mod output;
mod session;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use memquill::Error;
use memquill::driver::Registry;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use self::args::{Chat, Cli, Command, Eval, Global};
use self::output::Output;
use self::session::Session;

/// How a command can fail.
enum Failure {
    /// The operation failed, for a reason to print.
    Failed(Error),
    /// The operation failed, and the answer that was printed says so.
    Answered,
    /// The command line is wrong.
    Usage(Error),
    /// A signal ended the command; the process ends with this code.
    Interrupted(u8),
    /// The answer could not be printed.
    Output(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

type Done = Result<(), Failure>;

/// Runs the command that the arguments of this process name, on stores that the drivers of
/// `registry` open, and returns the exit code: 0 done, 1 the operation failed, 2 the command line
/// is wrong.
///
/// It installs the process's subscriber of `tracing`, handles SIGINT and SIGTERM, and makes a tokio
/// runtime: call it from a `main` without one. `--help`, `--version` and a command line that cannot
/// be read end the process.
pub fn run(registry: Registry) -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.global.json);
    let done = log(&cli.global).and_then(|()| start(cli, registry, output));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Answered) => ExitCode::FAILURE,
        Err(Failure::Interrupted(code)) => ExitCode::from(code),
        Err(Failure::Failed(error)) => report(output, &error, 1),
        Err(Failure::Usage(error)) => report(output, &error, 2),
        // The reader has had enough, as in `| head`.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(Failure::Output(error)) => {
            report(output, &Error::internal(format!("cannot write the answer: {error}")), 1)
        }
    }
}

/// Prints the error; there is nothing left to do where even that fails.
fn report(output: Output, error: &Error, code: u8) -> ExitCode {
    let _ = output.error(error);
    ExitCode::from(code)
}

/// Logs go to stderr, so that stdout holds answers alone.
fn log(global: &Global) -> Done {
    let filter = EnvFilter::try_new(&global.log).map_err(|error| {
        Failure::Usage(
            Error::config(format!("--log: {error}"))
                .with_hint("name a level: error, warn, info, debug or trace"),
        )
    })?;
    // An operation is logged when it ends, with how long it took.
    let ended = FmtSpan::CLOSE;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(ended)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
    Ok(())
}

fn start(cli: Cli, registry: Registry, output: Output) -> Done {
    if let Command::Completions { shell } = cli.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "memquill", &mut script);
        io::Write::write_all(&mut io::stdout().lock(), &script)?;
        return Ok(());
    }
    let session = Session::new(&cli.global, registry).map_err(Failure::Usage)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.spawn(opened::end_what_blocks(session.opened()));
    let done = runtime.block_on(async {
        let done = tokio::select! {
            done = execute(cli.command, &session, output) => done,
            code = opened::interrupted() => Err(Failure::Interrupted(code)),
        };
        // Also after an error: what was stored before it is then in the file.
        let closed = session.opened().close().await;
        done.and_then(|()| closed.map_err(Failure::from))
    });
    // What still runs in the background was given up with the command.
    runtime.shutdown_background();
    done
}

async fn execute(command: Command, session: &Session, output: Output) -> Done {
    match command {
        Command::Run(args) => commands::run::run(args, session).await,
        Command::Chat(Chat::Import(args)) => commands::import::import(args, session, output).await,
        Command::Chat(Chat::Show(args)) => commands::chat::show(args, session, output).await,
        Command::Chat(Chat::List { limit, by }) => {
            commands::chat::list(limit, by, session, output).await
        }
        Command::Chat(Chat::Truncate { conversation, after }) => {
            commands::chat::truncate(&conversation, after, session, output).await
        }
        Command::Chat(Chat::Pop { conversation, count, if_newest }) => {
            commands::chat::pop(&conversation, count, if_newest, session, output).await
        }
        Command::Chat(Chat::Delete { conversations }) => {
            commands::chat::delete(&conversations, session, output).await
        }
        Command::Search(args) => commands::search::search(args, session, output).await,
        Command::Ingest(args) => commands::ingest::ingest(args, session, output).await,
        Command::Reembed(args) => commands::reembed::reembed(args, session, output).await,
        Command::Eval(Eval::Retrieval(args)) => {
            commands::eval::retrieval(args, session, output).await
        }
        Command::Export(args) => commands::transfer::export(args, session, output).await,
        Command::Import(args) => commands::transfer::import(args, session, output).await,
        Command::Copy(args) => commands::transfer::copy(args, session, output).await,
        Command::Verify(args) => commands::transfer::verify(args, session, output).await,
        Command::Health { deadline } => commands::store::health(deadline, session, output).await,
        Command::Capabilities => commands::capabilities::capabilities(session, output).await,
        Command::Migrate => commands::store::migrate(session, output).await,
        Command::Erase { yes } => commands::store::erase(yes, session, output).await,
        Command::Purge => commands::store::purge(session, output).await,
        Command::Index => commands::store::index(session, output).await,
        Command::Quickstart => commands::quickstart::quickstart(session, output).await,
        Command::Completions { .. } => Ok(()),
    }
}
