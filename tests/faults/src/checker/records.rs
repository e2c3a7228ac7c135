//! Records: whose they are, lost ones, ghosts (G1, G6, V12).

use super::{Case, Reading, Write, Writes, belongs, is_latest};
use crate::operation::{Answer, Operation};
use crate::plan::{RECORDS, records};

pub(super) fn check(case: &Case<'_>, broken: &mut Vec<String>) {
    let Some(found) = &case.found.records else { return };
    let writes = writes(case);
    let everything: &[String] = &records();
    let mut readings = vec![(Reading::last(found), everything)];
    readings.extend(case.found.hits.iter().map(|hits| (Reading::last(hits), everything)));
    for event in case.events.iter().copied() {
        let Some(Answer::Records(seen)) = event.answer() else { continue };
        let asked = match &event.operation {
            Operation::GetRecords(ids) => ids.as_slice(),
            _ => everything,
        };
        readings.push((Reading::of(event, seen), asked));
    }
    for (reading, asked) in &readings {
        for seen in &reading.seen {
            let writes = writes.get(seen.key.as_str()).map_or(&[][..], Vec::as_slice);
            belongs(case, seen, writes, broken);
        }
        for id in *asked {
            let twice = reading.seen.iter().filter(|seen| seen.key == *id).count() > 1;
            if twice {
                broken.push(case.says(format_args!("V12: {id} was found twice")));
            }
            if let Some(writes) = writes.get(id.as_str()) {
                is_latest(case, id, reading, writes, broken);
            }
        }
    }
}

fn writes<'a>(case: &Case<'a>) -> Writes<'a> {
    let mut writes = Writes::new();
    for event in case.events.iter().copied() {
        match &event.operation {
            Operation::Store(records) => {
                for (id, tag) in records {
                    let write = Write { event, tag: Some(*tag) };
                    writes.entry(id.as_str()).or_default().push(write);
                }
            }
            Operation::DeleteRecords(ids) => {
                for id in ids {
                    writes.entry(id.as_str()).or_default().push(Write { event, tag: None });
                }
            }
            Operation::DeleteNamespace => {
                for id in RECORDS {
                    writes.entry(id).or_default().push(Write { event, tag: None });
                }
            }
            _ => {}
        }
    }
    writes
}
