use std::borrow::Cow;

use super::protocol::{ArgumentError, EncodeError};

/// Why an invocation came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// Something that the client is told: a `HubException`.
    #[error("{0}")]
    Exception(Cow<'static, str>),
    /// A fault whose details are nobody's business.
    #[error("an internal fault")]
    Internal,
    /// The arguments don't fit; the text is shown where detailed errors are.
    #[error("{0}")]
    Arguments(Cow<'static, str>),
    /// The client may not do that.
    #[error("not allowed")]
    Unauthorized,
    /// It can't be done at the moment. A client to which that happens when it connects is told to come again.
    #[error("not available at the moment")]
    Unavailable,
}

impl HubError {
    /// An error with a text for the client.
    pub fn exception(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Exception(text.into())
    }

    /// The wrong number of arguments.
    pub fn arguments(given: usize, expected: usize) -> Self {
        let text = format!("Invocation provides {given} argument(s) but target expects {expected}.");
        Self::Arguments(text.into())
    }
}

impl From<ArgumentError> for HubError {
    fn from(error: ArgumentError) -> Self {
        Self::Arguments(error.to_string().into())
    }
}

impl From<EncodeError> for HubError {
    fn from(error: EncodeError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "a result could not be encoded");
        Self::Internal
    }
}
