use std::sync::LazyLock;

use async_trait::async_trait;
use messenger_core::ports::{
    AskContents, ContentField, ContentPage, ContentStore, ReplaceContent, RowId, StoreResult,
};
use messenger_sql::{
    columns::rows,
    contents::{Shape, assignments, has_derived, name_key, page, shape},
};
use sqlx::SqliteConnection;

use super::{
    sql::{self, Query},
    store::SqliteStore,
};

/// The statements about one field.
#[derive(Debug)]
pub(super) struct Statements {
    field: ContentField,
    /// Where a page ends that looks at so many rows.
    pub(super) edge: String,
    pub(super) page: String,
    pub(super) replace: String,
}

/// Those of all fields.
pub(super) static STATEMENTS: LazyLock<Vec<Statements>> =
    LazyLock::new(|| ContentField::ALL.into_iter().map(Statements::new).collect());

impl Statements {
    fn new(field: ContentField) -> Self {
        let Shape { table, columns, content, condition } = shape(field);
        Self {
            field,
            edge: format!(
                "SELECT t.id FROM {table} AS t WHERE t.id > $1 ORDER BY t.id LIMIT 1 OFFSET $2 - 1"
            ),
            page: format!(
                "SELECT {columns} FROM {table} AS t WHERE t.id > $1 AND t.id <= $2
                    AND t.{content} IS NOT NULL AND substr(t.{content}, 1, 1) IS NOT $3{condition}
                ORDER BY t.id LIMIT $4"
            ),
            replace: format!(
                "UPDATE {table} AS t SET {} WHERE t.id = $1 AND t.{content} = $2{condition}",
                assignments(field, "$3", "$4")
            ),
        }
    }

    fn of(field: ContentField) -> &'static Self {
        let found = STATEMENTS.iter().find(|statements| statements.field == field);
        found.unwrap_or(&STATEMENTS[0])
    }

    fn replace(&'static self, replacement: &ReplaceContent) -> StoreResult<Query<'static>> {
        let ReplaceContent { row, expected, content, derived } = replacement;
        let query = sqlx::query(self.replace.as_str()).bind(row.to_vec());
        let query = if self.field.is_text() {
            query.bind(expected.to_text()?.to_owned()).bind(content.to_text()?.to_owned())
        } else {
            query.bind(expected.0.clone()).bind(content.0.clone())
        };
        Ok(match self.field {
            ContentField::DisplayName => query.bind(name_key(replacement)?.to_owned()),
            field if has_derived(field) => query.bind(derived.clone()),
            _ => query,
        })
    }
}

/// The last row of all.
const END: RowId = [0xFF; 16];

#[async_trait]
impl ContentStore for SqliteStore {
    async fn contents(&self, asked: &AskContents) -> StoreResult<ContentPage> {
        let &AskContents { field, unlike, after, limit, rows: most } = asked;
        let found = self.readers.run(move |conn| {
            Box::pin(async move {
                let statements = Statements::of(field);
                let edge = sqlx::query(statements.edge.as_str()).bind(after.to_vec()).bind(rows(most));
                let edge = sql::one(conn, edge, |columns| columns.id::<()>()).await?;
                let edge = edge.map(|id| *id.as_bytes());
                let page = sqlx::query(statements.page.as_str()).bind(after.to_vec());
                let page = page.bind(edge.unwrap_or(END).to_vec());
                let page = if field.is_text() {
                    page.bind(char::from(unlike).to_string())
                } else {
                    page.bind(vec![unlike])
                };
                let found =
                    sql::all(conn, page.bind(rows(limit)), move |columns| columns.stored_content(field));
                Ok((edge, found.await?))
            })
        });
        let (edge, contents) = found.await?;
        Ok(page(contents, edge, limit))
    }

    async fn replace_contents(
        &self,
        field: ContentField,
        replacements: &[ReplaceContent],
    ) -> StoreResult<usize> {
        let statements = Statements::of(field);
        let queries: Vec<_> =
            replacements.iter().map(|one| statements.replace(one)).collect::<StoreResult<_>>()?;
        if queries.is_empty() {
            return Ok(0);
        }
        // What was there before is not kept in the log for longer than what else is overwritten.
        let done = self.writer.transaction_that_replaces(|conn| Box::pin(run_all(conn, queries)));
        Ok(usize::try_from(done.await?).unwrap_or(replacements.len()))
    }
}

async fn run_all(conn: &mut SqliteConnection, queries: Vec<Query<'static>>) -> StoreResult<u64> {
    let mut done = 0;
    for query in queries {
        done += sql::run(conn, query).await?;
    }
    Ok(done)
}
