use std::borrow::Cow;

use super::argument::Argument;

pub(super) const INVOCATION: u64 = 1;
pub(super) const STREAM_ITEM: u64 = 2;
pub(super) const COMPLETION: u64 = 3;
pub(super) const STREAM_INVOCATION: u64 = 4;
pub(super) const CANCEL_INVOCATION: u64 = 5;
pub(super) const PING: u64 = 6;
pub(super) const CLOSE: u64 = 7;
pub(super) const ACK: u64 = 8;
pub(super) const SEQUENCE: u64 = 9;

/// A message from a client.
#[derive(Debug)]
pub(crate) enum Message<'r> {
    Invocation(Invocation<'r>),
    StreamItem {
        id: Cow<'r, str>,
        item: Argument<'r>,
    },
    Completion {
        id: Cow<'r, str>,
        outcome: Outcome<'r>,
    },
    Cancel {
        id: Cow<'r, str>,
    },
    Ping,
    Close {
        error: Option<Cow<'r, str>>,
    },
    Ack(u64),
    Sequence(u64),
    /// A type that a later version of the protocol may have: skipped.
    Unknown,
}

impl Message<'_> {
    /// Whether both sides number it, so that it can be sent again after a loss of the transport.
    pub(crate) const fn is_tracked(&self) -> bool {
        matches!(
            self,
            Self::Invocation(_) | Self::StreamItem { .. } | Self::Completion { .. } | Self::Cancel { .. }
        )
    }
}

#[derive(Debug)]
pub(crate) struct Invocation<'r> {
    /// `None` if no answer is wanted.
    pub(crate) id: Option<Cow<'r, str>>,
    pub(crate) target: Cow<'r, str>,
    pub(crate) arguments: Vec<Argument<'r>>,
    /// The ids of the client's own streams.
    pub(crate) stream_ids: Vec<Cow<'r, str>>,
    /// Whether the client requests a stream of items; there is an id then.
    pub(crate) streaming: bool,
}

/// How an invocation or a stream ended on the client.
#[derive(Debug)]
pub(crate) enum Outcome<'r> {
    Void,
    Value(Argument<'r>),
    Error(Cow<'r, str>),
}
