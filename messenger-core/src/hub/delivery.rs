use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::{
    domain::{Event, Revision},
    ports::Hint,
};

/// An event on its way to many connections, with its bytes in each protocol once somebody has encoded them.
///
/// ```
/// use bytes::Bytes;
/// use messenger_core::{Event, hub::{Delivery, FrameSlot}};
///
/// const JSON: FrameSlot = FrameSlot::new(0);
/// let delivery = Delivery::new(Event::CaughtUp { position: None });
/// let first = delivery.frame(JSON, |event| Bytes::from(event.name()));
/// let again = delivery.frame(JSON, |_| unreachable!("it is encoded already"));
/// assert_eq!(first.as_ptr(), again.as_ptr());
/// ```
#[derive(Debug)]
pub struct Delivery {
    hint: Arc<Hint>,
    read: Option<Read>,
    frames: [OnceLock<Bytes>; FrameSlot::COUNT],
}

/// What is known of a change that was read from the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    /// The change that made its message.
    pub(super) created: Revision,
    /// It was read for those who had everything up to here; a message that has changed several times since comes once.
    pub(super) since: Revision,
}

/// Which protocol's bytes: each door takes a number of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameSlot(usize);

impl FrameSlot {
    /// How many protocols there may be.
    pub const COUNT: usize = 4;

    /// The slot of this number.
    ///
    /// # Panics
    /// If the number is not below [`COUNT`](Self::COUNT); in a constant, that is when compiling.
    pub const fn new(number: usize) -> Self {
        assert!(number < Self::COUNT, "there are only so many slots");
        Self(number)
    }
}

impl Delivery {
    /// An event that nobody has encoded yet.
    pub fn new(event: Event) -> Self {
        Self::of_hint(Arc::new(Hint::Event(event)))
    }

    /// The event of a hint; of one that is none, that all is up to date.
    pub(super) fn of_hint(hint: Arc<Hint>) -> Self {
        Self { hint, read: None, frames: Default::default() }
    }

    pub(super) fn of_change(event: Event, read: Read) -> Self {
        Self { read: Some(read), ..Self::new(event) }
    }

    /// The same for a client that was given the whole chat up to `given`, and was then told all changes up to `told`: a
    /// message that is new to others may be known to it.
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
            Hint::Added { .. } | Hint::SessionsEnded { .. } | Hint::Invalidate {} => {
                &Event::CaughtUp { position: None }
            }
        }
    }

    /// The event's bytes in a protocol, encoded by the first who asks and shared with all others.
    pub fn frame(&self, slot: FrameSlot, encode: impl FnOnce(&Event) -> Bytes) -> Bytes {
        self.frames[slot.0].get_or_init(|| encode(self.event())).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_encodes_for_all_in_each_protocol() {
        let delivery = Delivery::new(Event::CaughtUp { position: None });
        for (slot, bytes) in [(0, &b"text"[..]), (3, b"binary")] {
            let slot = FrameSlot::new(slot);
            let first = delivery.frame(slot, |event| {
                assert_eq!(event, &Event::CaughtUp { position: None });
                Bytes::from_static(bytes)
            });
            let again = delivery.frame(slot, |_| unreachable!("it is encoded already"));
            assert_eq!((&first[..], &again[..]), (bytes, bytes));
        }
    }
}
