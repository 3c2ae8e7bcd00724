//! Who there is, and what each client does, drawn from the seed.

use std::time::Duration;

use super::{rng::Rng, wire::Wire};

/// The people and chats of every run.
#[derive(Debug, Clone)]
pub(super) struct Cast {
    pub(super) people: usize,
    /// The members of each group; the first owns it and stays.
    pub(super) groups: Vec<Vec<usize>>,
    /// The two people of each direct chat.
    pub(super) direct: Vec<[usize; 2]>,
    pub(super) clients: Vec<Device>,
}

/// A client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Device {
    pub(super) person: usize,
    pub(super) wire: Wire,
    /// Whether it changes the members of the person's groups. One of a person's clients does.
    pub(super) rules: bool,
    /// Whether it goes away for good when half of the time is over.
    pub(super) leaves: bool,
}

/// What a client does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    /// Sends to one of the person's chats, counted around them.
    Send { chat: usize },
    /// Changes the text of the message that it sent last.
    Edit,
    /// Makes a group with these people.
    Group { with: Vec<usize> },
    /// Brings somebody into one of the groups that the person owns.
    Add { group: usize, whom: usize },
    /// Takes somebody out of one of the groups that the person owns.
    Remove { group: usize, whom: usize },
    /// Leaves its socket without a word, and comes back.
    Away { time: Duration },
}

impl Cast {
    pub(super) fn of(seed: u64) -> Self {
        let mut rng = Rng::of(seed, 1);
        let people = 12;
        let groups = (0..5).map(|group| members(&mut rng, group, people)).collect();
        let direct = vec![[0, 1], [2, 3], [4, 5], [1, 6]];
        let mut clients: Vec<_> = (0..people)
            .map(|person| Device {
                person,
                wire: if person % 2 == 0 { Wire::WebSocket } else { Wire::SignalR },
                rules: true,
                leaves: person + 2 >= people,
            })
            .collect();
        // Some have another one, on the other wire.
        for person in 0..4 {
            let wire = if person % 2 == 0 { Wire::SignalR } else { Wire::WebSocket };
            clients.push(Device { person, wire, rules: false, leaves: false });
        }
        Self { people, groups, direct, clients }
    }

    /// The numbers of the chats that a person is in at the beginning: groups, then direct ones.
    pub(super) fn chats_of(&self, person: usize) -> Vec<usize> {
        let groups = self.groups.iter().map(|members| members.contains(&person));
        let direct = self.direct.iter().map(|two| two.contains(&person));
        groups.chain(direct).enumerate().filter(|(_, is_in)| *is_in).map(|(chat, _)| chat).collect()
    }

    /// The numbers of the groups that a person owns at the beginning.
    pub(super) fn owned_by(&self, person: usize) -> Vec<usize> {
        (0..self.groups.len()).filter(|group| self.groups[*group][0] == person).collect()
    }
}

fn members(rng: &mut Rng, group: usize, people: usize) -> Vec<usize> {
    let owner = group;
    let others = (0..people).filter(|person| *person != owner);
    // The first group has everybody.
    let chosen: Vec<_> = others.filter(|_| group == 0 || rng.chance(60)).collect();
    [vec![owner], chosen].concat()
}

/// What one client does, one thing after the other, and after how long each.
#[derive(Debug, Clone)]
pub(super) struct Deeds {
    rng: Rng,
    people: usize,
    person: usize,
    chats: usize,
    owned: usize,
    rules: bool,
}

impl Deeds {
    pub(super) fn of(seed: u64, cast: &Cast, client: usize) -> Self {
        let Device { person, rules, .. } = cast.clients[client];
        Self {
            rng: Rng::of(seed, 100 + client as u64),
            people: cast.people,
            person,
            chats: cast.chats_of(person).len(),
            owned: cast.owned_by(person).len(),
            rules,
        }
    }

    /// The next thing, and how long after the one before.
    pub(super) fn next(&mut self) -> (Duration, Deed) {
        let rng = &mut self.rng;
        let after = if rng.chance(20) { rng.millis(0, 5) } else { rng.millis(20, 300) };
        let (chat, whom) = (rng.below(self.chats), rng.below(self.people));
        let group = rng.below(self.owned);
        let may_rule = self.rules && self.owned > 0 && whom != self.person;
        let deed = match rng.below(1000) {
            0..=79 if may_rule => Deed::Add { group, whom },
            80..=149 if may_rule => Deed::Remove { group, whom },
            150..=199 => Deed::Edit,
            200..=202 => Deed::Group { with: vec![whom, (whom + 3) % self.people] },
            203..=207 => Deed::Away { time: rng.millis(0, 7000) },
            _ => Deed::Send { chat },
        };
        (after, deed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_who_there_is_and_what_they_do() {
        for seed in 0..20 {
            let (cast, again) = (Cast::of(seed), Cast::of(seed));
            assert_eq!(cast.groups, again.groups);
            for client in 0..cast.clients.len() {
                let take = |mut deeds: Deeds| (0..500).map(|_| deeds.next()).collect::<Vec<_>>();
                assert_eq!(take(Deeds::of(seed, &cast, client)), take(Deeds::of(seed, &again, client)));
            }
            assert!((0..cast.people).all(|person| !cast.chats_of(person).is_empty()));
        }
    }
}
