use bytes::Bytes;

/// The longest body of a binary record that clients accept.
pub(super) const MAX_LENGTH: usize = 0x7FFF_FFFF;

/// A value encoded in one protocol, or void, which is no value.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct Payload(pub(super) Option<Bytes>);

impl Payload {
    /// The result of a method without a result.
    pub const fn void() -> Self {
        Self(None)
    }

    /// Takes a value that is already encoded in the protocol of its client.
    ///
    /// # Errors
    /// [`EncodeError`] if it is longer than the protocols allow, 2 GiB.
    pub fn encoded(bytes: Bytes) -> Result<Self, EncodeError> {
        Self::checked(bytes)
    }

    pub(super) fn checked(bytes: Bytes) -> Result<Self, EncodeError> {
        if bytes.len() > MAX_LENGTH { Err(EncodeError::new("too long")) } else { Ok(Self(Some(bytes))) }
    }

    /// The encoded value; `None` for void.
    pub const fn bytes(&self) -> Option<&Bytes> {
        self.0.as_ref()
    }

    /// The value, with `null` in place of void.
    pub(super) fn or<'p>(&'p self, null: &'p [u8]) -> &'p [u8] {
        self.0.as_deref().unwrap_or(null)
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(4, Bytes::len)
    }
}

impl std::fmt::Debug for Payload {
    /// Leaves out the content, which must not get into logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(bytes) => write!(f, "Payload({} bytes)", bytes.len()),
            None => f.write_str("Payload(void)"),
        }
    }
}

/// A value can't be represented in the encoding.
#[derive(Debug, thiserror::Error)]
#[error("the value could not be encoded")]
pub struct EncodeError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl EncodeError {
    pub(super) fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}
