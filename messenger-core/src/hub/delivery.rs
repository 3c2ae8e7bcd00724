use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;

use crate::{
    domain::{Event, Revision},
    ports::Hint,
};

/// An event for delivery to many connections, with its bytes in each protocol once they are encoded.
///
/// ```
/// use bytes::Bytes;
/// use messenger_core::{Event, hub::{Delivery, FrameEncoder}};
///
/// static NAMES: FrameEncoder = FrameEncoder::new(|event| Bytes::from(event.name()));
/// let delivery = Delivery::new(Event::CaughtUp { position: None });
/// let first = delivery.frame(&NAMES);
/// let again = delivery.frame(&NAMES);
/// assert_eq!(first.as_ptr(), again.as_ptr());
/// ```
#[derive(Debug)]
pub struct Delivery {
    hint: Arc<Hint>,
    read: Option<Read>,
    frames: [OnceLock<Bytes>; FrameEncoder::SHARED],
}

/// Details of a change that was read from the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    /// The revision that created its message.
    pub(super) created: Revision,
    /// It was read for connections that had everything up to here; a message that has changed several times since then
    /// comes once.
    pub(super) since: Revision,
}

/// Encodes events for the sockets of one protocol. It belongs in a `static`: an event keeps the bytes of each encoder,
/// and an encoder is referred to by its `static` and not by a number, so no socket is ever given the bytes of another
/// protocol.
///
/// The first [`SHARED`](Self::SHARED) encoders used in a process encode each event once, for all sockets. Others work
/// as well, but encode for each socket anew.
#[derive(Debug)]
pub struct FrameEncoder {
    encode: fn(&Event) -> Bytes,
    /// The slot in which an event keeps this encoder's bytes; assigned on first use.
    slot: OnceLock<usize>,
}

impl FrameEncoder {
    /// How many encoders of a process share their encoded bytes.
    pub const SHARED: usize = 4;

    /// Makes an encoder of this function.
    pub const fn new(encode: fn(&Event) -> Bytes) -> Self {
        Self { encode, slot: OnceLock::new() }
    }

    fn slot(&self) -> usize {
        static USED: AtomicUsize = AtomicUsize::new(0);
        *self.slot.get_or_init(|| {
            let slot = USED.fetch_add(1, Ordering::Relaxed);
            if slot == Self::SHARED {
                tracing::warn!(
                    "more than {slot} encoders of events are used; the last encodes for each socket anew"
                );
            }
            slot
        })
    }
}

impl Delivery {
    /// Wraps an event that is not encoded yet.
    pub fn new(event: Event) -> Self {
        Self::of_hint(Arc::new(Hint::Event(event)))
    }

    /// The event of a hint; for a hint without an event, [`Event::CaughtUp`].
    pub(super) fn of_hint(hint: Arc<Hint>) -> Self {
        Self { hint, read: None, frames: Default::default() }
    }

    pub(super) fn of_change(event: Event, read: Read) -> Self {
        Self { read: Some(read), ..Self::new(event) }
    }

    /// The same delivery for a client that was given the whole chat up to `given`, and was then told all changes up to
    /// `told`: a message that is new to others may be known to this client.
    pub(super) fn for_one_who_has(self: Arc<Self>, given: Revision, told: Revision) -> Arc<Self> {
        match (self.event(), self.read) {
            (Event::MessageCreated(change), Some(Read { created, since }))
                if created <= given.max(told.min(since)) =>
            {
                Arc::new(Self::new(Event::MessageEdited(change.clone())))
            }
            _ => self,
        }
    }

    /// The event.
    pub fn event(&self) -> &Event {
        match &*self.hint {
            Hint::Event(event) => event,
            Hint::Added { .. } | Hint::SessionsEnded { .. } | Hint::Sealed(_) | Hint::Invalidate {} => {
                &Event::CaughtUp { position: None }
            }
        }
    }

    /// Returns the event's bytes in a protocol, encoded on first use and then shared.
    pub fn frame(&self, encoder: &'static FrameEncoder) -> Bytes {
        match self.frames.get(encoder.slot()) {
            Some(frame) => frame.get_or_init(|| (encoder.encode)(self.event())).clone(),
            None => (encoder.encode)(self.event()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &'static [u8], times: &AtomicUsize) -> Bytes {
        times.fetch_add(1, Ordering::Relaxed);
        Bytes::from_static(text)
    }

    #[test]
    fn each_encodes_once_for_all_and_those_beyond_the_last_place_for_each() {
        static TIMES: [AtomicUsize; 6] = [const { AtomicUsize::new(0) }; 6];
        static ENCODERS: [FrameEncoder; 6] = [
            FrameEncoder::new(|_| counted(b"one", &TIMES[0])),
            FrameEncoder::new(|_| counted(b"two", &TIMES[1])),
            FrameEncoder::new(|_| counted(b"three", &TIMES[2])),
            FrameEncoder::new(|_| counted(b"four", &TIMES[3])),
            FrameEncoder::new(|_| counted(b"five", &TIMES[4])),
            FrameEncoder::new(|_| counted(b"six", &TIMES[5])),
        ];
        let delivery = Delivery::new(Event::CaughtUp { position: None });
        for _ in 0..3 {
            let frames = ENCODERS.each_ref().map(|encoder| delivery.frame(encoder));
            assert_eq!(frames, [&b"one"[..], b"two", b"three", b"four", b"five", b"six"]);
        }
        // Other tests of this process may have taken some of the slots.
        let encoded = TIMES.each_ref().map(|times| times.load(Ordering::Relaxed));
        assert!(encoded.iter().all(|times| [1, 3].contains(times)), "{encoded:?}");
        assert!(encoded.iter().filter(|times| **times == 1).count() <= FrameEncoder::SHARED, "{encoded:?}");
    }
}
