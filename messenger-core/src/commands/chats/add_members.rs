use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::roster::{Draft, change, note};
use crate::{
    domain::{ChatId, SystemEvent, UserId},
    error::{Error, Result},
    messenger::{Command, Cx},
    ports::Topic,
};

/// Adds people to a group; owner or admin. Who is in it already is no error.
///
/// Errors: `notFound`, `forbidden`, `invalid` for people who don't exist and for too many.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddMembers {
    /// The group.
    pub chat_id: ChatId,
    /// Who is added.
    pub user_ids: Vec<UserId>,
}

/// Who was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Added {
    /// Without those who were in already.
    pub added: Vec<UserId>,
}

impl Command for AddMembers {
    type Output = Added;
    const NAME: &'static str = "AddMembers";

    async fn run(self, cx: &mut Cx) -> Result<Added> {
        let user = cx.actor().user()?;
        let max = cx.limits().members;
        let mut seen = HashSet::new();
        let wanted: Vec<UserId> = self.user_ids.into_iter().filter(|id| seen.insert(*id)).collect();
        if wanted.len() > max {
            return Err(Error::invalid("userIds", format!("may name at most {max} people")));
        }
        let added = std::sync::Mutex::new(Vec::new());
        let changed = change(cx, self.chat_id, user, |snapshot| {
            snapshot.require_admin()?;
            let new: Vec<UserId> =
                wanted.iter().copied().filter(|id| snapshot.member(*id).is_none()).collect();
            if new.is_empty() {
                return Ok(None);
            }
            if snapshot.roster.members.len() + new.len() > max {
                return Err(Error::invalid(
                    "userIds",
                    format!("would make the group larger than {max} people"),
                ));
            }
            if let Ok(mut added) = added.lock() {
                added.clone_from(&new);
            }
            let notes = vec![note(SystemEvent::MembersAdded, new.clone())];
            Ok(Some(Draft { add: new, notes, ..Draft::default() }))
        })
        .await;
        match changed? {
            None => {
                // Nor may they have been told.
                cx.tell_invalid(wanted.into_iter().map(Topic::User).collect());
                Ok(Added { added: Vec::new() })
            }
            Some(_) => Ok(Added { added: added.into_inner().unwrap_or_default() }),
        }
    }
}
