use std::sync::Arc;

use async_trait::async_trait;
use messenger_core::ports::{
    AskContents, ContentField, ContentPage, ContentStore, ReplaceContent, RowId, StoreResult,
};
use messenger_sql::{
    columns::rows,
    contents::{name_key, page},
};

use crate::{
    call::Call,
    sql::{Bytes, fits, int},
    statements::is_utf16,
    store::MssqlStore,
    users::folded,
};

/// The last row of all.
const END: RowId = [0xFF; 16];

#[async_trait]
impl ContentStore for MssqlStore {
    async fn contents(&self, asked: &AskContents) -> StoreResult<ContentPage> {
        let &AskContents { field, unlike, after, limit, rows: most } = asked;
        let sql = self.sql().contents.of(field);
        let edge = Call::statement(Arc::clone(&sql.edge)).bytes("@P1", after).number("@P2", rows(most));
        let edge = self.one(edge, |columns| columns.id::<()>()).await?;
        let edge = edge.map(|id| *id.as_bytes());
        let found = Call::statement(Arc::clone(&sql.page))
            .bytes("@P1", after)
            .bytes("@P2", edge.unwrap_or(END))
            .number("@P3", unlike.into())
            .number("@P4", rows(limit));
        let found = self.all(found, move |columns| columns.stored_content(field)).await?;
        Ok(page(found, edge, limit))
    }

    async fn replace_contents(
        &self,
        field: ContentField,
        replacements: &[ReplaceContent],
    ) -> StoreResult<usize> {
        if replacements.is_empty() {
            return Ok(0);
        }
        fits(replacements.len())?;
        if is_utf16(field) {
            return self.replace_texts(field, replacements).await;
        }
        let (list, bytes) = packed(replacements)?;
        let call = Call::statement(Arc::clone(&self.sql().contents.of(field).replace));
        let call = call.bytes("@P1", list).bytes("@P2", bytes);
        Ok(self.one(call, |columns| columns.number()).await?.unwrap_or_default() as usize)
    }
}

impl MssqlStore {
    async fn replace_texts(
        &self,
        field: ContentField,
        replacements: &[ReplaceContent],
    ) -> StoreResult<usize> {
        let mut replaced = 0;
        for replacement in replacements {
            let derived = match field {
                ContentField::DisplayName => Some(folded(name_key(replacement)?.to_owned())),
                _ => replacement.derived.clone(),
            };
            let call = Call::statement(Arc::clone(&self.sql().contents.of(field).replace))
                .bytes("@P1", replacement.row)
                .text("@P2", replacement.expected.to_text()?)
                .text("@P3", replacement.content.to_text()?)
                .optional_bytes("@P4", derived);
            replaced += self.one(call, |columns| columns.number()).await?.unwrap_or_default() as usize;
        }
        Ok(replaced)
    }
}

/// The replacements as records, and the bytes that they refer to.
fn packed(replacements: &[ReplaceContent]) -> StoreResult<(Vec<u8>, Vec<u8>)> {
    let (mut list, mut bytes) = (vec![], Bytes::default());
    for replacement in replacements {
        list.extend_from_slice(&replacement.row);
        let (expected, content) = (&replacement.expected.0, &replacement.content.0);
        for value in [Some(expected), Some(content), replacement.derived.as_ref()] {
            list.extend_from_slice(&int(value.map_or(0, |value| bytes.push(value))));
            list.extend_from_slice(&int(value.map_or(0, Vec::len)));
        }
    }
    Ok((list, bytes.into_bytes()))
}

#[cfg(test)]
mod tests {
    use messenger_core::ports::Content;

    use super::*;

    #[test]
    fn replacements_are_records_of_one_length() {
        let replacement = ReplaceContent {
            row: [7; 16],
            expected: Content::from("ä"),
            content: Content::from("bc"),
            derived: None,
        };
        let (list, bytes) = packed(std::slice::from_ref(&replacement)).unwrap();
        assert_eq!(list.len(), 40);
        assert_eq!(
            list[16..],
            [[0, 0, 0, 1], [0, 0, 0, 2], [0, 0, 0, 3], [0, 0, 0, 2], [0; 4], [0; 4]].concat()
        );
        assert_eq!(bytes, "äbc".as_bytes());
        let replacement = ReplaceContent { derived: Some(b"key".to_vec()), ..replacement };
        let (list, bytes) = packed(&[replacement]).unwrap();
        assert_eq!(list[32..], [0, 0, 0, 5, 0, 0, 0, 3]);
        assert_eq!(bytes, "äbckey".as_bytes());
    }
}
