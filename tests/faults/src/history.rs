//! What was asked when, and what came of it.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use memquill::Error;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::operation::{Answer, Operation};

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was acknowledged.
    Done(Answer),
    /// It failed.
    Failed {
        /// The kind's code (E2).
        code: String,
        /// Whether it may have been applied all the same.
        maybe_applied: bool,
        /// What the error says.
        message: String,
    },
    /// Its future was dropped, or its process died.
    Unknown,
}

impl Outcome {
    pub(crate) fn of(result: Result<Answer, Error>) -> Self {
        match result {
            Ok(answer) => Self::Done(answer),
            Err(error) => Self::Failed {
                code: error.code().to_owned(),
                maybe_applied: error.maybe_applied(),
                message: error.to_string(),
            },
        }
    }
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The number of its scope.
    pub scope: usize,
    /// What was asked.
    pub operation: Operation,
    /// When it began, in microseconds of the run.
    pub begun: u64,
    /// When it ended; [`u64::MAX`] if that is not known.
    pub ended: u64,
    /// Whether an attempt before the last may have been applied, and at any later time.
    pub uncertain: bool,
    /// What came of it.
    pub outcome: Outcome,
}

impl Event {
    /// What it answered, if it was acknowledged.
    pub(crate) fn answer(&self) -> Option<&Answer> {
        match &self.outcome {
            Outcome::Done(answer) => Some(answer),
            _ => None,
        }
    }

    /// Whether it took effect or may have.
    pub(crate) fn may_be_applied(&self) -> bool {
        self.uncertain
            || match &self.outcome {
                Outcome::Done(_) | Outcome::Unknown => true,
                Outcome::Failed { maybe_applied, .. } => *maybe_applied,
            }
    }

    /// When its effect had come at the latest.
    pub(crate) fn settled(&self) -> u64 {
        if self.answer().is_some() && !self.uncertain { self.ended } else { u64::MAX }
    }
}

/// A line of a history's file.
#[derive(Serialize, Deserialize)]
enum Line {
    Begun(usize, Event),
    Ended(usize, u64, bool, Outcome),
}

/// How many calls have ended, how many of them well, and how many not, conflicts aside.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    pub(crate) ended: usize,
    pub(crate) done: usize,
    pub(crate) failed: usize,
}

/// All calls of a run, in the order in which they began.
#[derive(Debug)]
pub struct History {
    start: Instant,
    offset: Duration,
    events: Mutex<(Vec<Event>, Option<File>)>,
    progress: watch::Sender<Progress>,
}

impl History {
    /// An empty one.
    pub fn new() -> Self {
        Self::starting_at(Duration::ZERO, None)
    }

    /// One of a process of its own, which began so long after the run did, and notes everything in
    /// a file before it is done and after.
    pub fn in_file(offset: Duration, path: &Path) -> Self {
        Self::starting_at(offset, Some(File::create(path).unwrap()))
    }

    fn starting_at(offset: Duration, file: Option<File>) -> Self {
        Self {
            start: Instant::now(),
            offset,
            events: Mutex::new((Vec::new(), file)),
            progress: watch::Sender::default(),
        }
    }

    /// How long the run has gone on.
    pub fn elapsed(&self) -> Duration {
        self.offset + self.start.elapsed()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.elapsed().as_micros()).unwrap()
    }

    pub(crate) fn begin(&self, scope: usize, operation: Operation) -> usize {
        let mut events = self.events.lock();
        let event = Event {
            scope,
            operation,
            begun: self.now(),
            ended: u64::MAX,
            uncertain: false,
            outcome: Outcome::Unknown,
        };
        let number = events.0.len();
        write(&mut events.1, &Line::Begun(number, event.clone()));
        events.0.push(event);
        number
    }

    pub(crate) fn end(&self, number: usize, uncertain: bool, outcome: Outcome) {
        let mut events = self.events.lock();
        let ended = self.now();
        write(&mut events.1, &Line::Ended(number, ended, uncertain, outcome.clone()));
        let done = matches!(outcome, Outcome::Done(_));
        let failed = matches!(&outcome, Outcome::Failed { code, .. } if code != "conflict");
        apply(&mut events.0, Line::Ended(number, ended, uncertain, outcome));
        drop(events);
        self.progress.send_modify(|progress| {
            progress.ended += 1;
            progress.done += usize::from(done);
            progress.failed += usize::from(failed);
        });
    }

    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// What has been noted until now.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().0.clone()
    }

    /// Takes in what another process noted, however it died.
    pub fn take_in(&self, path: &Path) {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        // A line that the kill cut short was not noted.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut events = Vec::new();
        for line in whole.lines() {
            apply(&mut events, serde_json::from_str(line).unwrap());
        }
        self.events.lock().0.extend(events);
    }
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}

fn write(file: &mut Option<File>, line: &Line) {
    if let Some(file) = file {
        // In one call: what the process was killed in the middle of is not in the file in part.
        file.write_all(format!("{}\n", serde_json::to_string(line).unwrap()).as_bytes()).unwrap();
    }
}

fn apply(events: &mut Vec<Event>, line: Line) {
    match line {
        Line::Begun(_, event) => events.push(event),
        Line::Ended(number, ended, uncertain, outcome) => {
            let event = &mut events[number];
            (event.ended, event.uncertain, event.outcome) = (ended, uncertain, outcome);
        }
    }
}
