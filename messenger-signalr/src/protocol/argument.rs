use std::{borrow::Cow, fmt};

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{argument_error::ArgumentError, transcode};

/// One argument, not yet read.
#[derive(Clone)]
pub struct Argument<'r>(Encoded<'r>);

#[derive(Clone, Copy)]
enum Encoded<'r> {
    Json(&'r RawValue),
    /// One whole value, which was looked through.
    MessagePack(&'r [u8]),
}

impl<'r> Argument<'r> {
    pub(super) const fn of_json(json: &'r RawValue) -> Self {
        Self(Encoded::Json(json))
    }

    pub(super) const fn of_messagepack(value: &'r [u8]) -> Self {
        Self(Encoded::MessagePack(value))
    }

    /// As JSON text, borrowed if that is what the client sent.
    ///
    /// Binary data becomes base64 text, a timestamp text of RFC 3339.
    ///
    /// # Errors
    ///
    /// If the client's MessagePack has what JSON cannot say.
    pub fn json(&self) -> Result<Cow<'r, [u8]>, ArgumentError> {
        match self.0 {
            Encoded::Json(json) => Ok(Cow::Borrowed(json.get().as_bytes())),
            Encoded::MessagePack(value) => transcode::to_json(value).map(Cow::Owned),
        }
    }

    /// As a value of this type, by way of [`Self::json`].
    ///
    /// # Errors
    ///
    /// If it is not one; the error does not tell what was there instead.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ArgumentError> {
        serde_json::from_slice(&self.json()?).map_err(|_| ArgumentError::WrongType)
    }

    /// For what outlives its record.
    pub fn into_owned(self) -> OwnedArgument {
        OwnedArgument(match self.0 {
            Encoded::Json(json) => Owned::Json(json.to_owned()),
            Encoded::MessagePack(value) => Owned::MessagePack(value.into()),
        })
    }
}

impl fmt::Debug for Argument<'_> {
    /// Without the content, which is not for logs.
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
    /// What stands for a result that is none.
    pub(crate) fn null() -> Self {
        Self(Owned::Json(RawValue::NULL.to_owned()))
    }

    /// As [`Argument::json`].
    ///
    /// # Errors
    ///
    /// The same.
    pub fn json(&self) -> Result<Cow<'_, [u8]>, ArgumentError> {
        self.borrowed().json()
    }

    /// As [`Argument::read`].
    ///
    /// # Errors
    ///
    /// The same.
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
