use std::{sync::Arc, time::Instant};

use messenger_core::{
    Actor, ChatId, Messenger, Password, PasswordCost, Settings, Since,
    commands::{CreateGroupChat, RegisterUser, SendMessage},
    context::Context,
    ports::Store,
    queries::{GetHistory, SyncChats},
};

use super::{BODY, Result};

/// The service with people in groups.
#[derive(Debug)]
pub struct Service {
    messenger: Messenger,
    people: Vec<Actor>,
    names: Context,
}

impl Service {
    /// With so many people.
    pub async fn open(store: Arc<dyn Store>, people: usize) -> Result<Self> {
        // Passwords are not what is measured here.
        let cost = PasswordCost { memory_kib: 8, passes: 1, ..PasswordCost::default() };
        let settings = Settings { password_cost: cost, ..Settings::default() };
        let messenger = Messenger::builder(store).settings(settings).build()?;
        let mut service = Self { messenger, people: vec![], names: Context::system() };
        for number in 0..people {
            let actor = service.register(number).await?;
            service.people.push(actor);
        }
        Ok(service)
    }

    /// The people, in the order of their numbers.
    pub fn people(&self) -> &[Actor] {
        &self.people
    }

    async fn register(&self, number: usize) -> Result<Actor> {
        let register = RegisterUser {
            username: format!("person{number}"),
            email: format!("person{number}@example.org"),
            password: Password::new("correct horse battery"),
            display_name: None,
            device: None,
        };
        let registered = self.messenger.execute(&Actor::anonymous(), register).await?;
        Ok(self.messenger.authenticate(registered.token.expose()).await?)
    }

    /// A group of these people, the first of whom makes it.
    pub async fn make_group(&self, members: &[usize]) -> Result<ChatId> {
        let member_ids =
            members.iter().map(|member| self.people[*member].user()).collect::<Result<_, _>>()?;
        let create = CreateGroupChat { title: "Tea".into(), member_ids, client_id: None };
        Ok(self.messenger.execute(&self.people[members[0]], create).await?.value.id)
    }

    /// Each sender, with their chats, waits for the commit of a message before they send the next one. Gives how many
    /// were sent.
    pub async fn send_until(&self, until: Instant, senders: Vec<(usize, Vec<ChatId>)>) -> Result<usize> {
        let tasks: Vec<_> = senders
            .into_iter()
            .map(|(number, chats)| {
                let (messenger, actor) = (self.messenger.clone(), self.people[number]);
                tokio::spawn(send_until(until, messenger, actor, chats, number, self.names.clone()))
            })
            .collect();
        let mut sent = 0;
        for task in tasks {
            sent += task.await??;
        }
        Ok(sent)
    }

    /// This person sends a text of so many bytes as the others.
    pub async fn send(&self, person: usize, chat_id: ChatId) -> Result {
        let send = SendMessage { chat_id, body: BODY.to_owned(), client_id: None, reply_to: None };
        self.messenger.execute(&self.people[person], send).await?;
        Ok(())
    }

    /// The newest page of the chat, of so many messages.
    pub async fn page(&self, person: usize, chat_id: ChatId, messages: u32) -> Result<usize> {
        let newest = GetHistory { chat_id, before: None, after: None, around: None, limit: Some(messages) };
        Ok(self.messenger.query(&self.people[person], newest).await?.items.len())
    }

    /// What a client asks for that connects and has nothing yet: all chats, with the newest messages of each. Gives how
    /// many chats there were.
    pub async fn connect(&self, person: usize) -> Result<usize> {
        let (mut asked, mut chats) = (SyncChats { position: Since::Nowhere, ..SyncChats::default() }, 0);
        loop {
            let synced = self.messenger.query(&self.people[person], asked.clone()).await?;
            chats += synced.chats.len();
            asked.cursor = synced.next_cursor;
            if asked.cursor.is_none() {
                return Ok(chats);
            }
        }
    }

    /// Ends it and closes its store.
    pub async fn close(&self) {
        self.messenger.close().await;
    }
}

async fn send_until(
    until: Instant,
    messenger: Messenger,
    actor: Actor,
    chats: Vec<ChatId>,
    number: usize,
    names: Context,
) -> Result<usize> {
    let mut sent = 0;
    while Instant::now() < until {
        let send = SendMessage {
            chat_id: chats[(number + sent) % chats.len()],
            body: BODY.to_owned(),
            client_id: Some(names.id::<()>().to_string()),
            reply_to: None,
        };
        messenger.execute(&actor, send).await?;
        sent += 1;
    }
    Ok(sent)
}
