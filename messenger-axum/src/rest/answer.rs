//! The body of an answer: in pieces, which are let go of as the client takes them.

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

/// A shorter answer is never refused: it is about what the connection itself holds.
const SHORT: usize = 64 * 1024;

/// The body that gives a client these pieces. `refusable` says whether nothing is lost if it is not given.
///
/// # Errors
/// `rateLimited` or `unavailable` if the client, or all together, have left too much untaken.
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

/// An answer on its way.
struct Outgoing {
    /// Until the last piece was taken.
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
