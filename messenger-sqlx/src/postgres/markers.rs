use async_trait::async_trait;
use messenger_core::ports::{MarkerMoved, MarkerStore, MoveMarker, StoreErrorKind, StoreResult};
use messenger_sql::{
    columns::integer,
    marks::{Found, Marks, Place, walk},
};

use super::{
    connections::Mode,
    sql::{Columns, uuids},
    store::PostgresStore,
};

#[async_trait]
impl MarkerStore for PostgresStore {
    async fn move_markers(&self, batch: &[MoveMarker]) -> StoreResult<Vec<StoreResult<MarkerMoved>>> {
        if batch.is_empty() {
            return Ok(vec![]);
        }
        let query = self
            .query(&self.sql().markers.move_all)
            .bind(uuids(batch.iter().map(|step| &step.chat)))
            .bind(uuids(batch.iter().map(|step| &step.user)))
            .bind(batch.iter().map(|step| integer(step.seq.get())).collect::<Vec<_>>())
            .bind(batch.iter().map(|step| step.read).collect::<Vec<_>>());
        let rows = self.run(Mode::Statement, |session| Box::pin(session.all(query, read))).await?;
        let mut found = vec![None; batch.len()];
        for (place, of_step) in rows {
            *found.get_mut(place).ok_or(StoreErrorKind::Corrupt)? = Some(of_step);
        }
        // The function has moved the marks by the same rules.
        Ok(walk(batch, found).0)
    }
}

/// Reads a move's place in the batch, and what was found for it.
fn read(columns: &mut Columns<'_>) -> StoreResult<(usize, Found)> {
    let place = columns.place()?;
    let marks = Marks {
        read_seq: columns.seq()?,
        read_texts: columns.number()?,
        delivered_seq: columns.seq()?,
        moved: false,
    };
    let place_of_mark = Place {
        seq: columns.seq()?,
        all_texts: columns.number()?,
        member_count: u32::try_from(columns.number()?).unwrap_or(u32::MAX),
        texts: columns.number()?,
    };
    Ok((place, Found { marks, place: place_of_mark }))
}
