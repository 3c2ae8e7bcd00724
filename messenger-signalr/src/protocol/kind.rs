/// The encodings a client may choose in its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Text records, each terminated by the byte 0x1E.
    Json,
    /// Binary records, each prefixed by its length.
    MessagePack,
}

impl Protocol {
    /// The name with which a client requests it: `json` or `messagepack`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::MessagePack => "messagepack",
        }
    }

    /// The protocol with this name, in any case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Json, Self::MessagePack]
            .into_iter()
            .find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }

    /// Whether its records need a transport for binary data.
    pub const fn is_binary(self) -> bool {
        matches!(self, Self::MessagePack)
    }
}
