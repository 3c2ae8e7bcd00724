use messenger_core::{UserId, ports::StoreResult};

use super::{connections::Session, sql::Bind as _};

/// From here on nobody sets a hold: those that are there stay until the transaction ends.
pub(super) async fn lock_holds(session: &mut Session) -> StoreResult<()> {
    let lock = session.query(&session.statements.retention.lock);
    session.execute(lock).await.map(drop)
}

/// Whether the person is under a hold, and is so until the transaction ends.
pub(super) async fn is_held(session: &mut Session, user: UserId) -> StoreResult<bool> {
    lock_holds(session).await?;
    let query = session.query(&session.statements.retention.is_held).id(user);
    Ok(session.one(query, |columns| columns.flag()).await? == Some(true))
}
