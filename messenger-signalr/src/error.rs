use std::borrow::Cow;

use super::protocol::{ArgumentError, EncodeError};

/// Why an invocation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// An error with a text for the client: a `HubException`.
    #[error("{0}")]
    Exception(Cow<'static, str>),
    /// A fault whose details are not disclosed.
    #[error("an internal fault")]
    Internal,
    /// The arguments are invalid; the text is shown if detailed errors are enabled.
    #[error("{0}")]
    Arguments(Cow<'static, str>),
    /// The client may not do that.
    #[error("not allowed")]
    Unauthorized,
    /// Not possible at the moment. A client that gets this when it connects is told to reconnect.
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
