use std::fmt;

use messenger_core::ports::{StoreError, StoreErrorKind, StoreResult, Unique};
use messenger_sql::open::OpenErrorKind;
use tiberius::error::{Error, TokenError};

/// The return code of a procedure that was carried out.
pub(crate) const DONE: i32 = 0;
/// The other return codes of procedures, with their outcomes. The migrations use the same numbers.
pub(crate) const OUTCOMES: [(i32, StoreErrorKind); 8] = [
    (1, StoreErrorKind::NotFound),
    (2, StoreErrorKind::Conflict),
    (3, StoreErrorKind::NotMember),
    (4, StoreErrorKind::AlreadyExists(Unique::Username)),
    (5, StoreErrorKind::AlreadyExists(Unique::Email)),
    (6, StoreErrorKind::AlreadyExists(Unique::Id)),
    (7, StoreErrorKind::AlreadyExists(Unique::ClientId)),
    (8, StoreErrorKind::Held),
];

/// The outcome for a procedure's return code.
pub(crate) fn outcome(code: i32) -> StoreResult<()> {
    if code == DONE {
        return Ok(());
    }
    Err(match OUTCOMES.iter().find(|(known, _)| *known == code) {
        Some((_, kind)) => (*kind).into(),
        None => StoreError::new(StoreErrorKind::Other, format!("a procedure returned {code}")),
    })
}

/// Maps an error of the server or of the driver to an outcome of the port.
pub(crate) fn store_error(error: Error) -> StoreError {
    match error {
        Error::Server(error) => {
            let error = ServerError::from(error);
            StoreError::new(error.kind(), error)
        }
        Error::Io { .. } | Error::Tls(_) | Error::Routing { .. } | Error::Protocol(_) => {
            StoreError::new(StoreErrorKind::Unavailable, error)
        }
        Error::Encoding(_) | Error::Conversion(_) | Error::Utf8 | Error::Utf16 | Error::ParseInt(_) => {
            StoreError::new(StoreErrorKind::Corrupt, error)
        }
        _ => StoreError::new(StoreErrorKind::Other, error),
    }
}

/// The server's error, if it is one.
pub(crate) fn server_error(error: &StoreError) -> Option<&ServerError> {
    std::error::Error::source(error)?.downcast_ref()
}

/// Why the server refused a statement or a login.
///
/// Without the text if it contains values: they can be a person's address.
#[derive(Debug)]
pub(crate) struct ServerError {
    number: u32,
    state: u8,
    class: u8,
    line: u32,
    procedure: Box<str>,
    detail: Detail,
}

#[derive(Debug)]
enum Detail {
    Text(Box<str>),
    /// The text contains values.
    Withheld,
    /// The text reports a duplicate of this unique value.
    Unique(Option<Unique>),
}

/// Duplicate values.
const DUPLICATES: [u32; 2] = [2601, 2627];

/// Further errors whose texts contain values: a value is out of range, is no number, no date, too long for its column,
/// or not JSON.
const WITH_VALUES: [u32; 9] = [220, 232, 241, 244, 245, 248, 2628, 8114, 13609];

/// Conflicts with other work, after which the server has rolled back: a deadlock victim, a lock timeout, or a row
/// changed under a snapshot.
const IN_THE_WAY: [u32; 3] = [1205, 1222, 3960];

/// The server or the database is missing, admits nobody, is read-only, or has run out of a resource.
const UNAVAILABLE: [u32; 68] = [
    // The connection was cut, or its session was ended by somebody or by a failover.
    64, 233, 596, 3989, 10_053, 10_054, 10_060,
    // Out of memory, locks, disk, log, row versions, or worker threads.
    701, 802, 1101, 1105, 1204, 3958, 3966, 3967, 8645, 8651, 9001, 9002, 17_300, 17_803,
    // The database is being recovered or restored, is suspect, offline, on another replica, in transition, or in
    // single-user mode.
    921, 922, 924, 926, 927, 942, 952, 976, 978, 982, 983, 988, 3906, 3908, 4221,
    // The server is stopping, starting, paused or being moved.
    6005, 17_142, 17_143, 40_143, 40_166, 40_197, 40_540, 40_613,
    // It is busy: too many sessions or workers, or too much work of the kind. It asks to be left alone for seconds.
    10_928, 10_929, 10_936, 40_501, 40_544, 40_549, 40_550, 40_551, 40_552, 40_553, 49_918, 49_919, 49_920,
    // The login or its database does not exist or is not available now.
    4060, 4064, 17_187, 17_809, 17_892, 18_401, 18_451, 18_452, 18_456, 18_461, 18_486,
];

/// A page could not be read, or differs from what was written.
const CORRUPT: [u32; 4] = [605, 823, 824, 825];

impl ServerError {
    /// Its number in the [server's list of errors].
    ///
    /// [server's list of errors]: https://learn.microsoft.com/sql/relational-databases/errors-events/database-engine-events-and-errors
    pub(crate) const fn number(&self) -> u32 {
        self.number
    }

    /// The outcome of the port.
    pub(crate) fn kind(&self) -> StoreErrorKind {
        let is = |numbers: &[u32]| numbers.contains(&self.number);
        match self.detail {
            Detail::Unique(Some(what)) => StoreErrorKind::AlreadyExists(what),
            _ if is(&CORRUPT) => StoreErrorKind::Corrupt,
            _ if is(&UNAVAILABLE) || is(&IN_THE_WAY) || self.is_fatal() => StoreErrorKind::Unavailable,
            _ => StoreErrorKind::Other,
        }
    }

    /// Why a database can't be opened, if this error occurs.
    pub(crate) const fn failure(&self) -> OpenErrorKind {
        match self.number {
            18_456 => OpenErrorKind::Login,
            911 | 4060 => OpenErrorKind::NoDatabase,
            229 | 262 | 2760 => OpenErrorKind::Permission,
            _ => OpenErrorKind::Failed,
        }
    }

    /// Whether the server closes the connection after it.
    pub(crate) const fn is_fatal(&self) -> bool {
        self.class >= 20
    }

    /// Whether an immediate retry may succeed. The first attempt was rolled back.
    pub(crate) fn is_worth_another_try(&self) -> bool {
        !self.is_fatal() && IN_THE_WAY.contains(&self.number)
    }
}

impl From<TokenError> for ServerError {
    fn from(error: TokenError) -> Self {
        let number = error.code();
        let detail = if DUPLICATES.contains(&number) {
            Detail::Unique(unique(error.message()))
        } else if WITH_VALUES.contains(&number) {
            Detail::Withheld
        } else {
            Detail::Text(error.message().trim_end().into())
        };
        Self {
            number,
            state: error.state(),
            class: error.class(),
            line: error.line(),
            procedure: error.procedure().into(),
            detail,
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, state, class, .. } = self;
        match &self.detail {
            Detail::Text(text) => write!(f, "{text} (error {number}")?,
            Detail::Withheld => write!(f, "a value does not fit (error {number}")?,
            Detail::Unique(Some(what)) => write!(f, "there is such a {what:?} already (error {number}")?,
            Detail::Unique(None) => write!(f, "something unknown is unique (error {number}")?,
        }
        write!(f, ", class {class}, state {state}")?;
        if !self.procedure.is_empty() {
            write!(f, ", line {} of {}", self.line, self.procedure)?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for ServerError {}

/// The unique value of the index or the constraint that a message names. The words around the name are in the server's
/// language, or in that of another engine that speaks its protocol; such an engine also adds to the name.
fn unique(message: &str) -> Option<Unique> {
    // The duplicate value is in parentheses, and may look like a name.
    let names = message.split('(').next().unwrap_or_default();
    let mut names = names.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_');
    names.find_map(|name| {
        let is = |part| name.contains(part);
        if !is("messenger_") {
            None
        } else if is("_users_by_username") {
            Some(Unique::Username)
        } else if is("_users_by_email") {
            Some(Unique::Email)
        } else if is("_messages_by_client_id") || is("_chats_by_client_id") {
            Some(Unique::ClientId)
        } else if is("_jobs_by_key") {
            Some(Unique::Job)
        } else if is("_pkey") || is("_by_id") {
            Some(Unique::Id)
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::fake;

    /// Goes through the driver, because only the driver can construct such an error.
    async fn said(number: u32, class: u8, message: &str) -> StoreError {
        store_error(fake::error(number, class, message).await)
    }

    #[tokio::test]
    async fn a_duplicate_is_known_by_what_is_unique() {
        use Unique::{ClientId, Email, Id, Username};
        for (number, message, wanted) in [
            (
                2627,
                "Violation of UNIQUE KEY constraint 'messenger_users_by_email'. Cannot insert duplicate key in object \
                 'messenger.messenger_users'. The duplicate key value is (ada@example.org).",
                Email,
            ),
            (
                2627,
                "Violation of PRIMARY KEY constraint 'messenger_chats_pkey'. Cannot insert duplicate key in object \
                 'messenger.messenger_chats'. The duplicate key value is (0x07).",
                Id,
            ),
            (
                2601,
                "Cannot insert duplicate key row in object 'messenger.messenger_users' with unique index \
                 'messenger_users_by_username'. The duplicate key value is (ada).",
                Username,
            ),
            (
                2601,
                "Cannot insert duplicate key row in object 'dbo.messenger_messages' with unique index \
                 'messenger_messages_by_client_id'. The duplicate key value is (0x07, 0x61).",
                ClientId,
            ),
            (
                2601,
                "Eine Zeile mit doppeltem Schlüssel kann in das Objekt \"x.messenger_sessions\" mit dem eindeutigen \
                 Index \"messenger_sessions_by_id\" nicht eingefügt werden. Der doppelte Schlüsselwert ist (0x07).",
                Id,
            ),
            (
                2627,
                "duplicate key value violates unique constraint \"messenger_chats_by_client_idmessenger_b7c9\"",
                ClientId,
            ),
        ] {
            let error = said(number, 14, message).await;
            assert_eq!(error.kind(), StoreErrorKind::AlreadyExists(wanted), "{message}");
            assert_eq!(server_error(&error).unwrap().number(), number);
        }
        for message in [
            "Violation of UNIQUE KEY constraint 'theirs'. Cannot insert duplicate key in object 'dbo.t'. The duplicate \
             key value is (messenger_users_by_email).",
            "",
        ] {
            assert_eq!(said(2627, 14, message).await.kind(), StoreErrorKind::Other, "{message}");
        }
    }

    #[tokio::test]
    async fn no_value_is_told() {
        for (number, message) in [
            (2627, "Violation of UNIQUE KEY constraint 'x'. The duplicate key value is (ada@example.org)."),
            (2601, "Cannot insert duplicate key row. The duplicate key value is (ada@example.org)."),
            (2628, "String or binary data would be truncated. Truncated value: 'ada@example.org'."),
            (245, "Conversion failed when converting the nvarchar value 'ada@example.org' to data type int."),
        ] {
            let error = said(number, 16, message).await;
            let mut shown = format!("{error} {error:?}");
            let mut source = error.source();
            while let Some(error) = source {
                shown += &format!("{error} {error:?}");
                source = error.source();
            }
            assert!(!shown.contains("ada"), "{shown}");
            assert!(shown.contains(&number.to_string()), "{shown}");
        }
    }

    #[tokio::test]
    async fn errors_have_outcomes() {
        use StoreErrorKind::{Corrupt, Other, Unavailable};
        for (number, class, wanted) in [
            (1205, 13, Unavailable),
            (1222, 16, Unavailable),
            (3960, 16, Unavailable),
            (3906, 16, Unavailable),
            (9002, 17, Unavailable),
            (4060, 11, Unavailable),
            (18_456, 14, Unavailable),
            (40_613, 17, Unavailable),
            (40_501, 20, Unavailable),
            (596, 21, Unavailable),
            (5_180, 22, Unavailable),
            (823, 24, Corrupt),
            (824, 24, Corrupt),
            (825, 10, Corrupt),
            (208, 16, Other),
            (2812, 16, Other),
            (229, 14, Other),
            (50_000, 16, Other),
        ] {
            assert_eq!(said(number, class, "It failed.").await.kind(), wanted, "{number}");
        }
        let cut = Error::Io { kind: std::io::ErrorKind::UnexpectedEof, message: "cut".to_owned() };
        assert_eq!(store_error(cut).kind(), Unavailable);
        assert_eq!(store_error(Error::Protocol("odd".into())).kind(), Unavailable);
        assert_eq!(store_error(Error::Utf16).kind(), Corrupt);
    }

    #[tokio::test]
    async fn only_what_the_server_has_undone_is_tried_again() {
        for (number, class, wanted) in [
            (1205, 13, true),
            (1222, 16, true),
            (3960, 16, true),
            (10_928, 16, false),
            (40_501, 17, false),
            (40_501, 20, false),
            (40_197, 17, false),
            (2627, 14, false),
            (208, 16, false),
        ] {
            let error = said(number, class, "It failed.").await;
            assert_eq!(server_error(&error).unwrap().is_worth_another_try(), wanted, "{number}");
        }
        assert!(server_error(&store_error(Error::Utf8)).is_none());
    }

    #[tokio::test]
    async fn an_error_says_where_it_is_from() {
        let error = said(208, 16, "Invalid object name 'messenger.messenger_users'.").await;
        assert_eq!(
            server_error(&error).unwrap().to_string(),
            "Invalid object name 'messenger.messenger_users'. (error 208, class 16, state 1, line 3 of p)"
        );
    }

    #[test]
    fn return_codes_have_outcomes() {
        assert!(outcome(DONE).is_ok());
        for (code, kind) in OUTCOMES {
            assert_eq!(outcome(code).unwrap_err().kind(), kind);
        }
        for code in [-6, 9] {
            assert_eq!(outcome(code).unwrap_err().kind(), StoreErrorKind::Other);
        }
    }
}
