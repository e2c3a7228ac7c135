//! `eval`: how well what is asked for is found.

mod figures;
mod plot;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use memquill::config::EmbedderConfig;
use memquill::embed::{Embedder, embed_query};
use memquill::kinds::{Document, DocumentQuery, SearchMode, VectorDatabase, VectorDatabaseConfig};
use memquill::{Error, Memory, Result, Scope, Selection};
use serde_json::{Value, json};

use self::figures::Figures;
use super::progress;
use super::squad::Squad;
use crate::args::Retrieval;
use crate::output::{Output, table};
use crate::session::Session;
use crate::{Done, Failure};

/// Where passages are kept while they are searched: a node of its own, and so apart from all else.
const NODE: &str = "memquill-eval";
/// How many passages are embedded and stored at once.
const BATCH: usize = 256;
/// How many hits are looked at.
const LIMIT: usize = 10;

const MODES: [(&str, SearchMode); 3] =
    [("vector", SearchMode::Vector), ("text", SearchMode::Text), ("hybrid", SearchMode::Hybrid)];

/// What one embedder came to in one way of searching.
struct Row {
    embedder: String,
    mode: &'static str,
    figures: Figures,
}

/// Questions, and the passage that each asks for.
struct Task {
    passages: Vec<String>,
    questions: Vec<(String, usize)>,
}

impl Task {
    /// A passage that stands twice is one.
    fn new(squad: Squad) -> Result<Self> {
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let mut task = Self { passages: Vec::new(), questions: Vec::new() };
        for paragraph in squad.data.into_iter().flat_map(|article| article.paragraphs) {
            let next = numbers.len();
            let number = *numbers.entry(paragraph.context.clone()).or_insert(next);
            if number == next {
                task.passages.push(paragraph.context);
            }
            task.questions.extend(paragraph.qas.into_iter().map(|q| (q.question, number)));
        }
        if task.questions.is_empty() {
            return Err(Error::invalid_input("the file holds no question")
                .with_hint("put the questions of each paragraph under \"qas\""));
        }
        Ok(task)
    }
}

pub(crate) async fn retrieval(args: Retrieval, session: &Session, output: Output) -> Done {
    if let Some(file) = args.plot.as_ref().filter(|f| f.extension().is_none_or(|e| e != "svg")) {
        return Err(Failure::Usage(
            Error::invalid_input(format!("{} is not an .svg file", file.display()))
                .with_hint("give the plot a name that ends in .svg"),
        ));
    }
    let others = args.compare.iter().map(|name| name.parse::<EmbedderConfig>()?.build());
    let others: Vec<Arc<dyn Embedder>> = others.collect::<Result<_>>().map_err(Failure::Usage)?;
    let task = Task::new(Squad::read(&args.file)?)?;
    let memory = session.memory().await?;
    let mut rows = Vec::new();
    for embedder in std::iter::once(memory.embedder().clone()).chain(others) {
        let trial = Trial::new(&args, session, &memory, embedder)?;
        // Removed before too: a run that was interrupted leaves its passages.
        trial.remove().await?;
        let measured = trial.measure(&task).await;
        trial.remove().await?;
        rows.extend(measured?);
    }
    if let Some(file) = &args.plot {
        plot::draw(file, &rows)?;
    }
    let value = json!({
        "success": true,
        "passages": task.passages.len(),
        "questions": task.questions.len(),
        "results": rows.iter().map(Row::json).collect::<Value>(),
    });
    Ok(output.answer(&value, |out| {
        let header = ["embedder", "search", "recall@1", "@5", "@10", "MRR@10", "nDCG@10", "ms"];
        let mut lines = table(header);
        for row in &rows {
            let [one, five, ten, mrr, ndcg] = row.figures.percent().map(|x| format!("{x:.1}"));
            let ms = format!("{:.2}", row.figures.milliseconds());
            let name = row.embedder.clone();
            lines.add_row([name, row.mode.to_owned(), one, five, ten, mrr, ndcg, ms]);
        }
        let (questions, passages) = (task.questions.len(), task.passages.len());
        writeln!(out, "{lines}\n{questions} questions over {passages} passages, in percent; ms is the median of a search, its embedding not counted")
    })?)
}

impl Row {
    fn json(&self) -> Value {
        let [one, five, ten, mrr, ndcg] =
            self.figures.percent().map(|x| (x * 100.0).round() / 100.0);
        json!({
            "embedder": self.embedder,
            "search": self.mode,
            "recall_at_1": one,
            "recall_at_5": five,
            "recall_at_10": ten,
            "mrr_at_10": mrr,
            "ndcg_at_10": ndcg,
            "median_ms": (self.figures.milliseconds() * 1000.0).round() / 1000.0,
        })
    }
}

/// One embedder's turn.
struct Trial {
    documents: VectorDatabase,
    embedder: Arc<dyn Embedder>,
}

impl Trial {
    fn new(
        args: &Retrieval,
        session: &Session,
        memory: &Memory,
        embedder: Arc<dyn Embedder>,
    ) -> Result<Self> {
        let config = VectorDatabaseConfig {
            similarity_threshold: -1.0,
            language: args.language,
            ..VectorDatabaseConfig::default()
        };
        let scope = Scope::new(session.user(), NODE)?;
        let (store, counter) = (memory.vectors()?.clone(), memory.counter().clone());
        let documents = VectorDatabase::new(scope, store, embedder.clone(), counter, config)?;
        Ok(Self { documents, embedder })
    }

    async fn remove(&self) -> Result<()> {
        self.documents.clear(None, Selection::Namespace).await.map(drop)
    }

    async fn measure(&self, task: &Task) -> Result<Vec<Row>> {
        let bar = progress((task.passages.len() + task.questions.len()) as u64, "texts");
        let mut next = 0..;
        for part in task.passages.chunks(BATCH) {
            let numbered = part.iter().zip(&mut next).map(|(passage, number): (_, usize)| {
                Document { id: Some(number.to_string()), ..Document::new(passage) }
            });
            self.documents.store(None, numbered.collect()).await?;
            bar.inc(part.len() as u64);
        }
        let mut figures = MODES.map(|_| Figures::default());
        for (question, answer) in &task.questions {
            let embedding = embed_query(&*self.embedder, question).await?;
            for ((_, mode), figures) in MODES.iter().zip(&mut figures) {
                let query = DocumentQuery {
                    text: Some(question.clone()),
                    // The words alone need none.
                    embedding: (*mode != SearchMode::Text).then(|| embedding.clone()),
                    search: Some(*mode),
                    limit: Some(LIMIT),
                    ..DocumentQuery::default()
                };
                let begun = Instant::now();
                let hits = self.documents.search(query).await?.result.hits;
                let wanted = answer.to_string();
                let rank = hits.iter().position(|hit| hit.record.id == wanted);
                figures.add(rank, begun.elapsed());
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        let row = |((mode, _), figures): (&(&'static str, SearchMode), Figures)| {
            let embedder = self.embedder.space().model.clone();
            Row { embedder, mode, figures }
        };
        Ok(MODES.iter().zip(figures).map(row).collect())
    }
}
