//! `export`, `import`, `copy` and `verify`: memory moves between stores.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use memquill::config::Config;
use memquill::transfer::items::{Item, Items};
use memquill::transfer::{
    self, CopyOptions, Counts, Endpoint, Import, Moved, UserSelection, Verification,
};
use memquill::{Error, Facet, Memory, Result, json};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::import::forms;
use super::progress;
use crate::args::{Copy, Endpoints, Export, ImportExport, Secret, Selection, Verify};
use crate::input::{self, text};
use crate::output::{BOLD, GOOD, Output, failure_of, printable, rounded, table, write_left_out};
use crate::session::{Session, configuration, existing};
use crate::{Done, Failure};

/// The stores of a source or target, and how to administer them.
struct OpenStores<'a> {
    session: &'a Session,
    config: Config,
    memory: Memory,
}

impl<'a> OpenStores<'a> {
    /// The stores that the command line names for every command, which must exist: they are read.
    async fn of_session(session: &'a Session) -> Result<Self> {
        let memory = session.existing_memory().await?;
        Ok(Self { session, config: existing(&session.config), memory })
    }

    /// The store of a URL, or the stores of a configuration. `source` is to be read, and must exist.
    async fn named(session: &'a Session, Secret(name): &Secret, source: bool) -> Result<Self> {
        let file = Path::new(name);
        let is_file = file.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
        let config = if is_file { configuration(file)? } else { Config::of_store(name.parse()?) };
        let config = if source { existing(&config) } else { config };
        let memory = session.memory_of(&config).await?;
        Ok(Self { session, config, memory })
    }

    fn endpoint(&self, facets: &[Facet]) -> Result<Endpoint> {
        let endpoint = self.memory.endpoint();
        if facets.is_empty() {
            Ok(endpoint)
        } else {
            endpoint.only(&facets.iter().copied().collect())
        }
    }

    async fn whose(&self, all_users: bool, side: &Endpoint) -> Result<UserSelection> {
        if !all_users {
            return Ok(UserSelection::User(self.session.user().to_owned()));
        }
        let mut admins = BTreeMap::new();
        for facet in side.facets() {
            let store = self.memory.store_of(facet).and_then(|name| self.config.stores.get(name));
            if let Some(url) = store {
                admins.insert(facet, self.session.admin(url).await?);
            }
        }
        Ok(UserSelection::All(admins))
    }

    /// How the stores are named to people.
    fn shown(&self) -> String {
        let urls: BTreeSet<String> = self.config.stores.values().map(ToString::to_string).collect();
        urls.into_iter().collect::<Vec<_>>().join(", ")
    }
}

/// Refuses `--all-users` beside a user, and a node.
fn check(selection: &Selection, session: &Session) -> Done {
    session.of_all_nodes()?;
    match session.named_user() {
        Some(user) if selection.all_users => Err(Failure::Usage(
            Error::invalid_input(format!("both --all-users and the user {user:?} are given"))
                .with_hint("leave one out, or unset MEMQUILL_USER"),
        )),
        _ => Ok(()),
    }
}

fn of_whom(selection: &Selection, session: &Session) -> String {
    if selection.all_users { "all users".into() } else { format!("the user {}", session.user()) }
}

/// Runs `work` with a bar that counts items up to what `side` holds.
async fn with_bar<T>(
    side: &Endpoint,
    whose: &UserSelection,
    work: impl AsyncFnOnce(&(dyn Fn(u64) + Send + Sync)) -> Result<T>,
) -> Result<T> {
    let bar = progress(transfer::count(side, whose).await?.total(), "items");
    let result = work(&|items| bar.inc(items)).await;
    bar.finish_and_clear();
    result
}

pub(crate) async fn export(args: Export, session: &Session, output: Output) -> Done {
    check(&args.selection, session)?;
    let begun = Instant::now();
    let place = OpenStores::of_session(session).await?;
    let side = place.endpoint(&args.selection.facets)?;
    let whose = place.whose(args.selection.all_users, &side).await?;
    if args.file.as_os_str() == "-" {
        // Stdout holds the export alone.
        let mut out = BufWriter::new(io::stdout());
        with_bar(&side, &whose, async |progress| {
            transfer::export(&side, &whose, &mut out, progress).await
        })
        .await?;
        return Ok(());
    }
    let mut out = beside(&args.file)?;
    let counts = with_bar(&side, &whose, async |progress| {
        let mut buffered = BufWriter::new(out.as_file_mut());
        transfer::export(&side, &whose, &mut buffered, progress).await
    })
    .await?;
    let kept = out.as_file().sync_all().and_then(|()| Ok(out.persist(&args.file)?));
    kept.map_err(|error| unwritable(&args.file, &error))?;
    let seconds = begun.elapsed().as_secs_f64();
    let value = json!({"success": true, "exported": counts, "seconds": rounded(seconds)});
    Ok(output.answer(&value, |out| {
        let of = format!("of {}", of_whom(&args.selection, session));
        write_counts(out, "exported", counts, &of)?;
        writeln!(out, "to {} in {seconds:.1} s", printable(&args.file.display().to_string()))
    })?)
}

/// A file beside the one that is wanted, which takes its place once it is whole. It can be read by
/// its owner alone.
fn beside(file: &Path) -> Result<NamedTempFile> {
    let folder = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))
        .map_err(|error| unwritable(file, &error))
}

fn unwritable(file: &Path, error: &io::Error) -> Error {
    Error::invalid_input(format!("cannot write {}: {error}", file.display()))
        .with_hint("name a file in a folder that can be written to")
}

pub(crate) async fn import(args: ImportExport, session: &Session, output: Output) -> Done {
    session.of_all_nodes()?;
    let begun = Instant::now();
    let file = args.file.as_path();
    let told = |error: Error| input::at(file, None, error);
    let input = text::Source::new(file).map_err(told)?;
    is_export(&input, file, session.flags())?;
    // Before anything is written.
    let (mut reader, _) = input.open().map_err(told)?;
    let check = if args.strict { transfer::check } else { transfer::check_order };
    let has_items = check(&mut reader).map_err(told)?.total() > 0;
    let (mut reader, bytes) = input.open().map_err(told)?;
    let memory = session.memory_for(async || has_items).await?;
    let place = OpenStores { session, config: session.config.clone(), memory };
    let side = place.endpoint(&args.facets)?;
    let user = session.named_user().map(str::to_owned);
    let options =
        Import { user, facets: args.facets, overwrite: args.overwrite, strict: args.strict };
    let bar = progress(bytes, "bytes");
    let imported = transfer::import(&mut reader, &side, &options, &|bytes| bar.inc(bytes)).await;
    bar.finish_and_clear();
    let mut moved = imported.map_err(told)?;
    for omission in &mut moved.left_out.items {
        omission.file = Some(file.display().to_string());
    }
    print_moved("imported", &moved, begun, "", output)
}

/// Refuses a file of another form, and says which command reads it.
fn is_export(input: &text::Source<'_>, file: &Path, options: &str) -> Result<()> {
    let told = |error: Error| input::at(file, None, error);
    let (reader, _) = input.open().map_err(told)?;
    let Some(Item { line, text, .. }) = Items::new(reader).next().map_err(told)? else {
        return Err(told(
            Error::invalid_input("the file is empty")
                .with_hint("export again: memquill export FILE"),
        ));
    };
    // A damaged first line is the transfer's to judge.
    let Ok(first) = text.and_then(|text| json::parse::<Value>(&text)) else { return Ok(()) };
    match forms::instead_of_export(&first) {
        None => Ok(()),
        Some(error) => {
            let error = forms::complete(error, &text::shown(file), options);
            Err(input::at(file, Some(line), error))
        }
    }
}

/// The source and the target of a command, and the users of each.
struct Pair {
    source: Endpoint,
    target: Endpoint,
    whose: UserSelection,
    whose_there: UserSelection,
    /// For people.
    of: String,
}

impl Pair {
    /// `writes` says whether the target may be made.
    async fn open(endpoints: &Endpoints, session: &Session, writes: bool) -> Result<Self, Failure> {
        let selection = &endpoints.selection;
        check(selection, session)?;
        let from = OpenStores::named(session, &endpoints.from, true).await?;
        let to = OpenStores::named(session, &endpoints.to, !writes).await?;
        let (source, target) = (from.endpoint(&selection.facets)?, to.endpoint(&selection.facets)?);
        let whom = of_whom(selection, session);
        Ok(Self {
            whose: from.whose(selection.all_users, &source).await?,
            whose_there: to.whose(selection.all_users, &target).await?,
            source,
            target,
            of: format!("of {whom} from {} to {}", from.shown(), to.shown()),
        })
    }
}

pub(crate) async fn copy(args: Copy, session: &Session, output: Output) -> Done {
    let begun = Instant::now();
    let Pair { source, target, whose, of, .. } = Pair::open(&args.endpoints, session, true).await?;
    let options = CopyOptions { overwrite: args.overwrite, strict: args.strict };
    let moved = with_bar(&source, &whose, async |progress| {
        transfer::copy(&source, &target, &whose, options, progress).await
    })
    .await?;
    print_moved("copied", &moved, begun, &of, output)
}

pub(crate) async fn verify(args: Verify, session: &Session, output: Output) -> Done {
    let begun = Instant::now();
    let Pair { source, target, whose, whose_there, of } =
        Pair::open(&args.endpoints, session, false).await?;
    let found = with_bar(&source, &whose, async |progress| {
        transfer::verify(&source, &target, &whose, &whose_there, progress).await
    })
    .await?;
    let value = json!({
        "success": found.is_equal(),
        "compared": found.compared,
        "differences": found.differences,
        "told": found.told,
        "seconds": rounded(begun.elapsed().as_secs_f64()),
    });
    output.answer(&value, |out| {
        write_counts(out, "compared", found.compared, &of)?;
        write_differences(out, &found)
    })?;
    if found.is_equal() { Ok(()) } else { Err(Failure::Answered) }
}

fn write_differences(out: &mut dyn Write, found: &Verification) -> io::Result<()> {
    if found.is_equal() {
        return writeln!(out, "{GOOD}no difference{GOOD:#}");
    }
    let mut lines = table(["user", "node", "what", "how"]);
    for difference in &found.told {
        let texts = [&difference.user, &difference.node, &difference.place, &difference.what];
        lines.add_row(texts.map(|text| printable(text)));
    }
    writeln!(out, "{lines}")?;
    let more = found.differences - found.told.len() as u64;
    if more > 0 {
        writeln!(out, "and {more} more")?;
    }
    writeln!(out, "{BOLD}{}{BOLD:#} differences", found.differences)
}

fn print_moved(done: &str, moved: &Moved, begun: Instant, of: &str, output: Output) -> Done {
    let seconds = begun.elapsed().as_secs_f64();
    let complete = moved.left_out.is_empty();
    let mut value = json!({
        "success": complete,
        "read": moved.read,
        "written": moved.written,
        "unchanged": moved.unchanged,
        "left_out": moved.left_out,
        "seconds": rounded(seconds),
    });
    failure_of(&mut value, &moved.left_out);
    output.answer(&value, |out| {
        write_counts(out, done, moved.read, of)?;
        writeln!(
            out,
            "{BOLD}{}{BOLD:#} were written, {} were there already, in {seconds:.1} s",
            moved.written, moved.unchanged
        )?;
        write_left_out(out, &moved.left_out)
    })?;
    if complete { Ok(()) } else { Err(Failure::Answered) }
}

fn write_counts(out: &mut dyn Write, done: &str, counts: Counts, of: &str) -> io::Result<()> {
    let Counts { messages, records, entries } = counts;
    writeln!(
        out,
        "{done} {BOLD}{messages}{BOLD:#} messages, {BOLD}{records}{BOLD:#} records and \
         {BOLD}{entries}{BOLD:#} working entries {}",
        printable(of)
    )
}
