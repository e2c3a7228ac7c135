//! What stands beside a found record in its source (M3).

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use serde_json::Value;

use super::VectorDatabase;
use crate::error::{Error, Result};
use crate::filter::{Field, Filter, Predicate};
use crate::limits::Limits;
use crate::page::PageRequest;
use crate::vector::{Hit, Record, ScanRecords};

/// The most records on each side of a hit.
const MOST: usize = 100;

/// Metadata that orders records: what they belong to, and where in it they stand.
const SEQUENCES: [(&str, &str); 2] = [("source", "passage"), ("conversation_id", "turn")];

/// What stands beside a record, in the order of its source.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Neighbours {
    /// What stands before it.
    pub before: Vec<Record>,
    /// What stands after it.
    pub after: Vec<Record>,
}

/// Where a record stands, by its metadata.
#[derive(Debug, Clone, Copy, PartialEq)]
struct SourcePosition<'a> {
    sequence: (&'static str, &'static str),
    source: &'a str,
    position: u64,
}

impl<'a> SourcePosition<'a> {
    fn of(record: &'a Record) -> Option<Self> {
        SEQUENCES.into_iter().find_map(|sequence| {
            let source = record.metadata.get(sequence.0)?.as_str()?;
            let position = record.metadata.get(sequence.1)?.as_u64()?;
            Some(Self { sequence, source, position })
        })
    }

    fn range(self, reach: u64) -> std::ops::RangeInclusive<u64> {
        self.position.saturating_sub(reach)..=self.position.saturating_add(reach)
    }

    /// Selects the records of its source within `reach` places before and after it.
    fn around(self, reach: u64) -> Filter {
        let at = || Field::metadata([self.sequence.1]);
        let (from, to) = self.range(reach).into_inner();
        Filter::And(vec![
            Filter::eq(Field::metadata([self.sequence.0]), self.source),
            Filter::Field(at(), Predicate::Gte(from.into())),
            Filter::Field(at(), Predicate::Lte(to.into())),
        ])
    }
}

pub(super) fn check(neighbours: usize) -> Result<()> {
    if neighbours <= MOST {
        return Ok(());
    }
    Err(Error::invalid_input(format!("{neighbours} neighbours are more than {MOST}"))
        .with_hint("ask for fewer, or read the source itself"))
}

impl VectorDatabase {
    /// What stands beside each of the records, up to `reach` records on either side, at most 100.
    ///
    /// Which records belong together, and in which order, their metadata says: `source` and the
    /// number `passage`, or `conversation_id` and the number `turn`. A record without either has no
    /// neighbours. Needs a store that filters. Without a `namespace`, the configured one is meant.
    pub async fn neighbours(
        &self,
        namespace: Option<&str>,
        records: &[&Record],
        reach: usize,
    ) -> Result<Vec<Neighbours>> {
        check(reach)?;
        let namespace = self.namespace(namespace);
        let reach = reach as u64;
        let places: Vec<_> = records.iter().map(|record| SourcePosition::of(record)).collect();
        let mut found: BTreeMap<String, Record> = BTreeMap::new();
        // A part's filter stays below the limit of conditions.
        for part in places.chunks(Limits::CONTRACT.filter_conditions / 5) {
            let around: Vec<Filter> =
                part.iter().flatten().map(|place| place.around(reach)).collect();
            if !around.is_empty() {
                self.scan_into(&mut found, &namespace, Filter::Or(around)).await?;
            }
        }
        Ok(places.iter().map(|place| beside(*place, reach, &found)).collect())
    }

    async fn scan_into(
        &self,
        found: &mut BTreeMap<String, Record>,
        namespace: &str,
        filter: Filter,
    ) -> Result<()> {
        let page = PageRequest::first(Limits::CONTRACT.batch_items);
        let mut request = ScanRecords {
            namespace: namespace.to_owned(),
            filter: Some(filter),
            with_embeddings: false,
            page,
        };
        loop {
            let part = self.store.scan(&self.scope, &request).await?;
            found.extend(part.items.into_iter().map(|record| (record.id.clone(), record)));
            let Some(next) = part.next else { return Ok(()) };
            request.page = request.page.after(next);
        }
    }
}

fn beside(
    place: Option<SourcePosition<'_>>,
    reach: u64,
    found: &BTreeMap<String, Record>,
) -> Neighbours {
    let Some(place) = place else { return Neighbours::default() };
    let mut near: Vec<(u64, &Record)> = found
        .values()
        .filter_map(|record| Some((SourcePosition::of(record)?, record)))
        .filter(|(other, _)| {
            (other.sequence, other.source) == (place.sequence, place.source)
                && place.range(reach).contains(&other.position)
                && other.position != place.position
        })
        .map(|(other, record)| (other.position, record))
        .collect();
    near.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.id.cmp(&b.1.id)));
    let (before, after): (Vec<_>, Vec<_>) =
        near.into_iter().partition(|(position, _)| *position < place.position);
    let records = |side: Vec<(u64, &Record)>| side.into_iter().map(|(_, r)| r.clone()).collect();
    Neighbours { before: records(before), after: records(after) }
}

/// A record stands once in an answer: what is a hit itself, or stands beside a better one, is left
/// out.
pub(super) fn once(hits: &[Hit], neighbours: &mut [Neighbours]) {
    let mut shown: HashSet<String> = hits.iter().map(|hit| hit.record.id.clone()).collect();
    for beside in neighbours {
        for side in [&mut beside.before, &mut beside.after] {
            side.retain(|record| shown.insert(record.id.clone()));
        }
    }
}

/// A neighbour in JSON.
pub(super) fn json(records: &[Record]) -> Value {
    records
        .iter()
        .map(|record| {
            serde_json::json!({
                "id": record.id,
                "content": record.content,
                "metadata": record.metadata,
            })
        })
        .collect()
}
