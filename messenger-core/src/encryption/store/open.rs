//! Opening what a store answers.

use super::SealedStore;
use crate::{
    domain::{MessageKind, UserId},
    encryption::{place::Place, sealer::Sealer},
    ports::{ChatRecord, ChatView, Content, MessageRecord, SessionRecord, StoreResult, UserRecord},
};

pub(super) fn place_of(message: &MessageRecord) -> Place {
    let &MessageRecord { chat, id: message_id, sender, .. } = message;
    match message.kind {
        MessageKind::Text => Place::Text { chat, message: message_id, author: sender },
        MessageKind::System => Place::Note { chat, message: message_id, actor: sender },
    }
}

/// Whose keys open what is at these places; for what is not sealed none is asked for.
fn owners<'c>(values: impl Iterator<Item = (Place, Option<&'c Content>)>) -> Vec<UserId> {
    let sealed = values.filter(|(_, content)| content.is_some_and(Sealer::is_sealed));
    sealed.filter_map(|(place, _)| place.key().owner).collect()
}

impl SealedStore {
    pub(super) async fn open_messages(&self, mut messages: Vec<&mut MessageRecord>) -> StoreResult<()> {
        messages.retain(|message| message.body.is_some());
        let owners = owners(messages.iter().map(|message| (place_of(message), message.body.as_ref())));
        let keys = self.sealer.keys.of(&owners, false).await?;
        for message in &mut messages {
            let place = place_of(message);
            if let Some(body) = &mut message.body {
                self.sealer.open_in_place(&self.sealer.pick(&keys, &place), &place, body)?;
            }
        }
        Ok(())
    }

    pub(super) async fn open_message(&self, mut message: MessageRecord) -> StoreResult<MessageRecord> {
        self.open_messages(vec![&mut message]).await?;
        Ok(message)
    }

    pub(super) fn open_chat(&self, chat: &mut ChatRecord) -> StoreResult<()> {
        let place = Place::Title { chat: chat.id };
        match &mut chat.title {
            Some(title) => self.sealer.open_text(&self.sealer.shared_key(), &place, title),
            None => Ok(()),
        }
    }

    pub(super) async fn open_users(&self, mut users: Vec<&mut UserRecord>) -> StoreResult<()> {
        users.retain(|user| user.erased_at.is_none());
        let owners = owners(users.iter().flat_map(|user| {
            let address = user.email.as_ref().map(|email| &email.content);
            let name = Place::DisplayName { user: user.id };
            [(Place::Address { user: user.id }, address), (name, Some(&user.display_name))]
        }));
        let keys = self.sealer.keys.of(&owners, false).await?;
        for user in &mut users {
            let address = Place::Address { user: user.id };
            let key = self.sealer.pick(&keys, &address);
            if let Some(email) = &mut user.email {
                self.sealer.open_in_place(&key, &address, &mut email.content)?;
            }
            if self.sealer.settings.display_names || Sealer::is_sealed(&user.display_name) {
                let place = Place::DisplayName { user: user.id };
                self.sealer.open_text(&key, &place, &mut user.display_name)?;
            }
        }
        Ok(())
    }

    pub(super) async fn open_user(&self, mut user: UserRecord) -> StoreResult<UserRecord> {
        self.open_users(vec![&mut user]).await?;
        Ok(user)
    }

    pub(super) async fn open_sessions(&self, mut sessions: Vec<&mut SessionRecord>) -> StoreResult<()> {
        let place = |session: &SessionRecord| Place::Device { session: session.id, user: session.user_id };
        sessions.retain(|session| session.device.is_some());
        let owners = owners(sessions.iter().map(|session| (place(session), session.device.as_ref())));
        let keys = self.sealer.keys.of(&owners, false).await?;
        for session in &mut sessions {
            let place = place(session);
            if let Some(device) = &mut session.device {
                self.sealer.open_text(&self.sealer.pick(&keys, &place), &place, device)?;
            }
        }
        Ok(())
    }

    /// Opens views whose last messages have at least the first `shown` bytes of their plain bodies.
    pub(super) async fn open_views(
        &self,
        mut views: Vec<ChatView>,
        shown: usize,
    ) -> StoreResult<Vec<ChatView>> {
        let last = views.iter().filter_map(|view| view.last_message.as_ref());
        let owners = owners(last.map(|message| (place_of(message), message.body.as_ref())));
        let keys = self.sealer.keys.of(&owners, false).await?;
        for view in &mut views {
            self.open_chat(&mut view.chat)?;
            let Some(message) = &mut view.last_message else { continue };
            let place = place_of(message);
            if let Some(body) = &mut message.body {
                let key = self.sealer.pick(&keys, &place);
                view.is_cut = self.sealer.open_beginning(&key, &place, body, (shown, view.is_cut))?;
            }
        }
        let peers = views.iter_mut().filter_map(|view| view.peer.as_mut()).collect();
        self.open_users(peers).await?;
        Ok(views)
    }
}
