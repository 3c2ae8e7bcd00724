use async_trait::async_trait;
use messenger_core::ports::{
    AskContents, Content, ContentField, ContentPage, ContentStore, ReplaceContent, RowId, StoreResult,
};
use messenger_sql::{
    columns::rows,
    contents::{name_key, page},
};
use sqlx::types::Uuid;

use super::{connections::Mode, errors::is_worth_another_try, sql::Query, store::PostgresStore};

/// How many times a write is tried when others are in its way.
const ATTEMPTS: usize = 5;
/// The last row of all.
const END: RowId = [0xFF; 16];

#[async_trait]
impl ContentStore for PostgresStore {
    async fn contents(&self, asked: &AskContents) -> StoreResult<ContentPage> {
        let &AskContents { field, unlike, after, limit, rows: most } = asked;
        let sql = self.sql().contents.of(field);
        let after = Uuid::from_bytes(after);
        let edge = self.query(&sql.edge).bind(after).bind(rows(most));
        let edge = self.all_planned(edge, |columns| columns.id::<()>()).await?.pop();
        let edge = edge.map(|id| *id.as_bytes());
        let found = self.query(&sql.page).bind(after).bind(Uuid::from_bytes(edge.unwrap_or(END)));
        let found = match field.is_text() {
            true => found.bind(char::from(unlike).to_string()),
            false => found.bind(vec![unlike]),
        };
        let found = self.all_planned(found.bind(rows(limit)), move |columns| columns.stored_content(field));
        Ok(page(found.await?, edge, limit))
    }

    async fn replace_contents(
        &self,
        field: ContentField,
        replacements: &[ReplaceContent],
    ) -> StoreResult<usize> {
        if replacements.is_empty() {
            return Ok(0);
        }
        let mut attempt = 1;
        loop {
            let query = bind(self.query(&self.sql().contents.of(field).replace), field, replacements)?;
            match self.run(Mode::Statement, |session| Box::pin(session.execute(query))).await {
                Err(error) if is_worth_another_try(&error) && attempt < ATTEMPTS => attempt += 1,
                done => return Ok(usize::try_from(done?).unwrap_or(replacements.len())),
            }
        }
    }
}

fn bind(query: Query, field: ContentField, replacements: &[ReplaceContent]) -> StoreResult<Query> {
    let query = query.bind(replacements.iter().map(|one| Uuid::from_bytes(one.row)).collect::<Vec<_>>());
    let expected = replacements.iter().map(|one| &one.expected);
    let contents = replacements.iter().map(|one| &one.content);
    let query = match field.is_text() {
        true => query.bind(texts(expected)?).bind(texts(contents)?),
        false => query.bind(bytes(expected)).bind(bytes(contents)),
    };
    Ok(match field {
        ContentField::DisplayName => {
            let keys: StoreResult<Vec<_>> =
                replacements.iter().map(|one| name_key(one).map(str::to_owned)).collect();
            query.bind(keys?)
        }
        _ => query.bind(replacements.iter().map(|one| one.derived.clone()).collect::<Vec<_>>()),
    })
}

fn texts<'c>(contents: impl Iterator<Item = &'c Content>) -> StoreResult<Vec<String>> {
    contents.map(|content| content.to_text().map(str::to_owned)).collect()
}

fn bytes<'c>(contents: impl Iterator<Item = &'c Content>) -> Vec<Vec<u8>> {
    contents.map(|content| content.0.clone()).collect()
}
