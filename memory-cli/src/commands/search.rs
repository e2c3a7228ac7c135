//! `search`: passages by meaning and by words.

use std::collections::{HashMap, HashSet};
use std::io;

use memquill::driver::Limits;
use memquill::kinds::{
    DocumentQuery, DocumentResults, KindName, Neighbours, SearchMode, VectorDatabase,
    VectorDatabaseConfig,
};
use memquill::{Error, ErrorKind, Hit, Memory, Record, Result};
use serde_json::{Value, json};

use crate::args::{Mode, Search};
use crate::input::text::shell;
use crate::output::{BOLD, DIM, Output, printable, shortened};
use crate::session::Session;
use crate::{Done, Failure};

/// How much of a passage is shown to people.
const SHOWN: usize = 300;
/// How many hits are looked through at first for each group that is wanted.
const HITS_PER_GROUP: usize = 20;
/// How many times as many are looked through where these hold too few groups.
const WIDER: usize = 10;
/// How many hits of a group are shown.
const SHOWN_OF_A_GROUP: usize = 3;

/// The documents of the session's scope. Without a threshold, so that the best are shown, however
/// near they are.
pub(super) fn documents(session: &Session, memory: &Memory) -> Result<VectorDatabase> {
    let config = VectorDatabaseConfig::new().with_similarity_threshold(-1.0);
    let scoped = memory.with_scope(session.scope(KindName::VectorDatabase)?);
    scoped.documents(&config.namespace).with_config(config.clone()).database()
}

/// Adds to a conflict of embedding spaces the command that moves the namespace.
pub(super) fn of_space(error: Error, namespace: &str, options: &str) -> Error {
    if error.kind() != ErrorKind::Conflict {
        return error;
    }
    let namespace = shell(namespace);
    error.with_hint(format!(
        "name the embedder of the namespace with --embedder, or move the namespace to this one: \
         memquill{options} reembed --namespace {namespace}"
    ))
}

/// Refuses a text that names nothing to look for.
fn check(text: &str) -> Done {
    if text.trim().is_empty() {
        return Err(Failure::Usage(
            Error::invalid_input("the text to search for is empty").with_hint(
                "give the text to search for, as in: memquill search \"how do I migrate?\"",
            ),
        ));
    }
    Ok(())
}

/// Whether a text is punctuation alone, such as the pattern `*`, which is like nothing.
fn has_no_word(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || c.is_ascii_punctuation())
}

/// Answers a search for punctuation: nothing is like it.
fn nothing(args: &Search, output: Output) -> Done {
    let note = "the text contains no word to search for, and patterns are not supported";
    let list = if args.group_by.is_some() { "groups" } else { "results" };
    let mut answer = json!({"success": true, "search": args.mode.as_str(), "complete": true});
    answer[list] = json!([]);
    answer["note"] = note.into();
    Ok(output.answer(&answer, |out| {
        writeln!(out, "nothing found for {:?}: {note}", printable(&args.text))?;
        writeln!(out, "to print everything, run `memquill export -`")
    })?)
}

pub(crate) async fn search(args: Search, session: &Session, output: Output) -> Done {
    check(&args.text)?;
    if has_no_word(&args.text) {
        return nothing(&args, output);
    }
    let memory = session.existing_memory().await?;
    let query = DocumentQuery {
        text: Some(args.text.clone()),
        limit: Some(args.limit),
        min_similarity: args.min_similarity,
        filter: args.filter.clone(),
        namespace: Some(args.namespace.clone()),
        search: Some(match args.mode {
            Mode::Hybrid => SearchMode::Hybrid,
            Mode::Vector => SearchMode::Vector,
            Mode::Text => SearchMode::Text,
        }),
        language: args.language,
        diversity: Some(args.diversity),
        recency_half_life: args.recency_half_life,
        neighbours: Some(args.neighbours),
        ..DocumentQuery::default()
    };
    let documents = documents(session, &memory)?;
    let found = match &args.group_by {
        Some(key) => {
            // Once, however often it is looked for.
            let embedding = match args.mode {
                Mode::Text => None,
                _ => Some(memory.embedder().embed_query(&args.text).await?),
            };
            let query = DocumentQuery { embedding, ..query };
            search_groups(&documents, query, key, args.limit).await
        }
        None => documents.search(query).await,
    };
    let found = found.map_err(|error| of_space(error, &args.namespace, session.flags()))?;
    let mut answer = json!({
        "success": true,
        "search": args.mode.as_str(),
        "complete": found.result.complete,
    });
    let beside = found.neighbours.iter().map(Some).chain(std::iter::repeat(None));
    let hits: Vec<Shown<'_>> = found.result.hits.iter().zip(beside).collect();
    if let Some(key) = &args.group_by {
        let groups = groups(&hits, key, args.limit);
        answer["groups"] = groups.iter().map(Group::json).collect();
        return Ok(output.answer(&answer, |out| {
            for (rank, group) in groups.iter().enumerate() {
                let (key, count) = (printable(&group.name()), group.hits.len());
                let score = group.hits[0].0.score;
                writeln!(
                    out,
                    "{BOLD}{}. {key}{BOLD:#} {DIM}score {score:.3}, {count} hits{DIM:#}",
                    rank + 1
                )?;
                for hit in group.hits.iter().take(SHOWN_OF_A_GROUP) {
                    passage(out, *hit)?;
                }
            }
            ended(out, groups.is_empty(), &found, &args.namespace)
        })?);
    }
    answer["results"] = hits.iter().map(|shown| hit(*shown)).collect();
    Ok(output.answer(&answer, |out| {
        for (at, shown) in hits.iter().enumerate() {
            let hit = shown.0;
            let source = ["source", "conversation_id"].map(|key| hit.record.metadata.get(key));
            let source = source.into_iter().flatten().find_map(Value::as_str);
            let similarity =
                hit.similarity.map_or(String::new(), |s| format!(", similarity {s:.3}"));
            writeln!(
                out,
                "{BOLD}{}. {}{BOLD:#} {DIM}score {:.3}{similarity}{DIM:#}",
                at + 1,
                printable(source.unwrap_or(&hit.record.id)),
                hit.score,
            )?;
            passage(out, *shown)?;
        }
        ended(out, hits.is_empty(), &found, &args.namespace)
    })?)
}

/// Searches until the hits are of as many groups as wanted, or there are no more. A group may stand
/// behind any number of another's hits.
async fn search_groups(
    documents: &VectorDatabase,
    query: DocumentQuery,
    key: &str,
    wanted: usize,
) -> Result<DocumentResults> {
    let most = Limits::CONTRACT.page_items;
    let first = wanted.saturating_mul(HITS_PER_GROUP).min(most);
    let mut limit = first;
    // To choose what is unlike compares each hit with each: it is not to be of thousands.
    let unlike = query.diversity.is_some_and(|diversity| diversity > 0.0);
    let mut found = loop {
        // What stands beside them is read once it is known which are shown.
        let query = DocumentQuery { limit: Some(limit), neighbours: Some(0), ..query.clone() };
        let mut found = documents.search(query).await?;
        let all = found.result.hits.len() < limit;
        let groups = thin_out(&mut found.result.hits, key, first);
        if all || groups >= wanted {
            break found;
        }
        if limit == most || unlike {
            found.result.complete = false;
            break found;
        }
        limit = limit.saturating_mul(WIDER).min(most);
    };
    if let Some(reach) = query.neighbours.filter(|reach| *reach > 0) {
        let records: Vec<&Record> = found.result.hits.iter().map(|hit| &hit.record).collect();
        let namespace = query.namespace.as_deref();
        found.neighbours = documents.neighbours(namespace, &records, reach).await?;
        // A record stands once in an answer.
        let mut shown: HashSet<String> = records.iter().map(|record| record.id.clone()).collect();
        for beside in &mut found.neighbours {
            for side in [&mut beside.before, &mut beside.after] {
                side.retain(|record| shown.insert(record.id.clone()));
            }
        }
    }
    Ok(found)
}

/// Leaves out the hits without the key, and behind the `first` hits those of groups that have many:
/// they were looked through for other groups alone. Returns how many groups there are.
fn thin_out(hits: &mut Vec<Hit>, key: &str, first: usize) -> usize {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut rank = 0;
    hits.retain(|hit| {
        rank += 1;
        hit.record.metadata.get(key).is_some_and(|value| {
            let count = counts.entry(value.to_string()).or_default();
            *count += 1;
            rank <= first || *count <= HITS_PER_GROUP
        })
    });
    counts.len()
}

/// A hit, and what stands beside it.
type Shown<'a> = (&'a Hit, Option<&'a Neighbours>);

/// Hits that have one value under the key.
struct Group<'a> {
    key: &'a Value,
    hits: Vec<Shown<'a>>,
}

impl Group<'_> {
    fn name(&self) -> String {
        self.key.as_str().map_or_else(|| self.key.to_string(), str::to_owned)
    }

    fn json(&self) -> Value {
        json!({
            "key": self.key,
            "score": self.hits[0].0.score,
            "results": self.hits.iter().map(|shown| hit(*shown)).collect::<Value>(),
        })
    }
}

/// The groups in the order of their best hits, and of hits without the key none.
fn groups<'a>(hits: &[Shown<'a>], key: &str, limit: usize) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for shown in hits {
        let Some(value) = shown.0.record.metadata.get(key) else { continue };
        match groups.iter_mut().find(|group| group.key == value) {
            Some(group) => group.hits.push(*shown),
            None => groups.push(Group { key: value, hits: vec![*shown] }),
        }
    }
    groups.truncate(limit);
    groups
}

fn passage(out: &mut dyn io::Write, (hit, beside): Shown<'_>) -> io::Result<()> {
    let before = beside.iter().flat_map(|beside| &beside.before);
    let after = beside.iter().flat_map(|beside| &beside.after);
    for record in before {
        writeln!(out, "   {DIM}{}{DIM:#}", text(record))?;
    }
    writeln!(out, "   {}", text(&hit.record))?;
    for record in after {
        writeln!(out, "   {DIM}{}{DIM:#}", text(record))?;
    }
    writeln!(out)
}

fn text(record: &Record) -> String {
    printable(&shortened(&record.content, SHOWN))
}

fn ended(
    out: &mut dyn io::Write,
    none: bool,
    found: &DocumentResults,
    namespace: &str,
) -> io::Result<()> {
    if none {
        let hint = "to store passages, run `memquill ingest`";
        return writeln!(out, "nothing found in {namespace:?}; {hint}");
    }
    if found.result.complete {
        Ok(())
    } else {
        writeln!(out, "the search is incomplete: more records may match")
    }
}

fn hit((hit, beside): Shown<'_>) -> Value {
    let mut value = json!({
        "id": hit.record.id,
        "score": hit.score,
        "similarity": hit.similarity,
        "content": hit.record.content,
        "document_type": hit.record.document_type,
        "metadata": hit.record.metadata,
        "created_at": hit.record.created_at,
    });
    if let Some(beside) = beside {
        let contents = |records: &[Record]| -> Value {
            records.iter().map(|record| record.content.as_str()).collect()
        };
        value["before"] = contents(&beside.before);
        value["after"] = contents(&beside.after);
    }
    value
}
