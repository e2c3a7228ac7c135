//! A namespace takes the embeddings of another (V13).
//!
//! A namespace's binding says where its records are. So what the namespace is to hold is copied to a
//! place that nobody reads yet, and then the binding is changed: one step, for every reader, the
//! *switch*. Until then both namespaces are *locked*, which takes two things. Their bindings get
//! other tokens, so that a writer who did not know finds at its end that nothing counts as written;
//! and their records are *claimed*, so that no deleter counts one that is copied. Both wait, or are
//! told to repeat the call.
//!
//! A reader who remembers the former binding reads at the former place. It finds records that are
//! claimed, or none, and looks the binding up. So that no answer is of records half removed, they
//! stay for a moment after the switch; see [`GRACE_PERIOD`].
//!
//! A lock is a lease: its holder renews it until it is done. Whoever waits for it and sees the same
//! lease for as long as leases last, by its own clock, undoes it: its holder has died. The places
//! that may then hold copies which nobody reads are the binding's *orphans*.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use memquill_core::{Error, Rebind, Record, Result, Scope, Timestamp, conflict};
use qdrant_client::qdrant::{
    PointId, PointStruct, RetrievedPoint, ScrollPoints, UpdateMode, Value,
};

use super::store::{MAX_ATTEMPTS, contended};
use super::{GRACE_PERIOD, record_fields, vectors};
use crate::bindings::{Binding, Orphan, whole_payload};
use crate::codec;
use crate::codec::payload;
use crate::filter;
use crate::layout::{self, DENSE, Namespace, Place, SPARSE, field};
use crate::store::{Store, now};
use crate::transport::{Write, or_empty};

/// How long a writer waits for a rebinding that is alive.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// How long a writer sleeps before it looks again, at least.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Renewals of a lease in the time that it lasts.
const RENEWALS: u32 = 10;

/// Records that are copied at once.
const PAGE_SIZE: u32 = 250;

/// A namespace that this call has locked.
struct Locked {
    namespace: Namespace,
    binding: Binding,
    place: Place,
}

impl Store {
    pub(super) async fn rebind_namespace(&self, scope: &Scope, request: &Rebind) -> Result<u64> {
        let namespace = Namespace::of(scope, &request.namespace);
        let from = self.lock(scope, &request.from, &[]).await?;
        let target = Place::new(from.place.collection.clone(), &namespace, &layout::token());
        let locked = OnceLock::new();
        let switch = async {
            self.claim(&from.place, payload::moment(now())).await?;
            let orphans = [orphan(&target, &from.binding)];
            let lock = self.lock(scope, &request.namespace, &orphans).await?;
            let lock = locked.get_or_init(|| lock);
            let switch = async {
                self.claim(&lock.place, payload::moment(now())).await?;
                self.switch(request, lock, &from, &target).await
            };
            self.renewing(&lock.namespace, &lock.binding, switch).await
        };
        match self.renewing(&from.namespace, &from.binding, switch).await {
            Ok(count) => {
                let cleaned = self.remove_former(&namespace, &from).await;
                cleaned.map(|()| count).map_err(|error| error.with_maybe_applied(true))
            }
            Err(error) => {
                if let Err(error) = self.undo(locked.get(), &from, &target).await {
                    tracing::warn!(target: memquill_core::layer::TARGET, %error, "a rebinding is left to others to undo");
                }
                Err(error)
            }
        }
    }

    /// Undoes a rebinding that failed. What this cannot undo, others do when the leases end.
    async fn undo(&self, locked: Option<&Locked>, from: &Locked, target: &Place) -> Result<()> {
        if let Some(locked) = locked {
            self.release(&locked.namespace, &locked.binding).await?;
            self.remove_copies(locked, target).await?;
        }
        self.release(&from.namespace, &from.binding).await
    }

    /// Removes the copies, unless the switch happened, or still may: its answer may have been lost.
    async fn remove_copies(&self, locked: &Locked, target: &Place) -> Result<()> {
        let now = self.binding(&locked.namespace).await?;
        let switched = |now: Binding| {
            now.token == locked.binding.token || now.generation == target.generation()
        };
        if now.is_some_and(switched) {
            return Ok(());
        }
        self.remove(&target.collection, filter::all(target)).await
    }

    /// Copies the records, and changes the binding.
    async fn switch(
        &self,
        request: &Rebind,
        locked: &Locked,
        from: &Locked,
        target: &Place,
    ) -> Result<u64> {
        let count = self.copy(request, locked, from, target).await?;
        let moved = Binding {
            space: from.binding.space.clone(),
            origin: locked.binding.origin.clone(),
            generation: target.generation().to_owned(),
            token: layout::token(),
            lease: None,
            orphans: vec![orphan(&locked.place, &locked.binding)],
        };
        if self.registry().change(&locked.namespace, &locked.binding, &moved).await? {
            return Ok(count);
        }
        Err(contended())
    }

    /// Removes the other namespace and the former records, after the switch.
    async fn remove_former(&self, namespace: &Namespace, from: &Locked) -> Result<()> {
        self.delete_namespace(&from.namespace).await?;
        match self.binding(namespace).await? {
            Some(binding) => self.clean_up(namespace, &binding).await,
            None => Ok(()),
        }
    }

    /// Reads the binding of a namespace that nobody is rebinding.
    pub(super) async fn writable(&self, namespace: &Namespace) -> Result<Option<Binding>> {
        let start = Instant::now();
        let mut first = None;
        loop {
            let Some(binding) = self.binding(namespace).await? else { return Ok(None) };
            if binding.lease.is_none() {
                return Ok(Some(binding));
            }
            let lease = (binding.token.clone(), binding.lease);
            let renewed = *first.get_or_insert_with(|| lease.clone()) != lease;
            if self.has_expired(namespace, &binding) {
                self.release(namespace, &binding).await?;
            } else if renewed && start.elapsed() > MAX_WAIT {
                return Err(Error::unavailable("the namespace is being bound to another space")
                    .with_hint("repeat the call"));
            } else {
                tokio::time::sleep(POLL_INTERVAL.max(start.elapsed() / 20)).await;
            }
        }
    }

    /// Cleans up after a rebinding. Where it may still be at work, this waits until it renews its
    /// lease, or the lease ends.
    pub(crate) async fn clean_up(&self, namespace: &Namespace, binding: &Binding) -> Result<()> {
        if binding.lease.is_some() {
            let start = Instant::now();
            while !self.has_expired(namespace, binding) {
                tokio::time::sleep(POLL_INTERVAL.max(start.elapsed() / 20)).await;
                let now = self.binding(namespace).await?;
                if now.as_ref() != Some(binding) {
                    return Ok(());
                }
            }
            return self.release(namespace, binding).await;
        }
        if binding.orphans.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(GRACE_PERIOD).await;
        self.remove_orphans(binding).await?;
        let clean = Binding { orphans: Vec::new(), ..binding.clone() };
        self.registry().change(namespace, binding, &clean).await.map(drop)
    }

    /// Removes the records at places that nobody reads.
    pub(super) async fn remove_orphans(&self, binding: &Binding) -> Result<()> {
        for Orphan { dimensions, place } in &binding.orphans {
            let collection = layout::collection(&self.prefix, *dimensions);
            or_empty(self.remove(&collection, filter::at(place)).await)?;
        }
        Ok(())
    }

    /// Locks a namespace against writers. `orphans` are the places that its records are to be copied
    /// to.
    async fn lock(&self, scope: &Scope, name: &str, orphans: &[Orphan]) -> Result<Locked> {
        let namespace = Namespace::of(scope, name);
        for _ in 0..MAX_ATTEMPTS {
            let Some(known) = self.writable(&namespace).await? else {
                return Err(conflict::no_namespace(name));
            };
            if !known.orphans.is_empty() {
                self.clean_up(&namespace, &known).await?;
                continue;
            }
            let binding = Binding {
                token: layout::token(),
                lease: Some(0),
                orphans: orphans.to_vec(),
                ..known.clone()
            };
            if self.registry().change(&namespace, &known, &binding).await? {
                let place = self.place(&namespace, &binding);
                return Ok(Locked { namespace, binding, place });
            }
        }
        Err(contended())
    }

    /// Does the work of a lease's holder, and renews the lease meanwhile.
    async fn renewing<T>(
        &self,
        namespace: &Namespace,
        binding: &Binding,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let renewals = async {
            let mut renewed = binding.clone();
            loop {
                tokio::time::sleep(self.lease / RENEWALS).await;
                renewed.lease = renewed.lease.map(|number| number + 1);
                match self.registry().change(namespace, binding, &renewed).await {
                    Ok(true) => {}
                    Ok(false) => {
                        // The lease is lost, unless the work has just ended it itself.
                        tokio::time::sleep(self.lease / 2).await;
                        return contended();
                    }
                    // The next renewal may be in time.
                    Err(error) if error.is_transient() => {}
                    Err(error) => return error,
                }
            }
        };
        tokio::select! {
            biased;
            done = work => done,
            lost = renewals => Err(lost),
        }
    }

    /// Claims the records of a place, or releases them.
    async fn claim(&self, place: &Place, since: Value) -> Result<()> {
        let payload = payload::payload([
            (field::CLAIMED, since),
            (field::VERSION, payload::text(layout::token())),
        ]);
        let write = Write::set_payload(&place.collection, filter::all(place), payload);
        self.transport.write(write).await
    }

    /// Unlocks a namespace, unless somebody else did, or its binding was changed.
    async fn release(&self, namespace: &Namespace, binding: &Binding) -> Result<()> {
        // The holder may still be at work, and must not switch from here on.
        let mine = Binding { token: layout::token(), lease: Some(0), ..binding.clone() };
        if !self.registry().change(namespace, binding, &mine).await? {
            return Ok(());
        }
        let open =
            Binding { token: layout::token(), lease: None, orphans: Vec::new(), ..mine.clone() };
        let undone = async {
            self.remove_orphans(&mine).await?;
            self.claim(&self.place(namespace, &mine), payload::nothing()).await?;
            self.registry().change(namespace, &mine, &open).await.map(drop)
        };
        self.renewing(namespace, &mine, undone).await
    }

    /// Copies the namespace's records with the other's embeddings, and counts them; `Conflict` if
    /// some have no counterpart.
    async fn copy(
        &self,
        request: &Rebind,
        locked: &Locked,
        from: &Locked,
        target: &Place,
    ) -> Result<u64> {
        let at = now();
        let (mut count, mut missing) = (0, 0);
        let mut offset = None;
        loop {
            let (records, next) = self.page(&locked.place, at, offset).await?;
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
            return Err(conflict::counterparts_missing(request, missing));
        }
        Ok(count)
    }

    /// Reads a page of the living records of a place.
    async fn page(
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
                limit: Some(PAGE_SIZE),
                with_payload: Some(record_fields(false)),
                ..ScrollPoints::default()
            })
            .await?;
        let records = answer.result.into_iter().map(|point| codec::record(point.payload, None));
        Ok((records.collect::<Result<_>>()?, answer.next_page_offset))
    }
}

/// A place in the collection of a binding, as an orphan.
fn orphan(place: &Place, binding: &Binding) -> Orphan {
    Orphan { dimensions: binding.space.dimensions, place: place.as_str().to_owned() }
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
        let counterpart = codec::record(point.payload.clone(), None)?;
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
                copies.push(codec::moved(point, record, target, &version));
            }
            _ => missing += 1,
        }
    }
    Ok((copies, missing))
}
