use std::{
    collections::VecDeque,
    io,
    mem::take,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures::{Sink, Stream};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::{Gone, Line, Outgoing, Received};
use crate::options::Transport;
use messenger_socket::Account;

/// How many bytes of a body are given to the HTTP server at a time. The server keeps what it has taken until the client
/// reads it.
const PIECE: usize = 8 * 1024;

/// A connection whose client makes requests: posted data waits here for the session, and data written by the session
/// waits for the next poll or for the event stream.
pub(crate) struct Pipe {
    state: Mutex<State>,
    /// Notified when there may be room for posted data, or when it is no longer needed.
    room: Notify,
    /// Notified when the session has written its last record.
    closed: Notify,
    /// Notified when the client's requests have got their last answer.
    buried: Notify,
    most_in: usize,
    most_out: usize,
    account: Arc<Account>,
}

struct State {
    posted: VecDeque<Bytes>,
    posted_bytes: usize,
    /// Set when the client will make no more requests.
    ended: Option<Received>,
    written: VecDeque<Record>,
    written_bytes: usize,
    /// What the current answer has taken, and not yet sent.
    taken: Weak<Taken>,
    /// When the client last read something of the current answer.
    moved_at: Option<Instant>,
    /// The session will write no more.
    finished: bool,
    is_buried: bool,
    /// The number of the poll to answer: the latest one.
    poll: u64,
    idle_since: Option<Instant>,
    session: Option<Waker>,
    client: Option<Waker>,
}

/// A record that the session has written and no answer has taken.
struct Record {
    bytes: Bytes,
    /// Whether it answers a call of the client.
    answers: bool,
}

/// The result of a poll.
pub(crate) enum Polled {
    /// There is data; the body takes it when it is written.
    Data(Written),
    /// Nothing arrived in time.
    Nothing,
    /// Another poll has arrived, or the connection has ended.
    NoMore,
}

impl Pipe {
    pub(crate) fn new(most_in: usize, most_out: usize, account: Arc<Account>) -> Self {
        let state = State {
            posted: VecDeque::new(),
            posted_bytes: 0,
            ended: None,
            written: VecDeque::new(),
            written_bytes: 0,
            taken: Weak::new(),
            moved_at: None,
            finished: false,
            is_buried: false,
            poll: 0,
            idle_since: Some(Instant::now()),
            session: None,
            client: None,
        };
        Self {
            state: Mutex::new(state),
            room: Notify::new(),
            closed: Notify::new(),
            buried: Notify::new(),
            most_in,
            most_out,
            account,
        }
    }

    /// Queues posted data, once there is room for it; `Gone` if the connection has ended.
    pub(crate) async fn post(&self, bytes: Bytes) -> Result<(), Gone> {
        loop {
            let room = self.room.notified();
            {
                let mut state = self.lock();
                if state.finished || state.ended.is_some() {
                    return Err(Gone);
                }
                // A single post may exceed the limit.
                if state.posted_bytes == 0 || state.posted_bytes + bytes.len() <= self.most_in {
                    state.posted_bytes += bytes.len();
                    state.posted.push_back(bytes);
                    wake(state.session.take(), state);
                    return Ok(());
                }
            }
            room.await;
        }
    }

    /// Waits for data to send; replaces any earlier poll.
    pub(crate) async fn poll(self: &Arc<Self>, wait: Duration) -> Polled {
        let turn = self.begin_poll();
        match timeout(wait, std::future::poll_fn(|task| self.poll_written(turn.number, task))).await {
            Ok(true) => {
                turn.moves();
                Polled::Data(Written { turn })
            }
            Ok(false) => {
                let mut state = self.lock();
                if state.finished && state.poll == turn.number {
                    state.is_buried = true;
                    drop(state);
                    self.buried.notify_one();
                }
                Polled::NoMore
            }
            Err(_) => Polled::Nothing,
        }
    }

    /// Whether the client has been told that nothing more will come.
    pub(crate) fn is_buried(&self) -> bool {
        self.lock().is_buried
    }

    /// The first poll only shows that the client polls.
    pub(crate) fn first_poll(self: &Arc<Self>) {
        drop(self.begin_poll());
    }

    fn begin_poll(self: &Arc<Self>) -> Turn {
        let mut state = self.lock();
        state.poll += 1;
        state.idle_since = None;
        state.moved_at = None;
        let number = state.poll;
        // An earlier waiting poll is answered.
        wake(state.client.take(), state);
        Turn { pipe: Arc::clone(self), number }
    }

    /// Ready with true if there is data to write; with false if this poll must not wait for it.
    fn poll_written(&self, number: u64, task: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.lock();
        if state.poll != number {
            return Poll::Ready(false);
        }
        if !state.written.is_empty() {
            return Poll::Ready(true);
        }
        if state.finished {
            return Poll::Ready(false);
        }
        state.client = Some(task.waker().clone());
        Poll::Pending
    }

    /// Takes all written records, for the current answer; nothing if another answer has begun.
    fn take(&self, number: u64, taken: &Arc<Taken>) {
        let mut state = self.lock();
        if state.poll != number {
            return;
        }
        state.written_bytes = 0;
        taken.lock().records.extend(take(&mut state.written).into_iter().map(|record| record.bytes));
        state.taken = Arc::downgrade(taken);
        wake(state.session.take(), state);
    }

    /// Discards what the client has not read.
    fn give_up(&self) {
        let mut state = self.lock();
        state.written = VecDeque::new();
        state.written_bytes = 0;
        if let Some(taken) = state.taken.upgrade() {
            taken.lock().give_up();
        }
    }

    /// Discards what is left, after the client has had its time to read it: otherwise a request could keep the memory
    /// for any length of time.
    fn let_go(&self) {
        let mut state = self.lock();
        // If the client ended the connection during a poll, the last record is kept to tell the poll.
        let said = state.written.pop_back().filter(|_| state.ended == Some(Received::Ended));
        drop(state);
        self.give_up();
        self.lock().written.extend(said);
    }

    /// Writes records as an event stream (the WHATWG's HTML standard, section 9.2). If the client ends the stream, it
    /// ends the connection.
    pub(crate) fn events(self: &Arc<Self>) -> Events {
        Events { turn: self.begin_poll(), begun: false, taken: Arc::default() }
    }

    /// Stops the pipe: nothing more is written, and no more posts are accepted.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.finished = true;
        state.posted = VecDeque::new();
        state.posted_bytes = 0;
        wake(state.client.take(), state);
        self.closed.notify_waiters();
        self.room.notify_waiters();
    }

    /// Keeps only answers to the client's calls, and the last record.
    pub(crate) fn keep_answers_and_last(&self) {
        let mut state = self.lock();
        let last = state.written.pop_back();
        state.written.retain(|record| record.answers);
        state.written.extend(last);
    }

    /// Waits until the session has written its last record.
    pub(crate) async fn closed(&self) {
        let closed = self.closed.notified();
        if !self.lock().finished {
            closed.await;
        }
    }

    /// Records that the client has ended the connection.
    pub(crate) fn end(&self) {
        self.client_ended(Received::Ended);
    }

    fn client_ended(&self, how: Received) {
        let mut state = self.lock();
        state.ended.get_or_insert(how);
        wake(state.session.take(), state);
        self.room.notify_waiters();
        self.buried.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes after the lock is released, or the woken task would wait for it at once.
fn wake(waker: Option<Waker>, state: MutexGuard<'_, State>) {
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The right of a request to be answered, until another request arrives.
struct Turn {
    pipe: Arc<Pipe>,
    number: u64,
}

impl Turn {
    /// Records that the client reads the answer.
    fn moves(&self) {
        let mut state = self.pipe.lock();
        if state.poll == self.number {
            state.moved_at = Some(Instant::now());
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.pipe.lock();
        if state.poll == self.number {
            state.moved_at = None;
            state.idle_since = Some(Instant::now());
        }
    }
}

/// What an answer has taken and is sending.
#[derive(Default)]
struct Taken(Mutex<Rest>);

#[derive(Default)]
struct Rest {
    records: VecDeque<Bytes>,
    /// The rest of a long record.
    begun: Bytes,
    /// Whether a record was discarded that had been partly sent.
    is_torn: bool,
}

impl Taken {
    fn lock(&self) -> MutexGuard<'_, Rest> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rest {
    /// The next piece, with records in their outgoing form; `None` at the end.
    fn next(&mut self, form: impl Fn(Bytes) -> Bytes) -> Option<io::Result<Bytes>> {
        if self.is_torn {
            return Some(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut piece = BytesMut::new();
        while piece.len() < PIECE {
            if self.begun.is_empty() {
                let Some(record) = self.records.pop_front() else { break };
                self.begun = form(record);
            }
            let count = self.begun.len().min(PIECE - piece.len());
            piece.put_slice(&self.begun[..count]);
            self.begun.advance(count);
            if self.begun.is_empty() {
                self.begun = Bytes::new();
            }
        }
        (!piece.is_empty()).then(|| Ok(piece.freeze()))
    }

    fn give_up(&mut self) {
        *self = Self { is_torn: !self.begun.is_empty() || !self.records.is_empty(), ..Self::default() };
    }
}

/// The body of the answer to a poll. It takes records only when it is written, so that nothing is lost if the client
/// has gone before.
pub(crate) struct Written {
    turn: Turn,
}

impl Written {
    pub(crate) fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> {
        let mut taken = None;
        futures::stream::poll_fn(move |_| {
            let taken = taken.get_or_insert_with(|| {
                let taken = Arc::default();
                self.turn.pipe.take(self.turn.number, &taken);
                taken
            });
            let piece = taken.lock().next(|record| record);
            self.turn.moves();
            Poll::Ready(piece)
        })
    }
}

/// The body of an event stream.
pub(crate) struct Events {
    turn: Turn,
    begun: bool,
    taken: Arc<Taken>,
}

impl Stream for Events {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.begun {
            self.begun = true;
            // A browser reports the stream as open only once it has received something.
            return Poll::Ready(Some(Ok(Bytes::from_static(b":\r\n"))));
        }
        let pipe = &self.turn.pipe;
        loop {
            let form = |record: Bytes| pipe.account.counted(as_event(&record));
            if let Some(piece) = self.taken.lock().next(form) {
                return Poll::Ready(Some(piece));
            }
            match std::task::ready!(pipe.poll_written(self.turn.number, task)) {
                true => pipe.take(self.turn.number, &self.taken),
                false => return Poll::Ready(None),
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.turn.pipe.client_ended(Received::Lost);
    }
}

/// A record as an event; a line break in it makes two lines of it.
fn as_event(record: &[u8]) -> Bytes {
    let mut event = BytesMut::with_capacity(record.len() + 10);
    for line in record.split(|byte| *byte == b'\n') {
        event.put_slice(b"data: ");
        event.put_slice(line.strip_suffix(b"\r").unwrap_or(line));
        event.put_slice(b"\r\n");
    }
    event.put_slice(b"\r\n");
    event.freeze()
}

/// The session's side of a pipe.
pub(crate) struct PipeLine {
    pipe: Arc<Pipe>,
    transport: Transport,
}

impl PipeLine {
    pub(crate) const fn new(pipe: Arc<Pipe>, transport: Transport) -> Self {
        Self { pipe, transport }
    }
}

impl Stream for PipeLine {
    type Item = Received;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Received>> {
        let mut state = self.pipe.lock();
        if let Some(bytes) = state.posted.pop_front() {
            state.posted_bytes -= bytes.len();
            drop(state);
            self.pipe.room.notify_waiters();
            return Poll::Ready(Some(Received::Data(bytes)));
        }
        match &state.ended {
            Some(Received::Lost) => Poll::Ready(Some(Received::Lost)),
            Some(_) => Poll::Ready(Some(Received::Ended)),
            None => {
                state.session = Some(task.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Sink<Outgoing> for PipeLine {
    type Error = Gone;

    fn poll_ready(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        let mut state = self.pipe.lock();
        if state.ended == Some(Received::Lost) {
            return Poll::Ready(Err(Gone));
        }
        if state.written_bytes >= self.pipe.most_out {
            state.session = Some(task.waker().clone());
            drop(state);
            return self.pipe.account.poll_evicted(task).map(|()| Err(Gone));
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, outgoing: Outgoing) -> Result<(), Gone> {
        let (bytes, answers) = match outgoing {
            Outgoing::Record(bytes) => (bytes, false),
            Outgoing::Answer(bytes) => (bytes, true),
            Outgoing::Ping => return Ok(()),
        };
        let mut state = self.pipe.lock();
        state.written_bytes += bytes.len();
        state.written.push_back(Record { bytes, answers });
        wake(state.client.take(), state);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        Poll::Ready(Ok(()))
    }
}

impl Line for PipeLine {
    fn transport(&self) -> Transport {
        self.transport
    }

    fn use_binary(&mut self) {}

    fn detach(&mut self) {}

    fn give_up(&mut self) {
        self.pipe.give_up();
    }

    fn idle_since(&self) -> Option<Instant> {
        if self.transport != Transport::LongPolling {
            return None;
        }
        let state = self.pipe.lock();
        state.idle_since.or(state.moved_at)
    }

    /// The next polls fetch what was written, and the last one of them is told that it was the last; an event stream
    /// ends after it.
    async fn finish(&mut self, wait: Duration) {
        self.pipe.close();
        let over = async {
            loop {
                let buried = self.pipe.buried.notified();
                {
                    let state = self.pipe.lock();
                    // A client that has ended the connection makes no more requests.
                    if state.is_buried || state.ended.is_some() {
                        return;
                    }
                }
                buried.await;
            }
        };
        let _ = timeout(wait, over).await;
    }
}

impl Drop for PipeLine {
    fn drop(&mut self) {
        self.pipe.close();
        self.pipe.let_go();
    }
}
