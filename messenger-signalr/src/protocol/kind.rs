/// The encodings a client may choose in its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Text records, each ended by the byte 0x1E.
    Json,
    /// Binary records, each after its length.
    MessagePack,
}

impl Protocol {
    /// The name by which a client asks for it: `json` or `messagepack`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::MessagePack => "messagepack",
        }
    }

    /// The protocol of this name, in whatever case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Json, Self::MessagePack]
            .into_iter()
            .find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }

    /// Whether its records need a transport for bytes that are no text.
    pub const fn is_binary(self) -> bool {
        matches!(self, Self::MessagePack)
    }
}
