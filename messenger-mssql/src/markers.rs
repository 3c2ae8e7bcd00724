use std::sync::Arc;

use async_trait::async_trait;
use messenger_core::ports::{MarkerMoved, MarkerStore, MoveMarker, StoreErrorKind, StoreResult};
use messenger_sql::{
    columns::{Columns, integer},
    marks::{Found, Marks, Place, walk},
};

use crate::{call::Call, row::SqlRow, sql::fits, store::MssqlStore};

#[async_trait]
impl MarkerStore for MssqlStore {
    async fn move_markers(&self, batch: &[MoveMarker]) -> StoreResult<Vec<StoreResult<MarkerMoved>>> {
        if batch.is_empty() {
            return Ok(vec![]);
        }
        fits(batch.len())?;
        let mut steps = vec![];
        for step in batch {
            steps.extend_from_slice(step.chat.as_bytes());
            steps.extend_from_slice(step.user.as_bytes());
            steps.extend_from_slice(&integer(step.seq.get()).to_be_bytes());
            steps.push(u8::from(step.read));
        }
        let call = Call::procedure(Arc::clone(&self.sql().markers.move_all)).bytes("@steps", steps);
        let mut found = vec![None; batch.len()];
        for (place, of_step) in self.all(call, read).await? {
            *found.get_mut(place).ok_or(StoreErrorKind::Corrupt)? = Some(of_step);
        }
        // The procedure has moved the marks by the same rules.
        Ok(walk(batch, found).0)
    }
}

/// Reads a move's index in the batch, and what was found for it.
fn read(columns: &mut Columns<'_, SqlRow>) -> StoreResult<(usize, Found)> {
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
