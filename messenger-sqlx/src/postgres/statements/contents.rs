use messenger_core::ports::ContentField;
use messenger_sql::contents::{Shape, assignments, shape};
use sqlx::SqlStr;

use crate::postgres::sql::{Schema, statement};

/// The statements about contents, by field.
#[derive(Debug)]
pub(in crate::postgres) struct Sql {
    fields: [OfField; ContentField::ALL.len()],
    /// One for each table.
    pub(in crate::postgres) vacuum: [SqlStr; TABLES.len()],
    pub(in crate::postgres) vacuum_full: [SqlStr; TABLES.len()],
}

/// The tables that have contents.
const TABLES: [&str; 5] =
    ["messenger_users", "messenger_sessions", "messenger_chats", "messenger_messages", "messenger_jobs"];

/// The statements about one field.
#[derive(Debug)]
pub(in crate::postgres) struct OfField {
    field: ContentField,
    /// Where a page ends that looks at so many rows.
    pub(in crate::postgres) edge: SqlStr,
    pub(in crate::postgres) page: SqlStr,
    pub(in crate::postgres) replace: SqlStr,
}

impl Sql {
    pub(in crate::postgres) fn new(schema: &Schema) -> Self {
        let vacuum = |how: &str| TABLES.map(|table| statement(format!("VACUUM ({how}) {schema}.{table}")));
        Self {
            fields: ContentField::ALL.map(|field| OfField::new(schema, field)),
            vacuum: vacuum("ANALYZE"),
            vacuum_full: vacuum("FULL, ANALYZE"),
        }
    }

    pub(in crate::postgres) fn of(&self, field: ContentField) -> &OfField {
        self.fields.iter().find(|of_field| of_field.field == field).unwrap_or(&self.fields[0])
    }
}

impl OfField {
    fn new(schema: &Schema, field: ContentField) -> Self {
        let Shape { table, columns, content, condition } = shape(field);
        let kind = if field.is_text() { "text" } else { "bytea" };
        let derived = if field == ContentField::DisplayName { "text" } else { "bytea" };
        Self {
            field,
            edge: statement(format!(
                "SELECT t.id FROM {schema}.{table} AS t WHERE t.id > $1 ORDER BY t.id LIMIT 1 OFFSET $2::bigint - 1"
            )),
            page: statement(format!(
                "SELECT {columns} FROM {schema}.{table} AS t WHERE t.id > $1 AND t.id <= $2
                    AND substr(t.{content}, 1, 1) <> $3{condition}
                ORDER BY t.id LIMIT $4"
            )),
            // Rows that others have locked are passed over, so that this waits for nobody and is part of no deadlock.
            replace: statement(format!(
                "WITH asked AS MATERIALIZED (
                    SELECT * FROM unnest($1::uuid[], $2::{kind}[], $3::{kind}[], $4::{derived}[])
                        AS a (id, expected, content, derived)
                ), held AS MATERIALIZED (
                    SELECT t.id FROM asked AS a JOIN {schema}.{table} AS t ON t.id = a.id
                    WHERE t.{content} = a.expected{condition} FOR UPDATE OF t SKIP LOCKED
                )
                UPDATE {schema}.{table} AS t SET {} FROM held AS h JOIN asked AS a ON a.id = h.id
                WHERE t.id = h.id AND t.{content} = a.expected{condition}",
                assignments(field, "a.content", "a.derived")
            )),
        }
    }
}
