//! Turns: the right of a request to be processed.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use messenger_core::{Error, Result};
use tokio::sync::oneshot;

use super::ledger::{Bounds, Ledger, Scope, refused};
use crate::client::Client;

/// Lets a number of requests be processed at once, and more of them wait, limited in number and bytes. Waiting clients
/// take turns, however many requests each has.
pub(crate) struct Turns(Mutex<State>);

struct State {
    running: Ledger,
    waiting: Ledger,
    waiting_bytes: Ledger,
    /// The waiting requests of each client, in the order of arrival; no queue is empty.
    lanes: HashMap<Client, VecDeque<Waiter>>,
    /// The clients with waiting requests, the next one first.
    order: VecDeque<Client>,
    next_id: u64,
}

struct Waiter {
    id: u64,
    bytes: usize,
    grant: oneshot::Sender<Turn>,
}

/// The right to be processed; returned on drop.
#[must_use]
pub(crate) struct Turn {
    turns: Arc<Turns>,
    client: Client,
}

impl Turns {
    pub(super) fn new(running: Bounds, waiting: Bounds, waiting_bytes: Bounds) -> Arc<Self> {
        // At least one, since nothing could be done with zero.
        let running = Bounds {
            all: running.all.max(1),
            network: running.network.max(1),
            person: running.person.max(1),
        };
        Arc::new(Self(Mutex::new(State {
            running: Ledger::new(running),
            waiting: Ledger::new(waiting),
            waiting_bytes: Ledger::new(waiting_bytes),
            lanes: HashMap::new(),
            order: VecDeque::new(),
            next_id: 0,
        })))
    }

    /// Waits for a turn for a request of this many bytes; dropping the future gives up the place in the queue.
    ///
    /// # Errors
    /// `rateLimited` if too many requests of the person or network wait already, `unavailable` if too many wait in
    /// total.
    pub(crate) async fn take(self: &Arc<Self>, client: Client, bytes: usize) -> Result<Turn> {
        let mut waiting = match self.enter(client, bytes)? {
            Ok(turn) => return Ok(turn),
            Err(waiting) => waiting,
        };
        // The sender is dropped only together with the waiter.
        (&mut waiting.granted).await.map_err(|_| Error::unavailable())
    }

    fn enter(self: &Arc<Self>, client: Client, bytes: usize) -> Result<Result<Turn, Waiting>> {
        let mut state = self.lock();
        // Nobody is overtaken here: a waiting client lacks room in one of its own scopes.
        let Some(busy) = state.running.full(client, 1) else {
            state.running.add(client, 1);
            return Ok(Ok(Turn { turns: Arc::clone(self), client }));
        };
        if let Some(scope) = state.waiting.full(client, 1).or(state.waiting_bytes.full(client, bytes)) {
            // A client whose own share is used up is not told that the whole is.
            return Err(refused(if busy == Scope::All { scope } else { busy }));
        }
        let (id, granted) = state.wait(client, bytes);
        Ok(Err(Waiting { turns: Arc::clone(self), client, id, granted }))
    }

    fn give_back(self: &Arc<Self>, client: Client) {
        let mut state = self.lock();
        state.running.remove(client, 1);
        let grants = state.grants();
        drop(state);
        // Turns whose waiter has gone are returned by being dropped, which needs the lock.
        for (grant, client) in grants {
            drop(grant.send(Turn { turns: Arc::clone(self), client }));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wait(&mut self, client: Client, bytes: usize) -> (u64, oneshot::Receiver<Turn>) {
        let (grant, granted) = oneshot::channel();
        let id = self.next_id;
        self.next_id += 1;
        let lane = self.lanes.entry(client).or_default();
        if lane.is_empty() {
            self.order.push_back(client);
        }
        lane.push_back(Waiter { id, bytes, grant });
        self.waiting.add(client, 1);
        self.waiting_bytes.add(client, bytes);
        (id, granted)
    }

    /// Grants turns to waiters for whom there is room now, counted as running.
    fn grants(&mut self) -> Vec<(oneshot::Sender<Turn>, Client)> {
        let mut grants = Vec::new();
        // A client that is passed over keeps its place, or others of its network could stay ahead of it forever.
        while !self.running.is_used_up()
            && let Some(at) = self.order.iter().position(|client| self.running.full(*client, 1).is_none())
            && let Some(client) = self.order.remove(at)
        {
            if let Some(waiter) = self.next_of(client) {
                self.running.add(client, 1);
                grants.push((waiter.grant, client));
            }
        }
        grants
    }

    fn next_of(&mut self, client: Client) -> Option<Waiter> {
        let lane = self.lanes.get_mut(&client)?;
        let waiter = lane.pop_front();
        if lane.is_empty() {
            self.lanes.remove(&client);
        } else {
            self.order.push_back(client);
        }
        self.waits_no_more(client, waiter)
    }

    fn leave(&mut self, client: Client, id: u64) {
        let Some(lane) = self.lanes.get_mut(&client) else { return };
        let Some(at) = lane.iter().position(|waiter| waiter.id == id) else { return };
        let waiter = lane.remove(at);
        if lane.is_empty() {
            self.lanes.remove(&client);
            self.order.retain(|other| *other != client);
        }
        self.waits_no_more(client, waiter);
    }

    fn waits_no_more(&mut self, client: Client, waiter: Option<Waiter>) -> Option<Waiter> {
        if let Some(waiter) = &waiter {
            self.waiting.remove(client, 1);
            self.waiting_bytes.remove(client, waiter.bytes);
        }
        waiter
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.give_back(self.client);
    }
}

struct Waiting {
    turns: Arc<Turns>,
    client: Client,
    id: u64,
    granted: oneshot::Receiver<Turn>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.turns.lock().leave(self.client, self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures::{FutureExt as _, future::BoxFuture};
    use messenger_core::UserId;

    use super::*;

    fn client(network: u8, person: u128) -> Client {
        Client {
            network: Some(IpAddr::from([192, 0, 2, network])),
            person: Some(UserId::from_bytes(person.to_be_bytes())),
        }
    }

    fn turns(running: usize, waiting: usize) -> Arc<Turns> {
        let bounds = |all| Bounds { all, network: all, person: all };
        Turns::new(bounds(running), bounds(waiting), bounds(100))
    }

    fn take(turns: &Arc<Turns>, client: Client) -> BoxFuture<'static, Result<Turn>> {
        let turns = Arc::clone(turns);
        let mut take = async move { turns.take(client, 10).await }.boxed();
        match (&mut take).now_or_never() {
            Some(taken) => futures::future::ready(taken).boxed(),
            None => take,
        }
    }

    fn granted(take: &mut BoxFuture<'static, Result<Turn>>) -> Option<Turn> {
        take.now_or_never().map(|turn| turn.unwrap())
    }

    #[test]
    fn who_waits_for_its_network_is_not_overtaken_by_others_of_it() {
        let many = Bounds { all: 100, network: 100, person: 100 };
        let turns = Turns::new(Bounds { all: 2, network: 1, person: 1 }, many, many);
        let first = granted(&mut take(&turns, client(1, 9))).unwrap();
        let mut elsewhere = granted(&mut take(&turns, client(2, 2))).unwrap();
        let mut patient = take(&turns, client(1, 1));
        let mut others: VecDeque<_> = (0..5).map(|_| take(&turns, client(2, 2))).collect();
        let mut behind: VecDeque<_> = (0..5).map(|_| take(&turns, client(1, 3))).collect();
        for _ in 0..5 {
            drop(elsewhere);
            elsewhere = granted(&mut others.pop_front().unwrap()).unwrap();
        }
        drop(first);
        assert!(granted(&mut patient).is_some());
        assert!(granted(&mut behind.pop_front().unwrap()).is_some(), "and the next one after it");
    }

    #[test]
    fn who_has_many_waiting_keeps_others_waiting_for_one() {
        let turns = turns(1, 100);
        let mut running = granted(&mut take(&turns, client(1, 1)));
        let mut greedy: Vec<_> = (0..9).map(|_| take(&turns, client(1, 1))).collect();
        let mut modest = take(&turns, client(2, 2));
        running.take();
        running = granted(&mut greedy[0]);
        assert!(running.is_some());
        running.take();
        assert!(granted(&mut modest).is_some(), "nine others came before");
    }

    #[test]
    fn a_person_and_a_network_leave_room_for_others() {
        let turns = Turns::new(
            Bounds { all: 4, network: 2, person: 1 },
            Bounds { all: 100, network: 100, person: 100 },
            Bounds { all: 100, network: 100, person: 100 },
        );
        let _first = granted(&mut take(&turns, client(1, 1))).unwrap();
        let mut second = take(&turns, client(1, 1));
        assert!(granted(&mut second).is_none(), "a person has one");
        let neighbour = granted(&mut take(&turns, client(1, 2))).unwrap();
        let mut third = take(&turns, client(1, 3));
        assert!(granted(&mut third).is_none(), "a network has two");
        let _stranger = granted(&mut take(&turns, client(2, 4))).unwrap();
        drop(neighbour);
        assert!(granted(&mut second).is_none());
        assert!(granted(&mut third).is_some(), "nobody waits behind one who has no room");
    }

    #[test]
    fn the_queue_has_bounds_of_its_own() {
        let turns = Turns::new(
            Bounds { all: 1, network: 1, person: 1 },
            Bounds { all: 3, network: 2, person: 1 },
            Bounds { all: 1000, network: 25, person: 15 },
        );
        let _running = granted(&mut take(&turns, client(9, 9))).unwrap();
        let code = |client, bytes| match turns.enter(client, bytes) {
            Err(error) => error.code(),
            Ok(_) => "waits",
        };
        let _one = take(&turns, client(1, 1));
        assert_eq!(code(client(1, 1), 0), "rateLimited");
        assert_eq!(code(client(1, 2), 16), "rateLimited", "a person has 15 bytes, and the network 25");
        assert_eq!(code(client(1, 2), 15), "waits");
        let _two = take(&turns, client(1, 2));
        assert_eq!(code(client(1, 3), 0), "rateLimited");
        let _three = take(&turns, client(2, 4));
        assert_eq!(code(client(3, 5), 0), "unavailable");
    }

    #[test]
    fn who_goes_away_is_forgotten() {
        let turns = turns(1, 3);
        let running = granted(&mut take(&turns, client(1, 1))).unwrap();
        for _ in 0..10 {
            drop(take(&turns, client(1, 2)));
        }
        let gone = take(&turns, client(1, 3));
        let mut last = take(&turns, client(1, 4));
        drop(running);
        // Granted, and never taken.
        drop(gone);
        drop(granted(&mut last).unwrap());
        let state = turns.lock();
        assert!(state.running.is_empty() && state.waiting.is_empty() && state.waiting_bytes.is_empty());
        assert!(state.lanes.is_empty() && state.order.is_empty());
    }
}
