use std::sync::{Arc, Mutex, PoisonError};

use messenger_core::ports::{BusEvent, BusMessage, Inbox};

/// The messages, and the bytes of messages, that may wait for a node. Messages beyond that are lost, and reported as a gap.
const MESSAGES: usize = 10_000;
const BYTES: usize = 16 << 20;

/// What precedes a message: the id of the node that published it, and that node's number of the message.
pub(crate) const HEADER: usize = 16;

/// The queue of a new subscription.
pub(crate) fn begin() -> Arc<Inbox<Payload>> {
    Inbox::begin(MESSAGES, BYTES)
}

/// A message as it came, with its header. Decoded when it is taken, not in the task that reads the connection.
#[derive(Debug)]
pub(crate) struct Payload(pub(crate) Vec<u8>);

impl From<Payload> for BusEvent {
    fn from(Payload(bytes): Payload) -> Self {
        let read = BusMessage::from_bytes(bytes.get(HEADER..).unwrap_or_default());
        // An unreadable message may have meant anything.
        read.map_or(Self::Gap, Self::Message)
    }
}

/// The header of the last message; none is all zeros, because the numbers begin at 1.
#[derive(Debug, Default)]
pub(crate) struct Last(Mutex<[u8; HEADER]>);

impl Last {
    /// Whether a message with this header is another one than the last. A message of several topics arrives once for each
    /// subscribed topic, in a row.
    pub(crate) fn is_another(&self, header: [u8; HEADER]) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *last, header) != header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_twice_in_a_row_is_one_message() {
        let last = Last::default();
        let other = [1, 1, 2, 2, 1].map(|number| last.is_another([number; HEADER]));
        assert_eq!(other, [true, false, true, false, true]);
    }

    #[tokio::test]
    async fn what_is_no_message_is_a_gap() {
        let inbox = begin();
        let mut subscription = Inbox::subscription(&inbox);
        assert_eq!(subscription.next().await, Some(BusEvent::Gap), "the first one");
        for payload in [vec![1; 3], [[2; HEADER].as_slice(), b"{}"].concat()] {
            inbox.push(Payload(payload), 0);
            assert_eq!(subscription.next().await, Some(BusEvent::Gap));
        }
    }
}
