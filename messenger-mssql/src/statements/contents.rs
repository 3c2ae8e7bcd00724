use std::sync::Arc;

use messenger_core::ports::ContentField;
use messenger_sql::contents::{Shape, assignments, has_derived, shape};

use crate::schema::Schema;

/// The statements about contents, by field.
#[derive(Debug)]
pub(crate) struct Sql([OfField; ContentField::ALL.len()]);

/// The statements about one field.
#[derive(Debug)]
pub(crate) struct OfField {
    field: ContentField,
    /// Where a page ends that looks at so many rows.
    pub(crate) edge: Arc<str>,
    pub(crate) page: Arc<str>,
    /// Of many values at once, and of one where they are [UTF-16](is_utf16).
    pub(crate) replace: Arc<str>,
}

/// Whether the column is of UTF-16; the reasons of jobs are UTF-8.
pub(crate) const fn is_utf16(field: ContentField) -> bool {
    matches!(field, ContentField::DisplayName | ContentField::Device | ContentField::Title)
}

impl Sql {
    pub(crate) fn new(schema: &Schema) -> Self {
        Self(ContentField::ALL.map(|field| OfField::new(schema, field)))
    }

    pub(crate) fn of(&self, field: ContentField) -> &OfField {
        self.0.iter().find(|of_field| of_field.field == field).unwrap_or(&self.0[0])
    }
}

impl OfField {
    fn new(schema: &Schema, field: ContentField) -> Self {
        let Shape { table, columns, content, condition } = shape(field);
        // A collation may pass over control characters, so texts are looked at by the numbers of their characters. The number
        // of an empty one is null.
        let begins = if is_utf16(field) {
            format!("ISNULL(UNICODE(t.{content}), -1) <> @P3")
        } else {
            format!("(DATALENGTH(t.{content}) = 0 OR CAST(SUBSTRING(t.{content}, 1, 1) AS int) <> @P3)")
        };
        Self {
            field,
            edge: format!(
                "SELECT t.id FROM {schema}.{table} AS t WHERE t.id > CAST(@P1 AS binary(16))
                ORDER BY t.id OFFSET @P2 - 1 ROWS FETCH NEXT 1 ROWS ONLY"
            )
            .into(),
            page: format!(
                "SELECT TOP (@P4) {columns} FROM {schema}.{table} AS t
                WHERE t.id > CAST(@P1 AS binary(16)) AND t.id <= CAST(@P2 AS binary(16))
                    AND t.{content} IS NOT NULL AND {begins}{condition}
                ORDER BY t.id"
            )
            .into(),
            replace: if is_utf16(field) { replace_text(schema, field) } else { replace(schema, field) }
                .into(),
        }
    }
}

/// Records of 40 bytes say where in the bytes what is expected, what takes its place and what is stored beside it are. Rows
/// that others have locked are passed over, so that this waits for nobody's row. Answers how many were replaced; in a query of
/// its own, because not every engine knows `OUTPUT` where it updates by an alias.
fn replace(schema: &Schema, field: ContentField) -> String {
    let Shape { table, content, condition, .. } = shape(field);
    let part = |at: usize| {
        let [from, length] =
            [at, at + 4].map(|at| format!("CAST(SUBSTRING(@P1, 40 * n.n - {}, 4) AS int)", 39 - at));
        format!("SUBSTRING(@P2, {from}, {length})")
    };
    let [expected, new, derived] = [16, 24, 32].map(part);
    // Position 0 stands for null.
    let derived = format!(
        "CASE WHEN CAST(SUBSTRING(@P1, 40 * n.n - 7, 4) AS int) > 0 THEN CAST({derived} AS varbinary(320)) END"
    );
    let beside = if has_derived(field) { format!(", {derived} AS derived") } else { String::new() };
    // Bytes that differ in zeros at the end alone are equal to the server, and texts have none.
    format!(
        "UPDATE t SET {}
        FROM (
            SELECT CAST(SUBSTRING(@P1, 40 * n.n - 39, 16) AS binary(16)) AS id, {expected} AS expected,
                {new} AS content{beside}
            FROM {schema}.messenger_numbers AS n WHERE n.n <= DATALENGTH(@P1) / 40
        ) AS a
        INNER LOOP JOIN {schema}.{table} AS t WITH (READPAST, UPDLOCK, ROWLOCK) ON t.id = a.id
        WHERE t.{content} = a.expected AND DATALENGTH(t.{content}) = DATALENGTH(a.expected){condition}
        OPTION (FORCE ORDER);
        SELECT CAST(@@ROWCOUNT AS bigint)",
        assignments(field, "a.content", "a.derived")
    )
}

/// As [`replace`], for one value: the row, what is expected, what takes its place, and what is stored beside it. Not from a
/// list of bytes, which not every engine takes for UTF-16.
fn replace_text(schema: &Schema, field: ContentField) -> String {
    let Shape { table, content, condition, .. } = shape(field);
    // The server passes over blanks at the end, and a collation over more.
    format!(
        "UPDATE t SET {} FROM {schema}.{table} AS t WITH (READPAST, UPDLOCK, ROWLOCK)
        WHERE t.id = CAST(@P1 AS binary(16)) AND t.{content} = @P2 COLLATE Latin1_General_100_BIN2
            AND DATALENGTH(t.{content}) = DATALENGTH(@P2){condition};
        SELECT CAST(@@ROWCOUNT AS bigint)",
        assignments(field, "@P3", "CAST(@P4 AS varbinary(850))")
    )
}
