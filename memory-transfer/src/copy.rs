//! From side to side.

use async_trait::async_trait;
use memory_core::{Error, Result, Scope};
use tokio::sync::mpsc;

use crate::batch::{Batch, Moved, Progress};
use crate::side::{Side, Whose};
use crate::walk::{Container, Visitor, walk};

/// Batches that are read ahead while one is written.
const AHEAD: usize = 2;

/// Copies what `whose` users hold in `from` into `to`, which offers every facet of `from`.
///
/// What is there already and identical stays as it is, so that an interrupted copy is repeated to
/// complete it. What is there and differs is `Conflict`, unless records and entries are to be
/// overwritten; a conversation that went on in the target is always `Conflict`.
pub async fn copy(
    from: &Side,
    to: &Side,
    whose: &Whose,
    overwrite: bool,
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
        let mut moved = Moved::default();
        while let Some((scope, mut batch)) = receiver.recv().await {
            set_overwrite(&mut batch, overwrite);
            let counts = batch.counts();
            moved.add(counts, batch.restore(&scope, to).await?);
            progress(counts.total());
        }
        Ok(moved)
    };
    let (read, moved): (Result<()>, Result<Moved>) = tokio::join!(reading, writing);
    // Where writing failed, reading found nobody to hand on to: the cause is the other's.
    let moved = moved?;
    read?;
    Ok(moved)
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
