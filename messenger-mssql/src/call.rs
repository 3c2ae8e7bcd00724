//! Calls of the server: a procedure or a statement with arguments.

use std::{fmt, sync::Arc};

use futures::TryStreamExt as _;
use messenger_core::{Id, Timestamp, ports::StoreResult};
use tiberius::{ColumnData, Command, CommandItem, IntoSql, Query, QueryItem};

use crate::{connect::Link, errors::store_error, row::SqlRow};

/// A procedure or a statement with its arguments: one round trip to the server.
///
/// It may be run more than once, so it must be one transaction: an error must leave nothing done.
#[derive(Clone)]
pub(crate) struct Call {
    what: What,
    arguments: Vec<(&'static str, Argument)>,
}

#[derive(Clone)]
enum What {
    Procedure(Arc<str>),
    Statement(Arc<str>),
}

#[derive(Clone)]
enum Argument {
    Id([u8; 16]),
    Bytes(Vec<u8>),
    Text(String),
    Number(i64),
    Flag(bool),
}

/// A part of the answer.
pub(crate) enum Part {
    Row(SqlRow),
    /// The return code of the procedure.
    Code(i32),
}

impl Call {
    /// Calls a stored procedure, by its quoted name. Arguments are matched by name; those left out have the procedure's
    /// defaults.
    pub(crate) fn procedure(name: Arc<str>) -> Self {
        Self { what: What::Procedure(name), arguments: vec![] }
    }

    /// Runs one or several statements. The arguments are `@P1`, `@P2` … in the order in which they are given, whatever
    /// their names; none may be left out.
    pub(crate) fn statement(text: Arc<str>) -> Self {
        Self { what: What::Statement(text), arguments: vec![] }
    }

    /// An id, as its 16 bytes.
    pub(crate) fn id<K>(self, name: &'static str, id: Id<K>) -> Self {
        self.with(name, Argument::Id(*id.as_bytes()))
    }

    pub(crate) fn bytes(self, name: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        self.with(name, Argument::Bytes(bytes.into()))
    }

    pub(crate) fn text(self, name: &'static str, text: impl Into<String>) -> Self {
        self.with(name, Argument::Text(text.into()))
    }

    pub(crate) fn number(self, name: &'static str, number: i64) -> Self {
        self.with(name, Argument::Number(number))
    }

    pub(crate) fn flag(self, name: &'static str, flag: bool) -> Self {
        self.with(name, Argument::Flag(flag))
    }

    /// A timestamp, in microseconds.
    pub(crate) fn time(self, name: &'static str, at: Timestamp) -> Self {
        self.number(name, at.as_micros())
    }

    pub(crate) fn optional_id<K>(self, name: &'static str, id: Option<Id<K>>) -> Self {
        self.optional(id, |call, id| call.id(name, id))
    }

    pub(crate) fn optional_bytes(self, name: &'static str, bytes: Option<impl Into<Vec<u8>>>) -> Self {
        self.optional(bytes, |call, bytes| call.bytes(name, bytes))
    }

    pub(crate) fn optional_text(self, name: &'static str, text: Option<impl Into<String>>) -> Self {
        self.optional(text, |call, text| call.text(name, text))
    }

    pub(crate) fn optional_number(self, name: &'static str, number: Option<i64>) -> Self {
        self.optional(number, |call, number| call.number(name, number))
    }

    pub(crate) fn optional_flag(self, name: &'static str, flag: Option<bool>) -> Self {
        self.optional(flag, |call, flag| call.flag(name, flag))
    }

    fn with(mut self, name: &'static str, argument: Argument) -> Self {
        self.arguments.push((name, argument));
        self
    }

    /// Not every engine understands an untyped NULL, so the argument is left out and the default applies.
    fn optional<T>(self, value: Option<T>, with: impl FnOnce(Self, T) -> Self) -> Self {
        debug_assert!(matches!(self.what, What::Procedure(_)), "{self:?} has places, of which none is empty");
        match value {
            Some(value) => with(self, value),
            None => self,
        }
    }

    /// Sends the call, and passes on the parts of the answer as they arrive. When this completes, or ends with an error
    /// of the server, nothing of the answer is outstanding any more.
    pub(crate) async fn ask(
        &self,
        link: &mut Link,
        mut each: impl FnMut(Part) -> StoreResult<()>,
    ) -> StoreResult<()> {
        match &self.what {
            What::Procedure(name) => {
                let mut command = Command::new(&**name);
                for (name, argument) in &self.arguments {
                    command.bind_param(*name, argument);
                }
                let mut items = command.exec(link).await.map_err(store_error)?;
                while let Some(item) = items.try_next().await.map_err(store_error)? {
                    match item {
                        CommandItem::Row(row) => each(Part::Row(SqlRow(row)))?,
                        // The number is signed, and the driver passes its bits as unsigned.
                        CommandItem::ReturnStatus(code) => each(Part::Code(code.cast_signed()))?,
                        _ => {}
                    }
                }
            }
            What::Statement(text) => {
                let mut query = Query::new(&**text);
                query.bind_iter(self.arguments.iter().map(|(_, argument)| argument));
                let mut items = query.query(link).await.map_err(store_error)?;
                while let Some(item) = items.try_next().await.map_err(store_error)? {
                    if let QueryItem::Row(row) = item {
                        each(Part::Row(SqlRow(row)))?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Call {
    /// Leaves out the values: they include user content and secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (What::Procedure(text) | What::Statement(text)) = &self.what;
        let names: Vec<_> = self.arguments.iter().map(|(name, _)| *name).collect();
        f.debug_struct("Call").field("text", text).field("arguments", &names).finish()
    }
}

impl<'a> IntoSql<'a> for &'a Argument {
    fn into_sql(self) -> ColumnData<'a> {
        match self {
            Argument::Id(bytes) => bytes.as_slice().into_sql(),
            Argument::Bytes(bytes) => bytes.into_sql(),
            Argument::Text(text) => text.into_sql(),
            Argument::Number(number) => number.into_sql(),
            Argument::Flag(flag) => flag.into_sql(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use messenger_core::UserId;

    use super::*;

    fn arguments(call: &Call) -> Vec<(&'static str, ColumnData<'_>)> {
        call.arguments.iter().map(|(name, argument)| (*name, argument.into_sql())).collect()
    }

    #[test]
    fn arguments_are_borrowed_in_their_order() {
        let id = UserId::from_bytes([7; 16]);
        let call = Call::procedure("[chat].[p]".into())
            .id("@user", id)
            .bytes("@body", b"abc".as_slice())
            .text("@title", "Fjord")
            .number("@n", -1)
            .flag("@read", true)
            .time("@at", Timestamp::from_micros(5));
        assert_eq!(
            arguments(&call),
            [
                ("@user", ColumnData::Binary(Some(Cow::Borrowed(&[7; 16])))),
                ("@body", ColumnData::Binary(Some(Cow::Borrowed(b"abc")))),
                ("@title", ColumnData::String(Some(Cow::Borrowed("Fjord")))),
                ("@n", ColumnData::I64(Some(-1))),
                ("@read", ColumnData::Bit(Some(true))),
                ("@at", ColumnData::I64(Some(5))),
            ]
        );
        let borrowed = |(_, data): &(_, ColumnData<'_>)| match data {
            ColumnData::Binary(Some(bytes)) => matches!(bytes, Cow::Borrowed(_)),
            ColumnData::String(Some(text)) => matches!(text, Cow::Borrowed(_)),
            _ => true,
        };
        assert!(arguments(&call).iter().all(borrowed));
    }

    #[test]
    fn nothing_is_left_out() {
        let call = Call::procedure("[chat].[p]".into())
            .optional_id("@user", None::<UserId>)
            .optional_bytes("@body", None::<Vec<u8>>)
            .optional_text("@title", Some("x"))
            .optional_flag("@read", Some(false));
        let names: Vec<_> = arguments(&call).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["@title", "@read"]);
    }

    #[test]
    fn values_are_not_shown() {
        let call = Call::statement("SELECT @P1".into()).text("@P1", "ada@example.org");
        assert_eq!(format!("{call:?}"), r#"Call { text: "SELECT @P1", arguments: ["@P1"] }"#);
    }
}
