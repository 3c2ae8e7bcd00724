/// The maximum nesting depth of a record, itself included; as in ASP.NET Core.
pub(super) const MAX_DEPTH: usize = 64;

/// What is wrong with a record; ends the connection.
///
/// The text contains nothing of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the record is longer than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the length of the record is not valid")]
    Length,
    #[error("the record is nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    #[error("the record is not UTF-8")]
    Utf8,
    #[error("the record is not a JSON object")]
    Json,
    #[error("the record is not a MessagePack array")]
    MessagePack,
    #[error("the record has bytes after its end")]
    Trailing,
    #[error("a property is there twice")]
    Duplicate,
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{0}` is of the wrong type")]
    WrongType(&'static str),
    #[error("`error` and `result` exclude each other")]
    ErrorAndResult,
}
