//! The texts of errors, as in ASP.NET Core (`ErrorMessageHelper`, `DefaultHubDispatcher`).

use crate::error::HubError;

/// How many characters of a name are repeated to the client.
const NAME: usize = 100;

/// The errors of one method, with its name as the client wrote it.
#[derive(Clone, Copy)]
pub(super) struct Texts<'n> {
    pub(super) method: &'n str,
    pub(super) detailed: bool,
}

impl Texts<'_> {
    pub(super) fn failed(self, error: &HubError) -> String {
        let method = self.name();
        match error {
            HubError::Exception(text) => {
                format!(
                    "An unexpected error occurred invoking '{method}' on the server. HubException: {text}"
                )
            }
            HubError::Internal | HubError::Unavailable => {
                format!("An unexpected error occurred invoking '{method}' on the server.")
            }
            HubError::Arguments(text) if self.detailed => format!(
                "Failed to invoke '{method}' due to an error on the server. InvalidDataException: {text}"
            ),
            HubError::Arguments(_) => format!("Failed to invoke '{method}' due to an error on the server."),
            HubError::Unauthorized => format!("Failed to invoke '{method}' because user is unauthorized"),
        }
    }

    pub(super) fn no_such_method(self) -> String {
        let method = self.name();
        format!(
            "Failed to invoke '{method}' due to an error on the server. HubException: Method does not exist."
        )
    }

    pub(super) fn is_streaming(self) -> String {
        let method = self.name();
        format!(
            "The client attempted to invoke the streaming '{method}' method with a non-streaming invocation."
        )
    }

    pub(super) fn is_not_streaming(self) -> String {
        let method = self.name();
        format!(
            "The client attempted to invoke the non-streaming '{method}' method with a streaming invocation."
        )
    }

    pub(super) fn wrong_streams(self, sent: usize, expected: usize) -> String {
        self.failed(&HubError::exception(format!(
            "Client sent {sent} stream(s), Hub method expects {expected}."
        )))
    }

    fn name(self) -> String {
        self.method.chars().take(NAME).collect()
    }
}

/// The error of a stream that has failed.
pub(super) fn stream_failed(error: &HubError) -> String {
    match error {
        HubError::Exception(text) => {
            format!("An error occurred on the server while streaming results. HubException: {text}")
        }
        _ => "An error occurred on the server while streaming results.".to_owned(),
    }
}

pub(super) fn in_use(id: &str) -> String {
    format!("Invocation ID '{}' is already in use.", id.chars().take(NAME).collect::<String>())
}

/// The error of a connection that is ended because of a fault.
pub(super) const CLOSED_WITH_ERROR: &str = "Connection closed with an error.";
