//! From side to side.

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use memquill_core::{Error, Facet, Result, Scope};
use tokio::sync::mpsc;

use crate::batch::{Batch, Moved, Progress, Taken};
use crate::endpoint::{Endpoint, UserSelection};
use crate::left_out::Omission;
use crate::walk::{Container, Visitor, walk};

/// Batches that are read ahead while one is written.
const AHEAD: usize = 2;

/// Batches of records or entries that are written at once: a store is at work on one while the next
/// is made ready. Messages are written one batch after the other, each behind those before.
const AT_ONCE: usize = 2;

/// How to copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopyOptions {
    /// Whether records and entries take the place of what is there and differs.
    pub overwrite: bool,
    /// Whether the first item that cannot be taken ends the copy; otherwise it is left out.
    pub strict: bool,
}

/// Copies what `whose` users hold in `from` into `to`, which offers every facet of `from`, and
/// reports what it left out.
///
/// What is there already and identical stays as it is, so that an interrupted copy is repeated to
/// complete it. What is there and differs is `Conflict`, unless records and entries are to be
/// overwritten; a conversation that went on in the target is always `Conflict`. Such an item is
/// left out, and the others are taken, unless the copy is strict.
pub async fn copy(
    from: &Endpoint,
    to: &Endpoint,
    whose: &UserSelection,
    options: CopyOptions,
    progress: Progress<'_>,
) -> Result<Moved> {
    to.must_take(from)?;
    let (sender, mut receiver) = mpsc::channel(AHEAD);
    // The sender goes with the reading, at whose end the writing ends.
    let reading = async move {
        let mut ahead = Ahead(sender);
        walk(from, whose, &mut ahead).await
    };
    let writing = async move {
        let (mut moved, mut under_way) = (Moved::default(), FuturesUnordered::new());
        let (mut all_read, mut in_order) = (false, false);
        let mut lost: Option<(Scope, Facet, String)> = None;
        loop {
            let room = !all_read && !in_order && under_way.len() < AT_ONCE;
            tokio::select! {
                Some(done) = under_way.next() => {
                    let (scope, batch, taken): (Scope, Batch, Taken) = done?;
                    in_order &= batch.facet() != Facet::Conversations;
                    moved.add(batch.counts(), taken.restored);
                    progress(batch.counts().total());
                    // Two batches of one container may be under way; it is reported once.
                    if !is_of(lost.as_ref(), &scope, &batch) {
                        for (_, error) in &taken.left_out {
                            moved.left_out.add(Omission::of(error));
                        }
                    }
                    if taken.lost {
                        let (facet, name) = batch.container();
                        lost = Some((scope, facet, name.to_owned()));
                    }
                }
                next = receiver.recv(), if room => match next {
                    Some((scope, batch)) if is_of(lost.as_ref(), &scope, &batch) => {
                        moved.read.add(batch.counts());
                        progress(batch.counts().total());
                    }
                    Some((scope, mut batch)) => {
                        set_overwrite(&mut batch, options.overwrite);
                        in_order = batch.facet() == Facet::Conversations;
                        under_way.push(async move {
                            let taken = if options.strict {
                                batch.restore(&scope, to).await?.into()
                            } else {
                                batch.restore_what_can(&scope, to).await?
                            };
                            Ok::<_, Error>((scope, batch, taken))
                        });
                    }
                    None => all_read = true,
                },
                else => return Ok(moved),
            }
        }
    };
    let (read, moved): (Result<()>, Result<Moved>) = tokio::join!(reading, writing);
    // Where writing failed, reading found nobody to hand on to: the cause is the other's.
    let moved = moved?;
    read?;
    Ok(moved)
}

/// Whether a batch is of the container that cannot be taken.
fn is_of(lost: Option<&(Scope, Facet, String)>, scope: &Scope, batch: &Batch) -> bool {
    lost.is_some_and(|(of, facet, name)| {
        of == scope && batch.container() == (*facet, name.as_str())
    })
}

pub(crate) fn set_overwrite(batch: &mut Batch, to: bool) {
    match batch {
        Batch::Messages(_) => {}
        Batch::Records(request) => request.overwrite = to,
        Batch::Entries(request) => request.overwrite = to,
    }
}

struct Ahead(mpsc::Sender<(Scope, Batch)>);

#[async_trait]
impl Visitor for Ahead {
    async fn container(&mut self, _: &Scope, _: &Container) -> Result<bool> {
        Ok(true)
    }

    async fn batch(&mut self, scope: &Scope, batch: Batch) -> Result<()> {
        let sent = self.0.send((scope.clone(), batch)).await;
        sent.map_err(|_| Error::internal("the writing side has stopped"))
    }
}
