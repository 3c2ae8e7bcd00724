use std::{collections::BTreeSet, ops::RangeInclusive, sync::Arc, time::Duration};

use crate::{
    context::Context,
    domain::{Timestamp, UserId},
    ports::{Lease, PresenceState, PresenceStore, WentOffline},
    testkit::{FreshPresence, race},
};

pub async fn first_lease_brings_a_person_online_once(fresh: &dyn FreshPresence) {
    let scene = Scene::new(fresh);
    let [ada, bob, cleo] = scene.people();
    let (first, second) = (scene.lease(ada), scene.lease(ada));
    assert_eq!(scene.renew(&[first], 20).await, [ada]);
    assert_eq!(scene.renew(&[first], 20).await, []);
    assert_eq!(scene.renew(&[second], 20).await, []);
    assert_eq!(scene.online([ada, bob]).await, [true, false]);

    let batch = [scene.lease(bob), scene.lease(cleo), scene.lease(bob), scene.lease(ada)];
    let mut came = scene.renew(&batch, 20).await;
    came.sort_unstable();
    assert_eq!(came, [bob, cleo], "each once, also of one call");
    assert_eq!(scene.renew(&[], 20).await, []);

    let user = scene.context.id();
    let reports = race((0..16).map(|_| {
        let (presence, lease, ttl) = (fresh.presence(), scene.lease(user), fresh.unit() * 20);
        async move { presence.renew(&[lease], ttl).await.unwrap() }
    }))
    .await;
    assert_eq!(reports.concat(), [user], "of racers one is told");
}

pub async fn renewed_lease_keeps_a_person_online(fresh: &dyn FreshPresence) {
    let scene = Scene::new(fresh);
    let [ada, bob, _] = scene.people();
    let (lease, other) = (scene.lease(ada), scene.lease(bob));
    scene.renew(&[lease, other], 4).await;
    for _ in 0..3 {
        scene.pass(2).await;
        assert_eq!(scene.renew(&[lease], 4).await, []);
        assert_eq!(scene.online([ada]).await, [true]);
    }
    let gone: Vec<_> = scene.sweep(0, 10).await.into_iter().map(|gone| gone.user).collect();
    assert_eq!(gone, [bob], "whose lease was not renewed");
    assert_eq!(scene.online([ada, bob]).await, [true, false]);
    assert_eq!(scene.renew(&[lease], 4).await, []);
}

pub async fn released_person_stays_online_for_the_grace_period(fresh: &dyn FreshPresence) {
    let scene = Scene::new(fresh);
    let [ada, _, _] = scene.people();
    let lease = scene.lease(ada);
    scene.renew(&[lease], 20).await;
    scene.release(&[lease]).await;
    assert_eq!(scene.sweep(4, 10).await, []);
    assert_eq!(scene.online([ada]).await, [true]);
    scene.pass(2).await;
    assert_eq!(scene.sweep(4, 10).await, []);
    assert_eq!(scene.online([ada]).await, [true]);
    scene.pass(4).await;
    assert_eq!(scene.online([ada]).await, [true], "until it is reported");
}

pub async fn person_with_another_lease_stays_online(fresh: &dyn FreshPresence) {
    let scene = Scene::new(fresh);
    let [ada, bob, _] = scene.people();
    let (released, ended, live) = (scene.lease(ada), scene.lease(ada), scene.lease(ada));
    scene.renew(&[released, live], 30).await;
    scene.renew(&[ended], 1).await;
    scene.release(&[released]).await;
    scene.pass(3).await;
    assert_eq!(scene.sweep(0, 10).await, []);
    scene.release(&[scene.lease(ada), scene.lease(bob), released]).await;
    assert_eq!(scene.sweep(0, 10).await, [], "unknown leases are passed over");
    assert_eq!(scene.online([ada, bob]).await, [true, false]);
    assert_eq!(scene.renew(&[live], 30).await, []);
}

pub async fn person_goes_offline_once_after_the_grace_period(fresh: &dyn FreshPresence) {
    let scene = Scene::new(fresh);
    let people: [UserId; 3] = scene.people();
    let leases: Vec<_> = people.iter().flat_map(|user| [scene.lease(*user), scene.lease(*user)]).collect();
    scene.renew(&leases, 30).await;
    scene.release(&leases[1..]).await;
    scene.pass(1).await;
    let before = fresh.now();
    scene.release(&leases[..1]).await;
    let released = before..=fresh.now();
    scene.pass(2).await;
    assert_eq!(scene.sweep(10, 10).await, []);

    let mut gone = scene.sweep(1, 2).await;
    assert_eq!(gone.len(), 2, "no more than the limit");
    gone.extend(scene.sweep(1, 2).await);
    assert_eq!(scene.sweep(1, 2).await, [], "each once");
    let users: BTreeSet<_> = gone.iter().map(|gone| gone.user).collect();
    assert_eq!((users, gone.len()), (BTreeSet::from(people), 3));
    let first = gone.iter().find(|gone| gone.user == people[0]).unwrap();
    scene.assert_within(first.last_seen, &released);
    assert_eq!(scene.online(people).await, [false; 3]);

    let mut came = scene.renew(&leases[2..], 30).await;
    came.sort_unstable();
    assert_eq!(came, people[1..], "they come online again");
    scene.release(&leases).await;
    scene.pass(2).await;
    let reports = race((0..8).map(|_| {
        let (presence, unit) = (fresh.presence(), fresh.unit());
        async move { presence.sweep(unit, 10).await.unwrap() }
    }))
    .await;
    let mut gone: Vec<_> = reports.concat().into_iter().map(|gone| gone.user).collect();
    gone.sort_unstable();
    assert_eq!(gone, people[1..], "of racers one is told");
}

pub async fn person_goes_offline_when_leases_end_without_a_word(fresh: &dyn FreshPresence) {
    let scene = Scene::new(fresh);
    let [ada, _, _] = scene.people();
    let before = fresh.now();
    scene.renew(&[scene.lease(ada)], 6).await;
    let end = before.after(fresh.unit() * 6)..=fresh.now().after(fresh.unit() * 6);
    scene.renew(&[scene.lease(ada)], 3).await;
    scene.pass(4).await;
    assert_eq!(scene.sweep(0, 10).await, [], "one lease is live");
    scene.pass(3).await;
    assert_eq!(scene.sweep(3, 10).await, [], "the grace period counts from the end of the last lease");
    assert_eq!(scene.online([ada]).await, [true]);
    scene.pass(4).await;
    let gone = scene.sweep(3, 10).await;
    assert_eq!(gone.iter().map(|gone| gone.user).collect::<Vec<_>>(), [ada]);
    scene.assert_within(gone[0].last_seen, &end);
    assert_eq!(scene.sweep(0, 10).await, []);
    assert_eq!(scene.online([ada]).await, [false]);
}

pub async fn person_who_comes_back_within_the_grace_period_never_went(fresh: &dyn FreshPresence) {
    let scene = Scene::new(fresh);
    let [ada, bob, _] = scene.people();
    let (first, second) = (scene.lease(ada), scene.lease(ada));
    scene.renew(&[first], 2).await;
    scene.pass(3).await;
    assert_eq!(scene.renew(&[second], 30).await, [], "after the lease had ended");
    assert_eq!(scene.sweep(0, 10).await, []);
    scene.release(&[second]).await;
    scene.pass(2).await;
    assert_eq!(scene.renew(&[first], 30).await, [], "after it was given back");
    scene.release(&[first]).await;
    scene.pass(2).await;
    assert_eq!(scene.sweep(3, 10).await, [], "the grace period begins anew");
    assert_eq!(scene.online([ada]).await, [true]);
    scene.pass(3).await;
    assert_eq!(scene.renew(&[second], 30).await, [], "nobody was told that they had gone");
    assert_eq!(scene.sweep(0, 10).await, []);

    scene.renew(&[scene.lease(bob)], 1).await;
    scene.release(&[second]).await;
    scene.pass(4).await;
    let gone: BTreeSet<_> = scene.sweep(2, 10).await.into_iter().map(|gone| gone.user).collect();
    assert_eq!(gone, BTreeSet::from([ada, bob]));
}

pub async fn unknown_person_is_offline(fresh: &dyn FreshPresence) {
    let scene = Scene::new(fresh);
    let [ada, bob, cleo] = scene.people();
    assert_eq!(scene.online([ada]).await, [false]);
    scene.renew(&[scene.lease(bob)], 30).await;
    assert_eq!(scene.online([cleo, bob, ada, bob]).await, [false, true, false, true]);
    let mut asked: Vec<UserId> = (0..3000).map(|_| scene.context.id()).collect();
    asked.push(bob);
    let states = scene.presence.query(&asked).await.unwrap();
    let expected = asked.iter().map(|user| PresenceState { user: *user, online: *user == bob });
    assert!(states.into_iter().eq(expected));
    assert_eq!(scene.presence.query(&[]).await.unwrap(), []);
}

/// A presence under test, with times in units.
struct Scene<'f> {
    fresh: &'f dyn FreshPresence,
    presence: Arc<dyn PresenceStore>,
    /// Presence as another node reaches it.
    sweeper: Arc<dyn PresenceStore>,
    context: Context,
}

impl<'f> Scene<'f> {
    fn new(fresh: &'f dyn FreshPresence) -> Self {
        Self { fresh, presence: fresh.presence(), sweeper: fresh.presence(), context: Context::fixed() }
    }

    fn people(&self) -> [UserId; 3] {
        std::array::from_fn(|_| self.context.id())
    }

    fn lease(&self, user: UserId) -> Lease {
        Lease { user, connection: self.context.id() }
    }

    async fn pass(&self, units: u32) {
        self.fresh.pass(self.fresh.unit() * units).await;
    }

    async fn renew(&self, leases: &[Lease], ttl: u32) -> Vec<UserId> {
        self.presence.renew(leases, self.fresh.unit() * ttl).await.unwrap()
    }

    async fn release(&self, leases: &[Lease]) {
        self.presence.release(leases).await.unwrap();
    }

    async fn sweep(&self, grace: u32, limit: usize) -> Vec<WentOffline> {
        self.sweeper.sweep(self.fresh.unit() * grace, limit).await.unwrap()
    }

    async fn online<const N: usize>(&self, users: [UserId; N]) -> [bool; N] {
        let states = self.sweeper.query(&users).await.unwrap();
        assert!(states.iter().map(|state| state.user).eq(users), "in the same order");
        std::array::from_fn(|n| states[n].online)
    }

    fn assert_within(&self, moment: Timestamp, range: &RangeInclusive<Timestamp>) {
        let slack: Duration = self.fresh.unit() / 10;
        let range = range.start().before(slack)..=range.end().after(slack);
        assert!(range.contains(&moment), "{moment} is not within {range:?}");
    }
}
