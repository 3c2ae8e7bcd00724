use messenger_core::ErrorCode;

/// What went wrong, as a stable name: in the core, or before a command or query was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Core(ErrorCode),
    MethodNotAllowed,
    TooLarge,
    TooSlow,
    UnsupportedMediaType,
}

impl Code {
    /// All codes.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let own = [Self::MethodNotAllowed, Self::TooLarge, Self::TooSlow, Self::UnsupportedMediaType];
        ErrorCode::ALL.into_iter().map(Self::Core).chain(own)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Core(code) => code.as_str(),
            Self::MethodNotAllowed => "methodNotAllowed",
            Self::TooLarge => "tooLarge",
            Self::TooSlow => "tooSlow",
            Self::UnsupportedMediaType => "unsupportedMediaType",
        }
    }

    /// A title in a few words, for people.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Core(code) => match code {
                ErrorCode::Malformed => "The request is malformed",
                ErrorCode::Unauthenticated => "Log in first",
                ErrorCode::InvalidCredentials => "Wrong login or password",
                ErrorCode::Forbidden => "Not allowed",
                ErrorCode::NotFound => "Not found",
                ErrorCode::UsernameTaken => "The username is taken",
                ErrorCode::EmailTaken => "The mail address is taken",
                ErrorCode::ClientIdReused => "The client id was used before",
                ErrorCode::Conflict => "Changed by others at the same time",
                ErrorCode::Invalid => "Some fields are not valid",
                ErrorCode::RateLimited => "Too many requests",
                ErrorCode::Unavailable => "Temporarily unavailable",
                // `ErrorCode` may get further variants; one that is missing here is a fault of this crate.
                _ => "A fault of the service",
            },
            Self::MethodNotAllowed => "The route has no such method",
            Self::TooLarge => "The body is too large",
            Self::TooSlow => "The body came too slowly",
            Self::UnsupportedMediaType => "The body is not JSON",
        }
    }

    /// When a client gets it, for the API's description.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Core(code) => match code {
                ErrorCode::Malformed => "not JSON, an unknown field, a field of the wrong type, a bad id",
                ErrorCode::Unauthenticated => "no session, or it has ended",
                ErrorCode::InvalidCredentials => "the wrong login or password",
                ErrorCode::Forbidden => "the caller may see the thing but not do this",
                ErrorCode::NotFound => "there is no such thing, or the caller may not know of it",
                ErrorCode::UsernameTaken => "somebody has this username",
                ErrorCode::EmailTaken => "this mail address belongs to another account",
                ErrorCode::ClientIdReused => "the client id was used for another request",
                ErrorCode::Conflict => "others keep changing the same thing",
                ErrorCode::Invalid => "fields that don't fit; `errors` names them",
                ErrorCode::RateLimited => "too many requests",
                ErrorCode::Unavailable => {
                    "a part of the service can't be reached, or there is too much to do"
                }
                _ => "a fault of the service",
            },
            Self::MethodNotAllowed => "the route has other methods; see the header Allow",
            Self::TooLarge => "the body has too many bytes",
            Self::TooSlow => "the body did not come in time; the connection is closed",
            Self::UnsupportedMediaType => "the body is not JSON",
        }
    }
}
