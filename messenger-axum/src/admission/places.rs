//! Limits the bytes that wait for a client: to be received from it, or to be sent to it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use messenger_core::Result;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::ledger::{Bounds, Ledger, Scope, refused};
use crate::client::Client;

/// A place that has not moved for this long may be taken from its holder for a new one.
const PATIENCE: Duration = Duration::from_secs(1);

/// Places for a number of waiting bodies or answers, and for a number of bytes. If none is left, the one that has
/// waited longest for its client gives way, so that stalled clients do not keep out active ones.
pub(crate) struct Places {
    state: Mutex<State>,
    /// How long a place may wait if nobody else needs it; `None` if the holder has its own time limit.
    limit: Option<Duration>,
}

struct State {
    number: Ledger,
    bytes: Ledger,
    /// The places, ordered by when each last moved.
    taken: BTreeMap<Key, Taken>,
    next_id: u64,
    swept: bool,
}

type Key = (Instant, u64);

struct Taken {
    client: Client,
    bytes: usize,
    seat: Arc<Seat>,
}

/// The part of a place that can be changed by those who make it give way.
struct Seat {
    /// The data for the client; `None` once the place was lost. It is cleared from outside, because a server does not
    /// poll the answer while its client reads nothing.
    pieces: Mutex<Option<VecDeque<Bytes>>>,
    lost: Notify,
}

/// A place of a waiting body or answer; returned on drop.
pub(crate) struct Place {
    places: Arc<Places>,
    key: Key,
    seat: Arc<Seat>,
}

/// The place was given to somebody else, or was held for too long.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the client has kept others waiting for too long")]
pub(crate) struct Lost;

impl Places {
    pub(super) fn new(number: Bounds, bytes: Bounds, limit: Option<Duration>) -> Arc<Self> {
        let state = State {
            number: Ledger::new(number),
            bytes: Ledger::new(bytes),
            taken: BTreeMap::new(),
            next_id: 0,
            swept: false,
        };
        Arc::new(Self { state: Mutex::new(state), limit })
    }

    /// Checks whether the client may have more that waits.
    ///
    /// # Errors
    /// `rateLimited` if too much waits for the person or network, `unavailable` if too much waits in total.
    pub(crate) fn check(&self, client: Client) -> Result<()> {
        self.lock().make_room(client, 1, 0).map_err(refused)
    }

    /// Takes a place with the data for the client, if there is room. A client that holds nothing else may have any
    /// amount: otherwise it would never be served.
    ///
    /// # Errors
    /// The same as [`check`](Self::check).
    pub(crate) fn enter(self: &Arc<Self>, client: Client, pieces: VecDeque<Bytes>) -> Result<Place> {
        let mut state = self.lock();
        state.make_room(client, 1, total(&pieces)).map_err(refused)?;
        Ok(self.seat(&mut state, client, pieces))
    }

    /// Takes a place for data that can't be refused.
    pub(crate) fn enter_anyway(self: &Arc<Self>, client: Client, pieces: VecDeque<Bytes>) -> Place {
        self.seat(&mut self.lock(), client, pieces)
    }

    fn seat(self: &Arc<Self>, state: &mut State, client: Client, pieces: VecDeque<Bytes>) -> Place {
        let bytes = total(&pieces);
        let seat = Arc::new(Seat { pieces: Mutex::new(Some(pieces)), lost: Notify::new() });
        let key = (Instant::now(), state.next_id);
        state.next_id += 1;
        state.number.add(client, 1);
        state.bytes.add(client, bytes);
        state.taken.insert(key, Taken { client, bytes, seat: Arc::clone(&seat) });
        if let Some(limit) = self.limit
            && !state.swept
        {
            state.swept = true;
            tokio::spawn(sweep(Arc::downgrade(self), key.0 + limit));
        }
        Place { places: Arc::clone(self), key, seat }
    }

    /// Ends places that have not moved for too long, and returns when to check again, if there are others.
    fn end_old(&self) -> Option<Instant> {
        let limit = self.limit?;
        let mut state = self.lock();
        while let Some((key, _)) = state.taken.first_key_value() {
            let (key, until) = (*key, key.0 + limit);
            if until > Instant::now() {
                return Some(until);
            }
            state.push_out(key);
        }
        state.swept = false;
        None
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs while anything waits.
async fn sweep(places: Weak<Places>, mut next: Instant) {
    loop {
        sleep_until(next).await;
        let Some(places) = places.upgrade() else { return };
        match places.end_old() {
            Some(at) => next = at,
            None => return,
        }
    }
}

impl State {
    fn make_room(&mut self, client: Client, number: usize, bytes: usize) -> Result<(), Scope> {
        while let Some(scope) = self.full(client, number, bytes) {
            let now = Instant::now();
            // If both limits are reached, it is the number that counts: any place that is given up makes room in it.
            let lacks_bytes = self.number.full(client, number).is_none();
            let oldest = self.taken.iter().take_while(|((moved, _), _)| now - *moved >= PATIENCE);
            let in_the_way = oldest
                .map(|(key, taken)| (*key, taken))
                .find(|(_, taken)| scope.covers(taken.client) && (taken.bytes > 0 || !lacks_bytes));
            let Some((key, _)) = in_the_way else { return Err(scope) };
            self.push_out(key);
        }
        Ok(())
    }

    fn full(&self, client: Client, number: usize, bytes: usize) -> Option<Scope> {
        let full = self.bytes.full(client, bytes).filter(|scope| self.bytes.held(*scope) > 0);
        self.number.full(client, number).or(full)
    }

    fn push_out(&mut self, key: Key) {
        if let Some(taken) = self.leave(key) {
            *taken.seat.lock() = None;
            taken.seat.lost.notify_one();
        }
    }

    fn leave(&mut self, key: Key) -> Option<Taken> {
        let taken = self.taken.remove(&key)?;
        self.number.remove(taken.client, 1);
        self.bytes.remove(taken.client, taken.bytes);
        Some(taken)
    }
}

impl Place {
    /// Counts bytes received from the client. This does not count as a move: a client must complete its request, not
    /// merely send something.
    ///
    /// # Errors
    /// The same as [`check`](Places::check); `Lost` if the place was lost.
    pub(crate) fn grow(&mut self, more: usize) -> Result<Result<(), Lost>> {
        let mut state = self.places.lock();
        let Some(taken) = state.taken.get(&self.key) else { return Ok(Err(Lost)) };
        let client = taken.client;
        state.make_room(client, 0, more).map_err(refused)?;
        // This place may have been the one that gave way.
        let Some(taken) = state.taken.get_mut(&self.key) else { return Ok(Err(Lost)) };
        taken.bytes += more;
        state.bytes.add(client, more);
        Ok(Ok(()))
    }

    /// Takes the next piece for the client, which counts as a move. `None` after the last piece.
    pub(crate) fn next_piece(&mut self) -> Result<Option<Bytes>, Lost> {
        let piece = self.seat.lock().as_mut().ok_or(Lost)?.pop_front();
        let Some(piece) = piece else { return Ok(None) };
        let mut state = self.places.lock();
        let mut taken = state.taken.remove(&self.key).ok_or(Lost)?;
        taken.bytes -= piece.len();
        state.bytes.remove(taken.client, piece.len());
        self.key.0 = Instant::now();
        state.taken.insert(self.key, taken);
        Ok(Some(piece))
    }

    /// Puts more data for the client behind what waits, which counts as a move: what is made later is not late because of the
    /// client.
    pub(crate) fn refill(&mut self, pieces: VecDeque<Bytes>) -> Result<(), Lost> {
        let bytes = total(&pieces);
        self.seat.lock().as_mut().ok_or(Lost)?.extend(pieces);
        let mut state = self.places.lock();
        let mut taken = state.taken.remove(&self.key).ok_or(Lost)?;
        taken.bytes += bytes;
        state.bytes.add(taken.client, bytes);
        self.key.0 = Instant::now();
        state.taken.insert(self.key, taken);
        Ok(())
    }

    /// Resolves when the place is lost.
    pub(crate) async fn lost(&self) -> Lost {
        self.watch().lost().await
    }

    /// Sees the loss of the place from elsewhere.
    pub(crate) fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.seat))
    }
}

/// Sees when a place is lost; one at a time may wait for that.
pub(crate) struct Watch(Arc<Seat>);

impl Watch {
    /// Resolves when the place is lost.
    pub(crate) async fn lost(&self) -> Lost {
        self.0.lost.notified().await;
        Lost
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().leave(self.key);
    }
}

impl Seat {
    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<Bytes>>> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn total(pieces: &VecDeque<Bytes>) -> usize {
    pieces.iter().map(Bytes::len).sum()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures::FutureExt as _;
    use messenger_core::UserId;
    use tokio::time::advance;

    use messenger_core::Error;

    use super::*;

    fn client(network: u8, person: u8) -> Client {
        let person = Some(UserId::from_bytes([person; 16]));
        Client { network: Some(IpAddr::from([192, 0, 2, network])), person }
    }

    fn places(bytes: Bounds) -> Arc<Places> {
        let many = Bounds { all: 100, network: 100, person: 100 };
        Places::new(many, bytes, Some(Duration::from_secs(30)))
    }

    fn pieces(count: usize) -> VecDeque<Bytes> {
        VecDeque::from(vec![Bytes::from_static(&[0; 10]); count])
    }

    fn code(entered: &Result<Place>) -> &'static str {
        entered.as_ref().map_or_else(messenger_core::Error::code, |_| "entered")
    }

    #[tokio::test(start_paused = true)]
    async fn each_scope_has_its_share() {
        let places = places(Bounds { all: 60, network: 40, person: 20 });
        let _ada = places.enter(client(1, 1), pieces(2)).unwrap();
        assert_eq!(code(&places.enter(client(1, 1), pieces(1))), "rateLimited");
        let _bob = places.enter(client(1, 2), pieces(2)).unwrap();
        assert_eq!(code(&places.enter(client(1, 3), pieces(1))), "rateLimited");
        let _cy = places.enter(client(2, 4), pieces(2)).unwrap();
        assert_eq!(code(&places.enter(client(3, 5), pieces(1))), "unavailable");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_nothing_may_have_one_of_any_length() {
        let places = places(Bounds { all: 60, network: 40, person: 20 });
        let _long = places.enter(client(1, 1), pieces(3)).unwrap();
        assert_eq!(code(&places.enter(client(1, 1), pieces(1))), "rateLimited");
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_what_waits_keeps_its_place_and_who_does_not_loses_it() {
        let places = places(Bounds { all: 60, network: 60, person: 60 });
        let mut moves = places.enter(client(1, 1), pieces(3)).unwrap();
        advance(Duration::from_millis(1)).await;
        let mut stuck = places.enter(client(2, 2), pieces(3)).unwrap();
        advance(PATIENCE).await;
        moves.next_piece().unwrap().unwrap();
        let _new = places.enter(client(3, 3), pieces(2)).unwrap();
        assert!(moves.next_piece().is_ok());
        assert!(stuck.lost().now_or_never().is_some());
        assert!(stuck.next_piece().is_err());
        assert_eq!(code(&places.enter(client(4, 4), pieces(4))), "unavailable", "these have moved just now");
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_no_bytes_does_not_give_way_where_bytes_are_missing() {
        let places = places(Bounds { all: 60, network: 60, person: 60 });
        let empty: Vec<_> = (0..3).map(|n| places.enter(client(1, n), VecDeque::new()).unwrap()).collect();
        advance(PATIENCE).await;
        let mut full = places.enter(client(2, 10), VecDeque::new()).unwrap();
        full.grow(60).unwrap().unwrap();
        let mut more = places.enter(client(3, 11), VecDeque::new()).unwrap();
        assert!(matches!(more.grow(1), Err(Error::Unavailable(_))));
        assert!(empty.iter().all(|place| place.lost().now_or_never().is_none()));
        // After its time has passed, the place in the way is lost; its client is sent no more.
        advance(PATIENCE).await;
        more.grow(1).unwrap().unwrap();
        assert!(full.grow(1).unwrap().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_gives_way_to_one_of_another_scope() {
        let places = places(Bounds { all: 60, network: 20, person: 20 });
        let mut old = places.enter(client(1, 1), pieces(2)).unwrap();
        advance(PATIENCE).await;
        let _other = places.enter(client(2, 2), pieces(2)).unwrap();
        assert_eq!(code(&places.enter(client(2, 3), pieces(1))), "rateLimited");
        assert!(old.next_piece().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_taken_for_too_long_is_let_go_of_though_nobody_asks_for_it() {
        let places = places(Bounds { all: 60, network: 60, person: 60 });
        for _ in 0..2 {
            let piece = Bytes::from(vec![0; 10]);
            let place = places.enter(client(1, 1), VecDeque::from([piece.clone()])).unwrap();
            tokio::time::sleep(Duration::from_secs(29)).await;
            assert!(!piece.is_unique());
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert!(piece.is_unique(), "the memory is held no more");
            let state = places.lock();
            assert!(state.number.is_empty() && state.bytes.is_empty() && state.taken.is_empty());
            drop((state, place));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_dropped_or_taken_counts_no_more() {
        let places = places(Bounds { all: 60, network: 60, person: 60 });
        let mut place = places.enter(client(1, 1), pieces(3)).unwrap();
        drop(places.enter(client(1, 1), pieces(1)).unwrap());
        place.next_piece().unwrap().unwrap();
        assert_eq!(places.lock().bytes.held(Scope::All), 20);
        while place.next_piece().unwrap().is_some() {}
        assert!(places.lock().bytes.is_empty());
        drop(place);
        assert!(places.lock().number.is_empty());
    }
}
