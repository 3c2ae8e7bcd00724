//! The body of an answer: in pieces, each released as the client reads it.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use messenger_core::Result;

use crate::{
    admission::{Lost, Place, Places},
    client::Client,
};

/// A shorter answer is never refused: it is no longer than what the connection itself buffers.
const SHORT: usize = 64 * 1024;

/// Makes the body that sends these pieces to a client. `refusable` says whether nothing is lost if it is not sent.
///
/// # Errors
/// `rateLimited` or `unavailable` if the client, or all clients together, have left too much unread.
pub(super) fn body(
    places: &Arc<Places>,
    client: Client,
    pieces: VecDeque<Bytes>,
    refusable: bool,
) -> Result<Body> {
    let left = pieces.iter().map(Bytes::len).sum();
    let place = if refusable && left > SHORT {
        places.enter(client, pieces)?
    } else {
        places.enter_anyway(client, pieces)
    };
    Ok(Body::new(Outgoing { place: Some(place), left }))
}

/// An answer being sent.
struct Outgoing {
    /// Held until the last piece was sent.
    place: Option<Place>,
    left: usize,
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = Lost;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Lost>>> {
        let piece = match self.place.as_mut().map(Place::next_piece) {
            Some(Ok(Some(piece))) => piece,
            Some(Err(lost)) => {
                self.place = None;
                return Poll::Ready(Some(Err(lost)));
            }
            Some(Ok(None)) | None => return Poll::Ready(None),
        };
        self.left -= piece.len();
        if self.left == 0 {
            self.place = None;
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}
