use std::sync::Arc;

use crate::{schema::Schema, sql::procedure};

/// The procedures for appending.
#[derive(Debug)]
pub(crate) struct Sql {
    pub(crate) one: Arc<str>,
    pub(crate) all: Arc<str>,
    pub(crate) some: Arc<str>,
}

impl Sql {
    pub(crate) fn new(schema: &Schema) -> Self {
        Self {
            one: procedure(schema, "append_message"),
            all: procedure(schema, "append_messages"),
            some: procedure(schema, "append_some_messages"),
        }
    }
}
