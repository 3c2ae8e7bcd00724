//! What the lanes of sends and of marks do with a batch.

use std::sync::Arc;

use super::dispatch::Dispatcher;
use crate::{
    announcements::{self, SentMessage},
    lanes::{LaneLimits, Lanes},
    ports::{MarkerMoved, MoveMarker, NewMessage, Store},
    tasks::TaskGroup,
};

pub(super) fn start_sends(
    limits: LaneLimits,
    store: &Arc<dyn Store>,
    dispatcher: &Dispatcher,
    tasks: &TaskGroup,
) -> Lanes<NewMessage, SentMessage> {
    let (store, dispatcher) = (Arc::clone(store), dispatcher.clone());
    let sizes = metrics::histogram!("messenger_send_batch_size");
    Lanes::start(limits, tasks, move |lane, batch: Arc<[NewMessage]>| {
        let (store, queue) = (Arc::clone(&store), dispatcher.lane(lane));
        sizes.record(batch.len() as f64);
        async move {
            let appended = match store.append_messages(&batch).await {
                Ok(appended) => appended,
                Err(error) => {
                    // The messages may be stored although the answer was lost.
                    let _ = queue.send(announcements::append_in_doubt(&batch)).await;
                    return Err(error);
                }
            };
            let (answers, messages) = announcements::appended(appended);
            let _ = queue.send(messages).await;
            Ok(answers)
        }
    })
}

pub(super) fn start_marks(
    limits: LaneLimits,
    ephemeral_members: usize,
    store: &Arc<dyn Store>,
    dispatcher: &Dispatcher,
    tasks: &TaskGroup,
) -> Lanes<MoveMarker, MarkerMoved> {
    let (store, dispatcher) = (Arc::clone(store), dispatcher.clone());
    Lanes::start(limits, tasks, move |lane, batch: Arc<[MoveMarker]>| {
        let (store, queue) = (Arc::clone(&store), dispatcher.lane(lane));
        async move {
            let answers = store.move_markers(&batch).await?;
            let messages = announcements::marks_moved(&batch, &answers, ephemeral_members);
            if !messages.is_empty() {
                let _ = queue.send(messages).await;
            }
            Ok(answers)
        }
    })
}
