//! What somebody has not read, as it is when it is told.

use super::{
    delivering::{Composed, Desk},
    outbox::UnreadIn,
};
use crate::{jobs::JobError, ports::UserRecord};

pub(super) async fn compose(
    _desk: &Desk,
    _account: &UserRecord,
    _chats: &[UnreadIn],
) -> Result<Composed, JobError> {
    Ok(Composed::Nothing("read"))
}
