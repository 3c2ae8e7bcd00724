use std::{collections::HashSet, sync::Arc};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::roster::note;
use crate::{
    commands::view,
    convert,
    domain::{Chat, ClientId, Revision, SystemEvent, SystemNote, Title, UserId},
    error::{Checks, Error, Result},
    messenger::{Command, Cx, Outcome},
    ports::{BusMessage, Fingerprint, Hint, NewGroup, NewSystemMessage, StoreErrorKind, Topic},
};

/// Makes a group; who makes it owns it. With a client id, a repetition finds the group made before.
///
/// Errors: `invalid`, also for people who don't exist; `clientIdReused`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateGroupChat {
    /// The title.
    pub title: String,
    /// The other members; naming oneself or somebody twice is no error.
    pub member_ids: Vec<UserId>,
    /// What the client calls this request.
    pub client_id: Option<String>,
}

impl Command for CreateGroupChat {
    type Output = Outcome<Chat>;
    const NAME: &'static str = "CreateGroupChat";

    async fn run(self, cx: &mut Cx) -> Result<Outcome<Chat>> {
        let user = cx.actor().user()?;
        let group = self.checked(cx, user)?;
        let expected = group.client_id.as_ref().map(|(_, fingerprint)| *fingerprint);
        let everyone: Vec<UserId> = [user].into_iter().chain(group.members.iter().copied()).collect();
        let people: Vec<Topic> = everyone.iter().map(|user| Topic::User(*user)).collect();
        cx.writes(people.clone());
        let opened = match cx.store().create_group(group).await {
            Err(error) if error.kind() == StoreErrorKind::NotFound => return Err(unknown_members()),
            opened => opened?,
        };
        if !opened.created && opened.fingerprint != expected {
            return Err(Error::ClientIdReused);
        }
        if opened.created {
            let (chat, revision) = (opened.chat, Revision::new(1));
            let hint = Arc::new(Hint::Added { chat, revision, users: everyone });
            cx.tell(Some(chat), BusMessage { topics: people, hint });
        } else {
            // Whoever made it may not have been answered, and then has told nobody.
            cx.tell_invalid(people);
        }
        let chat = view(cx, opened.chat, user).await?;
        Ok(Outcome { value: chat, created: opened.created })
    }
}

impl CreateGroupChat {
    fn checked(self, cx: &Cx, user: UserId) -> Result<NewGroup> {
        let limits = cx.limits();
        let mut checks = Checks::default();
        let title = checks.field("title", Title::parse(&self.title, limits));
        let client_id =
            checks.optional("clientId", self.client_id.as_deref().map(|id| ClientId::parse(id, limits)));
        let mut seen = HashSet::from([user]);
        let members: Vec<UserId> = self.member_ids.into_iter().filter(|id| seen.insert(*id)).collect();
        if members.len() >= limits.members {
            let too_many = format!("may name at most {} people", limits.members - 1);
            checks.field::<()>("memberIds", Err(too_many));
        }
        checks.finish()?;
        let title = title.ok_or_else(|| Error::invalid("title", "is missing"))?;
        let fingerprint = fingerprint(&title, &members);

        let mut everyone = vec![user];
        everyone.extend_from_slice(&members);
        let said = SystemNote { title: Some(title.clone()), ..note(SystemEvent::Created, everyone) };
        let created_at = cx.context().now();
        let id = cx.context().id();
        Ok(NewGroup {
            id,
            creator: user,
            members,
            title,
            client_id: client_id.map(|client_id| (client_id, fingerprint)),
            created_at,
            message: NewSystemMessage {
                id: cx.context().id(),
                sender: user,
                note: convert::write_note(&said),
                at: created_at,
            },
        })
    }
}

/// The same for the same title and members, in whatever order they are named.
fn fingerprint(title: &Title, members: &[UserId]) -> Fingerprint {
    let mut members = members.to_vec();
    members.sort_unstable();
    let mut hash = Sha256::new();
    for member in &members {
        hash.update(member.as_bytes());
    }
    hash.update(title.as_str());
    let digest: [u8; 32] = hash.finalize().into();
    Fingerprint::of(&digest)
}

fn unknown_members() -> Error {
    Error::invalid("memberIds", "names somebody who does not exist")
}
