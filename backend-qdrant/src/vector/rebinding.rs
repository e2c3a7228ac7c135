//! A namespace takes the embeddings of another (V13).
//!
//! Where a namespace's records are, its bond says. So what the namespace is to hold is copied to a
//! place that nobody reads yet, and then the bond is changed: one step, for every reader. Until
//! then both namespaces are *sealed*, which is said twice. Their bonds have other tokens, so that a
//! writer who did not know finds at its end that nothing counts as written; and their records are
//! taken hold of, so that no deleter counts one that is copied. Both wait, or are told to come
//! again.
//!
//! Who remembers the former bond reads at the former place. It finds records that are taken hold
//! of, or none, and looks the bond up. So that no answer is of records half removed, they stay for
//! a moment after the step; see [`GRACE`].
//!
//! A rebinding that dies leaves a seal that is no longer renewed, which whoever comes next undoes.
//! What it leaves at places that nobody reads, the bond names.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use memquill_core::{Error, Rebind, Record, Result, Retry, Scope, Timestamp};
use qdrant_client::qdrant::{
    PointId, PointStruct, RetrievedPoint, ScrollPoints, SetPayloadPoints, UpdateMode, Value,
};

use super::store::{ROUNDS, contended};
use super::{GRACE, record_fields, vectors};
use crate::backend::{Store, now};
use crate::bindings::{Binding, Left, SEALED_FOR, selected, strong, whole_payload};
use crate::filter;
use crate::layout::{self, DENSE, Namespace, Place, SPARSE, field};
use crate::payload;
use crate::record;
use crate::transport::or_empty;

/// How long a writer waits for a rebinding, and between two looks at it.
const WAIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// Records that are copied at once.
const PART: u32 = 250;

/// A namespace that this call has sealed.
struct Sealed {
    namespace: Namespace,
    binding: Binding,
    place: Place,
}

impl Store {
    pub(super) async fn rebind_namespace(&self, scope: &Scope, request: &Rebind) -> Result<u64> {
        let from = self.seal(scope, &request.from, &[]).await?;
        let collection = from.place.collection.clone();
        let namespace = Namespace::of(scope, &request.namespace);
        let target = Place::new(collection, &namespace, &layout::token());
        let left = [left_at(&target, &from.binding)];
        let sealed = match self.seal(scope, &request.namespace, &left).await {
            Ok(sealed) => sealed,
            Err(error) => {
                self.undo(None, &from, &target).await;
                return Err(error);
            }
        };
        match self.step(request, &sealed, &from, &target).await {
            Ok(count) => {
                let left = self.leave(&namespace, &from).await;
                left.map(|()| count).map_err(|error| error.with_maybe_applied(true))
            }
            Err(error) => {
                self.undo(Some(&sealed), &from, &target).await;
                Err(error)
            }
        }
    }

    /// Undoes what a rebinding did that failed. What cannot be undone now, the seals tell others.
    async fn undo(&self, sealed: Option<&Sealed>, from: &Sealed, target: &Place) {
        let undone = async {
            if let Some(sealed) = sealed {
                self.release(&sealed.namespace, &sealed.binding).await?;
                self.remove_copies(sealed, target).await?;
            }
            self.release(&from.namespace, &from.binding).await
        };
        if let Err(error) = undone.await {
            tracing::warn!(%error, "a rebinding is left to others to undo");
        }
    }

    /// Removes the copies, unless the step was taken, or still may be: its answer may have been lost.
    async fn remove_copies(&self, sealed: &Sealed, target: &Place) -> Result<()> {
        let now = self.binding(&sealed.namespace).await?;
        let taken = |now: Binding| {
            now.token == sealed.binding.token || now.generation == target.generation()
        };
        if now.is_some_and(taken) {
            return Ok(());
        }
        self.remove(&target.collection, filter::all(target)).await
    }

    /// Copies the records, and changes the bond.
    async fn step(
        &self,
        request: &Rebind,
        sealed: &Sealed,
        from: &Sealed,
        target: &Place,
    ) -> Result<u64> {
        let count = self.copy(request, sealed, from, target).await?;
        let moved = Binding {
            space: from.binding.space.clone(),
            origin: sealed.binding.origin.clone(),
            generation: target.generation().to_owned(),
            token: layout::token(),
            sealed: None,
            left: vec![left_at(&sealed.place, &sealed.binding)],
        };
        if self.registry().change(&sealed.namespace, &sealed.binding, &moved).await? {
            return Ok(count);
        }
        Err(contended())
    }

    /// What comes after the step: the other namespace goes, and so do the former records.
    async fn leave(&self, namespace: &Namespace, from: &Sealed) -> Result<()> {
        self.delete_namespace(&from.namespace).await?;
        match self.binding(namespace).await? {
            Some(binding) => self.settle(namespace, &binding).await,
            None => Ok(()),
        }
    }

    /// The bond of a namespace that nobody is rebinding.
    pub(super) async fn writable(&self, namespace: &Namespace) -> Result<Option<Binding>> {
        let start = Instant::now();
        loop {
            let Some(binding) = self.binding(namespace).await? else { return Ok(None) };
            if binding.sealed.is_none() {
                return Ok(Some(binding));
            }
            if binding.is_forsaken(now()) {
                self.release(namespace, &binding).await?;
            } else if start.elapsed() > WAIT {
                return Err(Error::conflict("the namespace is being bound to another space")
                    .with_retry(Retry::Transient)
                    .with_hint("repeat the call"));
            } else {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Cleans up what a rebinding left.
    pub(crate) async fn settle(&self, namespace: &Namespace, binding: &Binding) -> Result<()> {
        if binding.is_forsaken(now()) {
            return self.release(namespace, binding).await;
        }
        if binding.sealed.is_some() || binding.left.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(GRACE).await;
        self.remove_left(binding).await?;
        let clean = Binding { left: Vec::new(), ..binding.clone() };
        self.registry().change(namespace, binding, &clean).await.map(drop)
    }

    /// Removes what a bond says is left at places that nobody reads.
    pub(super) async fn remove_left(&self, binding: &Binding) -> Result<()> {
        for Left { dimensions, place } in &binding.left {
            let collection = layout::collection(&self.prefix, *dimensions);
            or_empty(self.remove(&collection, filter::at(place)).await)?;
        }
        Ok(())
    }

    /// Keeps others from writing to a namespace. `left` is where its records are to be copied to.
    async fn seal(&self, scope: &Scope, name: &str, left: &[Left]) -> Result<Sealed> {
        let namespace = Namespace::of(scope, name);
        for _ in 0..ROUNDS {
            let Some(known) = self.writable(&namespace).await? else {
                return Err(Error::not_found(format!("there is no namespace {name:?}")));
            };
            if !known.left.is_empty() {
                self.settle(&namespace, &known).await?;
                continue;
            }
            let binding = Binding {
                token: layout::token(),
                sealed: Some(now()),
                left: left.to_vec(),
                ..known.clone()
            };
            if self.registry().change(&namespace, &known, &binding).await? {
                let place = self.place(&namespace, &binding);
                let sealed = Sealed { namespace, binding, place };
                self.hold(&sealed.place, payload::moment(now())).await?;
                return Ok(sealed);
            }
        }
        Err(contended())
    }

    /// Takes hold of the records of a place, or lets go of them.
    async fn hold(&self, place: &Place, since: Value) -> Result<()> {
        self.transport
            .set_payload(SetPayloadPoints {
                collection_name: place.collection.clone(),
                wait: Some(true),
                payload: payload::payload([
                    (field::TAKEN, since),
                    (field::VERSION, payload::text(layout::token())),
                ]),
                points_selector: Some(selected(filter::all(place))),
                ordering: Some(strong()),
                ..SetPayloadPoints::default()
            })
            .await
    }

    /// Undoes a seal, unless somebody else did, or the bond was changed.
    async fn release(&self, namespace: &Namespace, binding: &Binding) -> Result<()> {
        // Whoever put it on may still be there, and must not take the step from here on.
        let mine = Binding { token: layout::token(), sealed: Some(now()), ..binding.clone() };
        if !self.registry().change(namespace, binding, &mine).await? {
            return Ok(());
        }
        self.remove_left(&mine).await?;
        self.hold(&self.place(namespace, &mine), payload::nothing()).await?;
        let open =
            Binding { token: layout::token(), sealed: None, left: Vec::new(), ..mine.clone() };
        self.registry().change(namespace, &mine, &open).await.map(drop)
    }

    /// Copies the namespace's records with the other's embeddings, and says how many there are;
    /// `Conflict` if some have no counterpart.
    async fn copy(
        &self,
        request: &Rebind,
        sealed: &Sealed,
        from: &Sealed,
        target: &Place,
    ) -> Result<u64> {
        let at = now();
        let (mut count, mut missing) = (0, 0);
        let mut offset = None;
        let mut renewed = Instant::now();
        loop {
            if renewed.elapsed() > SEALED_FOR / 4 {
                self.renew(sealed).await?;
                self.renew(from).await?;
                renewed = Instant::now();
            }
            let (records, next) = self.part(&sealed.place, at, offset).await?;
            let ids = records.iter().map(|record| &record.id);
            let everything = vectors(&[DENSE, SPARSE]);
            let points = self.points(&from.place, ids, Some(whole_payload()), everything).await?;
            let (copies, without) = copies(&records, points, at, target)?;
            count += copies.len() as u64;
            missing += without;
            if missing == 0 {
                self.write(&target.collection, copies, UpdateMode::Upsert, None).await?;
            }
            if next.is_none() {
                break;
            }
            offset = next;
        }
        if missing > 0 {
            let Rebind { namespace, from } = request;
            return Err(Error::conflict(format!(
                "{missing} records of {namespace:?} have no counterpart in {from:?}"
            ))
            .with_hint("store them there with their new embeddings, and repeat the call"));
        }
        Ok(count)
    }

    /// Says that this call is still at work.
    async fn renew(&self, sealed: &Sealed) -> Result<()> {
        let later = Binding { sealed: Some(now()), ..sealed.binding.clone() };
        if self.registry().change(&sealed.namespace, &sealed.binding, &later).await? {
            return Ok(());
        }
        Err(contended())
    }

    /// Some of the records that are living at a place.
    async fn part(
        &self,
        place: &Place,
        at: Timestamp,
        offset: Option<PointId>,
    ) -> Result<(Vec<Record>, Option<PointId>)> {
        let answer = self
            .transport
            .scroll(ScrollPoints {
                collection_name: place.collection.clone(),
                filter: Some(filter::living(place, at)),
                offset,
                limit: Some(PART),
                with_payload: Some(record_fields(false)),
                ..ScrollPoints::default()
            })
            .await?;
        let records = answer.result.into_iter().map(|point| record::record(point.payload, None));
        Ok((records.collect::<Result<_>>()?, answer.next_page_offset))
    }
}

/// A place in the collection of a bond, as one that nobody reads.
fn left_at(place: &Place, binding: &Binding) -> Left {
    Left { dimensions: binding.space.dimensions, place: place.as_str().to_owned() }
}

/// The records as points at `target` with the embeddings of their counterparts, and how many have
/// none.
fn copies(
    records: &[Record],
    points: Vec<RetrievedPoint>,
    at: Timestamp,
    target: &Place,
) -> Result<(Vec<PointStruct>, u64)> {
    let mut counterparts = HashMap::with_capacity(points.len());
    for point in points {
        let counterpart = record::record(point.payload.clone(), None)?;
        counterparts.insert(counterpart.id.clone(), (counterpart, point));
    }
    let version = layout::token();
    let mut missing = 0;
    let mut copies = Vec::with_capacity(records.len());
    for record in records {
        match counterparts.remove(&record.id) {
            Some((counterpart, point))
                if counterpart.is_counterpart_of(record)
                    && counterpart.expires_at.is_none_or(|expires| expires > at) =>
            {
                copies.push(record::moved(point, record, target, &version));
            }
            _ => missing += 1,
        }
    }
    Ok((copies, missing))
}
