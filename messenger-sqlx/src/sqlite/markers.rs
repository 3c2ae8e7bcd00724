use async_trait::async_trait;
use futures::TryStreamExt as _;
use messenger_core::{
    Seq,
    ports::{MarkerMoved, MarkerStore, MoveMarker, StoreErrorKind, StoreResult},
};
use messenger_sql::marks::{Found, Marks, MarksOfMembers, Place, walk};
use sqlx::SqliteConnection;

use super::{
    errors::store_error,
    sql::{self, Batched, Bind as _, Columns, numbered_values, values},
    store::SqliteStore,
    writer,
};
use crate::row::Fetched;

/// Reads the current marks, and the number of texts up to the requested places.
pub(super) static LOOK: Batched = Batched::new(|size| {
    format!(
        "BEGIN IMMEDIATE;
        SELECT v.column1, p.read_seq, p.read_texts, p.delivered_seq, c.last_seq, c.texts, c.member_count,
            coalesce((
                SELECT m.texts FROM messenger_messages AS m
                WHERE m.chat_id = c.id AND m.seq = min(v.column4, c.last_seq)
            ), 0)
        FROM (VALUES {}) AS v
        CROSS JOIN messenger_chats AS c ON c.id = v.column2
        CROSS JOIN messenger_members AS p ON p.chat_id = c.id AND p.user_id = v.column3
        WHERE p.left_at IS NULL",
        numbered_values(size, 3)
    )
});

pub(super) static MOVE: Batched = Batched::new(|size| {
    format!(
        "UPDATE messenger_members AS p
        SET read_seq = v.column3, read_texts = v.column4, delivered_seq = v.column5
        FROM (VALUES {}) AS v WHERE p.chat_id = +v.column1 AND p.user_id = +v.column2;
        COMMIT",
        values(size, 5)
    )
});

#[async_trait]
impl MarkerStore for SqliteStore {
    /// Moves up to 2,048 marks in one commit; a larger batch takes several.
    async fn move_markers(&self, batch: &[MoveMarker]) -> StoreResult<Vec<StoreResult<MarkerMoved>>> {
        let mut answers = Vec::with_capacity(batch.len());
        for part in batch.chunks(Batched::MAX) {
            let part = part.to_vec();
            answers.extend(self.writer.run(move |conn| Box::pin(move_all(conn, part))).await?);
        }
        Ok(answers)
    }
}

async fn move_all(
    conn: &mut SqliteConnection,
    batch: Vec<MoveMarker>,
) -> StoreResult<Vec<StoreResult<MarkerMoved>>> {
    let found = look(conn, &batch).await?;
    let (answers, mut marks) = walk(&batch, found);
    marks.retain(|_, marks| marks.moved);
    store(conn, &marks).await?;
    Ok(answers)
}

/// Begins the transaction.
async fn look(conn: &mut SqliteConnection, batch: &[MoveMarker]) -> StoreResult<Vec<Option<Found>>> {
    let size = Batched::size(batch.len());
    let mut query = sqlx::query(LOOK.of(size));
    for step in batch {
        query = query.id(step.chat).id(step.user).number(step.seq.get());
    }
    let mut found = vec![None; batch.len()];
    let mut rows = query.nulls((size - batch.len()) * 3).fetch(conn);
    while let Some(row) = rows.try_next().await.map_err(store_error)? {
        let row = Fetched(row);
        let columns = &mut Columns::of(&row);
        let at = columns.index()?;
        let step = batch.get(at).ok_or(StoreErrorKind::Corrupt)?;
        found[at] = Some(read(columns, step.seq)?);
    }
    Ok(found)
}

fn read(columns: &mut Columns<'_>, wanted: Seq) -> StoreResult<Found> {
    let marks = Marks {
        read_seq: columns.seq()?,
        read_texts: columns.number()?,
        delivered_seq: columns.seq()?,
        moved: false,
    };
    let place = Place {
        seq: wanted.min(columns.seq()?),
        all_texts: columns.number()?,
        member_count: u32::try_from(columns.number()?).unwrap_or(u32::MAX),
        texts: columns.number()?,
    };
    Ok(Found { marks, place })
}

/// Stores the marks that moved, and commits.
async fn store(conn: &mut SqliteConnection, marks: &MarksOfMembers) -> StoreResult<()> {
    if marks.is_empty() {
        return writer::execute(conn, "COMMIT").await;
    }
    let size = Batched::size(marks.len());
    let mut query = sqlx::query(MOVE.of(size));
    for ((chat, user), marks) in marks {
        query = query
            .id(*chat)
            .id(*user)
            .number(marks.read_seq.get())
            .number(marks.read_texts)
            .number(marks.delivered_seq.get());
    }
    sql::run(conn, query.nulls((size - marks.len()) * 5)).await.map(drop)
}
