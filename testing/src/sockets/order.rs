//! Whether the messages of a chat come to a socket in their order, and each of them once.

use super::wire::Wire;

/// What came to one socket, which hears of one chat.
#[derive(Debug)]
pub struct Order {
    wire: Wire,
    last: Option<u64>,
    /// Where the number was in the last event, which is where it mostly is: a search would cost the clients, who share
    /// the machine with the server, more than all else that they do with an event.
    place: usize,
}

impl Order {
    /// To which nothing has come yet.
    pub fn new(wire: Wire) -> Self {
        Self { wire, last: None, place: 0 }
    }

    /// Whether this event has the message that follows the one before.
    pub fn follows(&mut self, event: &[u8]) -> bool {
        let Some(seq) = self.seq(event) else { return false };
        let last = self.last.replace(seq);
        last.is_none_or(|last| seq == last + 1)
    }

    fn seq(&mut self, event: &[u8]) -> Option<u64> {
        let key = self.wire.seq_key();
        if !event.get(self.place..).is_some_and(|rest| rest.starts_with(key)) {
            self.place = event.windows(key.len()).position(|some| some == key)?;
        }
        self.wire.number(&event[self.place + key.len()..])
    }
}
