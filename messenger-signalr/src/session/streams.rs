use std::task::{Context, Poll};

use futures::{StreamExt as _, stream::BoxStream};

use crate::{error::HubError, protocol::Payload};

/// Maximum number of concurrent streams to a client.
const AT_ONCE: usize = 64;

/// The streams that methods have begun.
#[derive(Default)]
pub(super) struct Streams {
    running: Vec<Running>,
    /// The stream that is polled first, so that each gets its turn.
    first: usize,
}

struct Running {
    id: String,
    method: String,
    items: BoxStream<'static, Result<Payload, HubError>>,
}

/// The next step of a stream.
pub(super) enum Step {
    Item(String, Payload),
    /// Its end, with the name of its method.
    End(String, Result<(), (String, HubError)>),
}

impl Streams {
    pub(super) fn has(&self, id: &str) -> bool {
        self.running.iter().any(|stream| stream.id == id)
    }

    pub(super) fn has_room(&self) -> bool {
        self.running.len() < AT_ONCE
    }

    pub(super) fn begin(
        &mut self,
        id: String,
        method: String,
        items: BoxStream<'static, Result<Payload, HubError>>,
    ) {
        self.running.push(Running { id, method, items });
    }

    /// Ends a stream; false if there is none with this id.
    pub(super) fn cancel(&mut self, id: &str) -> bool {
        let before = self.running.len();
        self.running.retain(|stream| stream.id != id);
        self.running.len() < before
    }

    pub(super) fn poll_next(&mut self, task: &mut Context<'_>) -> Poll<Step> {
        let count = self.running.len();
        for turn in 0..count {
            let index = (self.first + turn) % count;
            let stream = &mut self.running[index];
            let step = match stream.items.poll_next_unpin(task) {
                Poll::Ready(Some(Ok(item))) => Step::Item(stream.id.clone(), item),
                Poll::Ready(end) => {
                    let Running { id, method, .. } = self.running.swap_remove(index);
                    if self.running.is_empty() {
                        self.running = Vec::new();
                    }
                    let failed = end.and_then(Result::err);
                    Step::End(id, failed.map_or(Ok(()), |error| Err((method, error))))
                }
                Poll::Pending => continue,
            };
            self.first = index + 1;
            return Poll::Ready(step);
        }
        Poll::Pending
    }
}
