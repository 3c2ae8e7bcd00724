use super::tokens::Broken;

/// An argument cannot be read.
///
/// The text contains nothing of the argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgumentError {
    /// It is not of the requested type.
    #[error("the argument is of the wrong type")]
    WrongType,
    /// A number is infinite or NaN.
    #[error("a number in the argument is not finite")]
    NotFinite,
    /// An object has a key that is not text.
    #[error("a key in the argument is not text")]
    Key,
    /// A value has an extension type other than the timestamp, or is a time outside the years 0 to 9999.
    #[error("the argument has an extension type that is not supported")]
    Extension,
    /// It is not MessagePack, or nested too deeply.
    #[error("the argument is not valid MessagePack")]
    MessagePack,
}

impl From<Broken> for ArgumentError {
    fn from(Broken: Broken) -> Self {
        Self::MessagePack
    }
}
