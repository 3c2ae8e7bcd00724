use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use messenger_core::ports::{BusEvent, BusMessage, Inbox};

/// The messages, and the bytes of messages, that may wait for a node. Messages beyond that are lost, and reported as a gap.
const MESSAGES: usize = 10_000;
const BYTES: usize = 16 << 20;

/// What precedes the messages of a payload, one in each line: the id of the node that published it, and that node's number
/// of the payload.
pub(crate) const HEADER: usize = 16;

/// The bytes after which a payload takes no more messages, so that none is much to hold for who takes it slowly.
const PAYLOAD: usize = 64 << 10;

/// The queue of a new subscription.
pub(crate) fn begin() -> Arc<Inbox<Line>> {
    Inbox::begin(MESSAGES, BYTES)
}

/// A message as it came. Decoded when it is taken, not in the task that reads the connection.
#[derive(Debug)]
pub(crate) struct Line(Bytes);

impl From<Line> for BusEvent {
    fn from(Line(bytes): Line) -> Self {
        // An unreadable message may have meant anything.
        BusMessage::from_bytes(&bytes).map_or(Self::Gap, Self::Message)
    }
}

/// A payload with as many of these messages as fit, and those that are left.
pub(crate) fn payload(header: [u8; HEADER], messages: &[BusMessage]) -> (Vec<u8>, &[BusMessage]) {
    let mut payload = Vec::with_capacity(1024);
    payload.extend(header);
    let mut left = messages;
    while let Some((message, rest)) = left.split_first()
        && payload.len() < PAYLOAD
    {
        if payload.len() > HEADER {
            payload.push(b'\n');
        }
        message.append_to(&mut payload);
        left = rest;
    }
    (payload, left)
}

/// The messages of a payload, and how many bytes each has.
pub(crate) fn lines(payload: Vec<u8>) -> impl Iterator<Item = (Line, usize)> {
    let mut rest = Some(Bytes::from(payload).slice(HEADER..));
    std::iter::from_fn(move || {
        let mut line = rest.take()?;
        if let Some(end) = line.iter().position(|&byte| byte == b'\n') {
            rest = Some(line.split_off(end).slice(1..));
        }
        let bytes = line.len();
        Some((Line(line), bytes))
    })
}

/// The header of the last payload; none is all zeros, because the numbers begin at 1.
#[derive(Debug, Default)]
pub(crate) struct Last(Mutex<[u8; HEADER]>);

impl Last {
    /// Whether a payload with this header is another one than the last. One for several topics arrives once for each
    /// subscribed topic, in a row.
    pub(crate) fn is_another(&self, header: [u8; HEADER]) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *last, header) != header
    }
}

#[cfg(test)]
mod tests {
    use messenger_core::{
        domain::{SessionId, UserId},
        ports::{Hint, Topic},
    };

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
        for text in [&b""[..], b"{}"] {
            inbox.push_if(lines([[2; HEADER].as_slice(), text].concat()), || true);
            assert_eq!(subscription.next().await, Some(BusEvent::Gap));
        }
    }

    #[tokio::test]
    async fn what_is_put_in_payloads_comes_out_of_them() {
        let topics = vec![Topic::Nodes];
        let message = |n: usize| {
            let sessions = vec![SessionId::from_bytes([n as u8; 16]); n];
            let hint = Hint::SessionsEnded { user: UserId::from_bytes([0; 16]), sessions };
            BusMessage { topics: topics.clone(), hint: Arc::new(hint) }
        };
        let all: Vec<_> = (0..300).map(message).collect();
        let (mut left, mut payloads, mut read) = (&all[..], 0, vec![]);
        while !left.is_empty() {
            let (written, rest) = payload([7; HEADER], left);
            // Two bytes over the bound come from the last message, which is never cut.
            assert!(written.len() < PAYLOAD + all[299].to_bytes().len() + 2);
            let inbox = begin();
            let mut subscription = Inbox::subscription(&inbox);
            let bytes: usize = lines(written.clone()).map(|(_, bytes)| bytes).sum();
            assert_eq!(bytes + (left.len() - rest.len()) - 1 + HEADER, written.len(), "all but line breaks");
            inbox.push_if(lines(written), || true);
            inbox.end();
            assert_eq!(subscription.next().await, Some(BusEvent::Gap), "the first one");
            while let Some(event) = subscription.next().await {
                let BusEvent::Message(message) = event else { panic!("{event:?}") };
                read.push(message);
            }
            (left, payloads) = (rest, payloads + 1);
        }
        assert_eq!(read, all);
        assert!((10..40).contains(&payloads), "{payloads}");
    }
}
