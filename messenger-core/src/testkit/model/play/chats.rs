use std::{collections::BTreeSet, time::Duration};

use super::Play;
use crate::{
    domain::{ChatKind, Role, SystemEvent, UserId},
    ports::{Content, NewGroup, NewSystemMessage, RosterChange},
    testkit::{
        model::step::{Pick, Roster},
        world::name,
    },
};

impl Play {
    pub(super) async fn open_direct(&mut self, a: Pick, b: Pick) {
        let (a, b) = (self.user(a), self.user(b));
        if a == b {
            return;
        }
        let direct = self.world.new_direct(a, b);
        let answer = self.ask(async |store| store.open_direct(direct).await).await;
        self.chats.extend(answer.ok().filter(|opened| opened.created).map(|opened| opened.chat));
    }

    pub(super) async fn create_group(&mut self, creator: Pick, members: Vec<Pick>, client_id: Option<Pick>) {
        let creator = self.user(creator);
        let mut members: Vec<_> = members.into_iter().map(|member| self.user(member)).collect();
        dedup(&mut members);
        members.retain(|member| *member != creator);
        let client_id = client_id.map(|id| name(&format!("g{id}"), &members.len().to_string()));
        let group = NewGroup { client_id, ..self.world.new_group(creator, &members) };
        let answer = self.ask(async |store| store.create_group(group.clone()).await).await;
        self.chats.extend(answer.ok().filter(|opened| opened.created).map(|opened| opened.chat));
    }

    pub(super) async fn change_roster(&self, roster: Roster) {
        let change = self.roster_change(roster).await;
        let _ = self.ask(async |store| store.change_roster(change.clone()).await).await;
    }

    async fn roster_change(&self, roster: Roster) -> RosterChange {
        let chat = self.chat(roster.chat);
        let (messages, title) =
            (self.notes(&roster), roster.title.map(|n| Content::from(format!("Title {n}"))));
        let mut change =
            RosterChange { chat, expected: 1, add: vec![], remove: vec![], roles: vec![], title, messages };
        let Ok(now) = self.world.store.roster(chat).await else { return change };
        change.expected = now.chat.roster_version - u64::from(roster.stale);
        // If there are two reasons to refuse, no port defines which one is reported; and a direct chat keeps its two
        // members.
        if roster.stale || now.chat.kind == ChatKind::Direct {
            change.title = None;
            return change;
        }
        let mut members: Vec<_> = now.members.iter().map(|member| member.user_id).collect();
        change.add = roster.add.into_iter().map(|who| self.user(who)).collect();
        dedup(&mut change.add);
        change.add.retain(|user| !members.contains(user));
        for who in roster.remove {
            if !members.is_empty() {
                change.remove.push(members.remove(usize::from(who) % members.len()));
            }
        }
        for (who, role) in roster.roles {
            if !members.is_empty() {
                let user = members.remove(usize::from(who) % members.len());
                let role = [Role::Member, Role::Admin, Role::Owner][usize::from(role)];
                change.roles.push((user, role));
            }
        }
        change
    }

    fn notes(&self, roster: &Roster) -> Vec<NewSystemMessage> {
        let actor = self.user(roster.actor);
        (0..roster.notes).map(|_| self.world.system(actor, SystemEvent::TitleChanged)).collect()
    }

    pub(super) async fn mute(&self, chat: Pick, who: Pick, until: Option<Pick>) {
        let (chat, user) = (self.chat(chat), self.user(who));
        let until = until.map(|n| self.world.tick().after(Duration::from_secs(n.into())));
        let _ = self.ask(async |store| store.set_mute(chat, user, until).await).await;
    }
}

fn dedup(users: &mut Vec<UserId>) {
    let mut known = BTreeSet::new();
    users.retain(|user| known.insert(*user));
}
