use std::sync::Arc;

use crate::{schema::Schema, sql::procedure};

/// The procedure about marks.
#[derive(Debug)]
pub(crate) struct Sql {
    pub(crate) move_all: Arc<str>,
}

impl Sql {
    pub(crate) fn new(schema: &Schema) -> Self {
        Self { move_all: procedure(schema, "move_markers") }
    }
}
