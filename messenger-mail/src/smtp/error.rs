use std::fmt;

use messenger_core::ports::{NotifyError, Refusal, Refused};

use crate::text::without;

/// What went wrong with a mail server, and where. It shows what the server said, and no address.
#[derive(Debug)]
pub struct SmtpError {
    pub(super) stage: Stage,
    pub(super) cause: Cause,
}

/// The steps of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Finding the server and reaching it; with TLS from the first byte on, and the greeting, for `smtps`.
    Connect,
    Hello,
    StartTls,
    /// Getting a token.
    Token,
    LogIn,
    From,
    To,
    Data,
    /// The mail itself, and the server's answer to it.
    Content,
    Reset,
}

#[derive(Debug)]
pub(super) enum Cause {
    /// A refusal, for now or for good.
    Reply {
        code: u16,
        text: String,
    },
    TimedOut,
    /// The connection failed, or was lost.
    Lost(Box<dyn std::error::Error + Send + Sync>),
    /// What was said is not SMTP.
    NotSmtp,
    /// The server has not what is needed.
    Lacks(&'static str),
}

impl SmtpError {
    pub(super) const fn new(stage: Stage, cause: Cause) -> Self {
        Self { stage, cause }
    }

    /// Of lettre's error, without `address`.
    pub(super) fn of(stage: Stage, error: lettre::transport::smtp::Error, address: &str) -> Self {
        let cause = match error.status() {
            Some(code) => {
                let text = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                Cause::Reply { code: code.into(), text: without(&text, address) }
            }
            // Both may quote what the server said. A challenge that can't be answered is a refusal of the log-in.
            None if error.is_client() && stage == Stage::LogIn => {
                Cause::Lacks("the kind of log-in that is asked for, or it refused the token")
            }
            None if error.is_client() && stage == Stage::StartTls => Cause::Lacks("STARTTLS"),
            None if error.is_response() || error.is_client() => Cause::NotSmtp,
            None => Cause::Lost(error.into()),
        };
        Self { stage, cause }
    }

    /// Whether the connection can be used for another mail.
    pub(super) const fn leaves_connection(&self) -> bool {
        // 421: the server closes it.
        matches!(self.cause, Cause::Reply { code, .. } if code != 421)
    }

    /// Whether the server had closed the connection before this mail began.
    pub(super) const fn is_stale_connection(&self) -> bool {
        let was_closed = match self.cause {
            Cause::Lost(_) | Cause::NotSmtp => true,
            Cause::Reply { code, .. } => code == 421,
            Cause::TimedOut | Cause::Lacks(_) => false,
        };
        was_closed && matches!(self.stage, Stage::From)
    }

    /// What was refused for good, if anything was.
    fn refused(&self) -> Option<Refused> {
        let (code, text) = match &self.cause {
            Cause::Reply { code, text } if (500..600).contains(code) => (*code, text),
            Cause::Lacks(_) if self.stage == Stage::To => return Some(Refused::Address),
            Cause::Lacks(_) => return Some(Refused::Sender),
            _ => return None,
        };
        let status = enhanced(text);
        Some(match self.stage {
            // 5.1.7 and 5.1.8 are about the sender's address, 5.7 about what it may do (RFC 3463, RFC 7372).
            Stage::To if matches!(status, Some((7, _) | (1, 7 | 8))) || code == 530 => Refused::Sender,
            Stage::To => Refused::Address,
            Stage::Data | Stage::Content => match status {
                Some((1, detail)) if detail != 7 && detail != 8 => Refused::Address,
                Some((2, _)) => Refused::Address,
                _ => Refused::Content,
            },
            // Too large for the server, which RFC 1870 lets it say this early.
            Stage::From if code == 552 => Refused::Content,
            _ => Refused::Sender,
        })
    }
}

/// Subject and detail of a status such as `5.1.1` (RFC 3463) at the beginning of a text.
fn enhanced(text: &str) -> Option<(u16, u16)> {
    let mut parts = text.split_whitespace().next()?.splitn(3, '.');
    let class = parts.next()?;
    let (subject, detail) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    (class == "5").then_some((subject, detail))
}

impl From<SmtpError> for NotifyError {
    fn from(error: SmtpError) -> Self {
        let Some(what) = error.refused() else { return Self::Unavailable(Box::new(error)) };
        let (code, text) = match error.cause {
            Cause::Reply { code, text } => (Some(code), text),
            _ => (None, error.to_string()),
        };
        Refusal { what, code, text }.into()
    }
}

impl fmt::Display for SmtpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Connect => "the connection",
            Stage::Hello => "its greeting",
            Stage::StartTls => "STARTTLS",
            Stage::Token => "the token",
            Stage::LogIn => "the log-in",
            Stage::From => "the sender",
            Stage::To => "the recipient",
            Stage::Data => "the announcement of a mail",
            Stage::Content => "the mail",
            Stage::Reset => "the end of a mail",
        };
        match &self.cause {
            Cause::Reply { code, text } => write!(f, "the mail server refused {stage} with {code}: {text}"),
            Cause::TimedOut => write!(f, "the mail server did not answer in time, at {stage}"),
            Cause::Lost(_) => write!(f, "the mail server can't be reached, or was lost at {stage}"),
            Cause::NotSmtp => {
                write!(f, "the mail server closed the connection, or said what is not SMTP, at {stage}")
            }
            Cause::Lacks(what) => write!(f, "the mail server has not {what}"),
        }
    }
}

impl std::error::Error for SmtpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Lost(source) => Some(&**source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(stage: Stage, code: u16, text: &str) -> Option<Refused> {
        SmtpError::new(stage, Cause::Reply { code, text: text.to_owned() }).refused()
    }

    #[test]
    fn who_is_refused_goes_by_where_and_by_the_status() {
        use Refused::{Address, Content, Sender};
        for (stage, code, text, what) in [
            (Stage::Connect, 554, "5.7.1 blocked", Sender),
            (Stage::Hello, 550, "", Sender),
            (Stage::StartTls, 502, "", Sender),
            (Stage::LogIn, 535, "5.7.8 bad", Sender),
            (Stage::From, 530, "5.7.0 log in first", Sender),
            (Stage::From, 550, "5.1.8 unknown sender", Sender),
            (Stage::From, 552, "5.3.4 too large", Content),
            (Stage::To, 550, "5.1.1 no such user", Address),
            (Stage::To, 550, "no such user", Address),
            (Stage::To, 552, "5.2.2 full", Address),
            (Stage::To, 550, "5.7.1 relaying denied", Sender),
            (Stage::To, 530, "log in first", Sender),
            (Stage::To, 553, "5.1.7 bad sender", Sender),
            (Stage::Data, 554, "no valid recipients", Content),
            (Stage::Content, 554, "5.7.1 looks like spam", Content),
            (Stage::Content, 550, "5.1.1 no such user", Address),
            (Stage::Content, 552, "5.2.2 full", Address),
            (Stage::Content, 554, "5.1.8 bad sender", Content),
            (Stage::Content, 500, "", Content),
        ] {
            assert_eq!(refused(stage, code, text), Some(what), "{stage:?} {code} {text}");
        }
    }

    #[test]
    fn what_passes_is_no_refusal() {
        for code in [421, 450, 451, 452, 499] {
            assert_eq!(refused(Stage::To, code, "4.1.1 later"), None);
        }
        for cause in [Cause::TimedOut, Cause::NotSmtp, Cause::Lost("gone".into())] {
            assert_eq!(SmtpError::new(Stage::To, cause).refused(), None);
        }
    }

    #[test]
    fn a_status_is_read_where_there_is_one() {
        assert_eq!(enhanced("5.1.10 null MX"), Some((1, 10)));
        for none in ["", "no", "5.1", "4.1.1 x", "5.x.1", "5.1.1.1 x"] {
            assert_eq!(enhanced(none), None, "{none}");
        }
    }
}
