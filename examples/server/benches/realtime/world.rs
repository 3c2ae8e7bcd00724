//! People and chats, in a store that each server under test gets a copy of.

use messenger_core::{ChatId, Messenger, commands::OpenDirectChat};

use crate::{
    Plan, Result,
    people::{group, open, people},
    stock::Stock,
    store::Store,
};

pub(crate) use crate::people::Person;

/// Everybody and everything.
pub(crate) struct World {
    pub(crate) store: Store,
    /// Each in [`CHATS_OF_ONE`] chats of [`MEMBERS`].
    pub(crate) idle: Vec<Person>,
    /// The members of the groups, the first ones of them.
    pub(crate) crowd: Vec<Person>,
    groups: Vec<(usize, ChatId)>,
    /// Of each of the crowd a chat that nobody else is in.
    pub(crate) own: Vec<ChatId>,
    /// Two people each, with their chat.
    pub(crate) pairs: Vec<([Person; 2], ChatId)>,
    pub(crate) stock: Stock,
}

/// Chats that each idle person is in.
pub(crate) const CHATS_OF_ONE: usize = 10;
/// Members of each of these chats.
pub(crate) const MEMBERS: usize = 20;
/// Members of the groups that messages go to.
pub(crate) const GROUPS: [usize; 3] = [100, 500, 1000];
pub(crate) const PAIRS: usize = 100;

impl World {
    /// With what this plan needs.
    pub(crate) async fn make(store: Store, plan: &Plan) -> Result<Self> {
        let messenger = open(store.open().await?)?;
        let crowd = people(&messenger, "crowd", GROUPS[GROUPS.len() - 1]).await?;
        let mut groups = Vec::new();
        for size in GROUPS {
            groups.push((size, group(&messenger, &crowd[..size]).await?));
        }
        let mut own = Vec::new();
        for person in &crowd {
            own.push(group(&messenger, std::slice::from_ref(person)).await?);
        }
        let paired = people(&messenger, "pair", 2 * PAIRS).await?;
        let mut pairs = Vec::new();
        for two in paired.chunks_exact(2) {
            let open = OpenDirectChat { user_id: two[1].id };
            let chat = messenger.execute(&two[0].actor, open).await?.value.id;
            pairs.push(([two[0].clone(), two[1].clone()], chat));
        }
        let idle = people(&messenger, "idle", plan.connections / MEMBERS * MEMBERS).await?;
        chats_of_idle(&messenger, &idle).await?;
        let stock = Stock::make(&messenger, plan).await?;
        messenger.close().await;
        store.complete().await?;
        Ok(Self { store, idle, crowd, groups, own, pairs, stock })
    }

    /// The chat of the first so many of the crowd.
    pub(crate) fn group(&self, size: usize) -> Result<ChatId> {
        let found = self.groups.iter().find(|group| group.0 == size);
        Ok(found.ok_or("there is no group of this size")?.1)
    }
}

/// Every person is in one chat of each pass, with others in each.
async fn chats_of_idle(messenger: &Messenger, idle: &[Person]) -> Result {
    let chats = idle.len() / MEMBERS;
    for pass in 0..CHATS_OF_ONE {
        for chat in 0..chats {
            let members: Vec<Person> =
                (0..MEMBERS).map(|m| idle[(chat + pass * m) % chats + m * chats].clone()).collect();
            group(messenger, &members).await?;
        }
    }
    Ok(())
}
