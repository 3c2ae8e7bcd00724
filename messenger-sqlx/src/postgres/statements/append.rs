use messenger_sql::columns::MESSAGE;
use sqlx::SqlStr;

use crate::postgres::sql::{Schema, statement};

/// The statements for appending.
#[derive(Debug)]
pub(in crate::postgres) struct Sql {
    pub(in crate::postgres) one: SqlStr,
    pub(in crate::postgres) all: SqlStr,
    pub(in crate::postgres) some: SqlStr,
    pub(in crate::postgres) by_ids: SqlStr,
}

impl Sql {
    pub(in crate::postgres) fn new(schema: &Schema) -> Self {
        Self {
            one: statement(format!(
                "SELECT * FROM {schema}.messenger_append_message($1, $2, $3, $4, $5, $6, $7, $8)"
            )),
            all: statement(format!(
                "SELECT * FROM {schema}.messenger_append_messages($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, \
                 $12, $13, $14, $15)"
            )),
            some: statement(format!(
                "SELECT * FROM {schema}.messenger_append_some_messages($1, $2, $3, $4, $5, $6, $7, $8)"
            )),
            by_ids: statement(format!(
                "SELECT {MESSAGE} FROM {schema}.messenger_messages AS m WHERE m.id = ANY ($1)"
            )),
        }
    }
}
