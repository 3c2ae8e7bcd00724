use sqlx::SqlStr;

use crate::postgres::sql::{Schema, statement};

/// The statements about marks.
#[derive(Debug)]
pub(in crate::postgres) struct Sql {
    pub(in crate::postgres) move_all: SqlStr,
}

impl Sql {
    pub(in crate::postgres) fn new(schema: &Schema) -> Self {
        Self { move_all: statement(format!("SELECT * FROM {schema}.messenger_move_markers($1, $2, $3, $4)")) }
    }
}
