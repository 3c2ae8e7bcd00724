use std::{borrow::Cow, fmt};

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{argument_error::ArgumentError, transcode};

/// One argument, not yet decoded.
#[derive(Clone)]
pub struct Argument<'r>(Encoded<'r>);

#[derive(Clone, Copy)]
enum Encoded<'r> {
    Json(&'r RawValue),
    /// One complete value, which was checked.
    MessagePack(&'r [u8]),
}

impl<'r> Argument<'r> {
    pub(super) const fn of_json(json: &'r RawValue) -> Self {
        Self(Encoded::Json(json))
    }

    pub(super) const fn of_messagepack(value: &'r [u8]) -> Self {
        Self(Encoded::MessagePack(value))
    }

    /// The argument as JSON text, borrowed if the client sent JSON.
    ///
    /// Binary data is converted to base64 text, a timestamp to RFC 3339 text.
    ///
    /// # Errors
    ///
    /// If the client's MessagePack has values that JSON can't represent.
    pub fn json(&self) -> Result<Cow<'r, [u8]>, ArgumentError> {
        match self.0 {
            Encoded::Json(json) => Ok(Cow::Borrowed(json.get().as_bytes())),
            Encoded::MessagePack(value) => transcode::to_json(value).map(Cow::Owned),
        }
    }

    /// Deserialises a value of this type from [`Self::json`].
    ///
    /// # Errors
    ///
    /// If it is not of this type; the error does not reveal what was there instead.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ArgumentError> {
        serde_json::from_slice(&self.json()?).map_err(|_| ArgumentError::WrongType)
    }

    /// Copies the argument, so that it outlives its record.
    pub fn into_owned(self) -> OwnedArgument {
        OwnedArgument(match self.0 {
            Encoded::Json(json) => Owned::Json(json.to_owned()),
            Encoded::MessagePack(value) => Owned::MessagePack(value.into()),
        })
    }
}

impl fmt::Debug for Argument<'_> {
    /// Leaves out the content, which must not get into logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, len) = match self.0 {
            Encoded::Json(json) => ("json", json.get().len()),
            Encoded::MessagePack(value) => ("messagepack", value.len()),
        };
        write!(f, "Argument({name}, {len} bytes)")
    }
}

/// An [`Argument`] that outlives the record it came in.
#[derive(Clone)]
pub struct OwnedArgument(Owned);

#[derive(Clone)]
enum Owned {
    Json(Box<RawValue>),
    MessagePack(Box<[u8]>),
}

impl OwnedArgument {
    /// In place of a missing result.
    pub(crate) fn null() -> Self {
        Self(Owned::Json(RawValue::NULL.to_owned()))
    }

    /// The same as [`Argument::json`].
    ///
    /// # Errors
    ///
    /// The same as there.
    pub fn json(&self) -> Result<Cow<'_, [u8]>, ArgumentError> {
        self.borrowed().json()
    }

    /// The same as [`Argument::read`].
    ///
    /// # Errors
    ///
    /// The same as there.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ArgumentError> {
        self.borrowed().read()
    }

    fn borrowed(&self) -> Argument<'_> {
        match &self.0 {
            Owned::Json(json) => Argument::of_json(json),
            Owned::MessagePack(value) => Argument::of_messagepack(value),
        }
    }
}

impl fmt::Debug for OwnedArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.borrowed().fmt(f)
    }
}
