use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{Sink, Stream};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::{Gone, Line, Outgoing, Received};
use crate::signalr::options::Transport;

/// A connection whose client makes requests: what it posts waits here for the session, and what the session writes
/// for the next poll or for the event stream.
pub(in crate::signalr) struct Pipe {
    state: Mutex<State>,
    /// There may be room for what is posted, or no more need for it.
    room: Notify,
    /// The session has written its last.
    closed: Notify,
    /// The client's requests have got their last answer.
    buried: Notify,
    most_in: usize,
    most_out: usize,
}

struct State {
    posted: VecDeque<Bytes>,
    posted_bytes: usize,
    /// The client will make no more requests.
    ended: Option<Received>,
    written: VecDeque<Bytes>,
    written_bytes: usize,
    /// The session will write no more.
    finished: bool,
    is_buried: bool,
    /// The number of the poll that is to be answered: the last that came.
    poll: u64,
    idle_since: Option<Instant>,
    session: Option<Waker>,
    client: Option<Waker>,
}

/// What a poll comes to.
pub(in crate::signalr) enum Polled {
    /// Something is there; the body takes it when it is written.
    Data(Written),
    /// Nothing came in time.
    Nothing,
    /// Another poll has come, or the connection is over.
    NoMore,
}

impl Pipe {
    pub(in crate::signalr) fn new(most_in: usize, most_out: usize) -> Self {
        let state = State {
            posted: VecDeque::new(),
            posted_bytes: 0,
            ended: None,
            written: VecDeque::new(),
            written_bytes: 0,
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
        }
    }

    /// Takes what the client posts, once there is room for it; `Gone` if the connection is over.
    pub(in crate::signalr) async fn post(&self, bytes: Bytes) -> Result<(), Gone> {
        loop {
            let room = self.room.notified();
            {
                let mut state = self.lock();
                if state.finished || state.ended.is_some() {
                    return Err(Gone);
                }
                // A single post may be longer than all that may wait.
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

    /// Waits for something to say, in place of any earlier poll.
    pub(in crate::signalr) async fn poll(self: &Arc<Self>, wait: Duration) -> Polled {
        let turn = self.begin_poll();
        match timeout(wait, std::future::poll_fn(|task| self.poll_written(turn.number, task))).await {
            Ok(true) => Polled::Data(Written { turn }),
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

    /// The first poll only shows that the client polls.
    pub(in crate::signalr) fn first_poll(self: &Arc<Self>) {
        drop(self.begin_poll());
    }

    fn begin_poll(self: &Arc<Self>) -> Turn {
        let mut state = self.lock();
        state.poll += 1;
        state.idle_since = None;
        let number = state.poll;
        // Whoever waited is answered.
        wake(state.client.take(), state);
        Turn { pipe: Arc::clone(self), number }
    }

    /// True if there is something to write; false if this poll is not to wait for it.
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

    /// All that is written, for the answer that is being given; nothing if another is given by now.
    fn take(&self, number: u64) -> VecDeque<Bytes> {
        let mut state = self.lock();
        if state.poll != number {
            return VecDeque::new();
        }
        state.written_bytes = 0;
        let written = std::mem::take(&mut state.written);
        wake(state.session.take(), state);
        written
    }

    /// What is written as an event stream (the WHATWG's HTML standard, section 9.2). Its end is the client's.
    pub(in crate::signalr) fn events(self: &Arc<Self>) -> Events {
        Events { turn: self.begin_poll(), begun: false }
    }

    /// Nothing more is written, and nothing more that is posted is taken.
    pub(in crate::signalr) fn close(&self) {
        let mut state = self.lock();
        state.finished = true;
        state.posted = VecDeque::new();
        state.posted_bytes = 0;
        wake(state.client.take(), state);
        self.closed.notify_waiters();
        self.room.notify_waiters();
    }

    /// Keeps only what was written last.
    pub(in crate::signalr) fn keep_last(&self) {
        let mut state = self.lock();
        let before = state.written.len().saturating_sub(1);
        state.written.drain(..before);
    }

    /// Waits until the session has written its last.
    pub(in crate::signalr) async fn closed(&self) {
        let closed = self.closed.notified();
        if !self.lock().finished {
            closed.await;
        }
    }

    /// The client has said that it is done.
    pub(in crate::signalr) fn end(&self) {
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

/// The right to be answered, until another request comes.
struct Turn {
    pipe: Arc<Pipe>,
    number: u64,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.pipe.lock();
        if state.poll == self.number {
            state.idle_since = Some(Instant::now());
        }
    }
}

/// The body of a poll's answer. It takes what it writes only when it is written, so that nothing is lost with a client
/// that has gone before.
pub(in crate::signalr) struct Written {
    turn: Turn,
}

impl Written {
    pub(in crate::signalr) fn into_stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        futures::stream::once(async move {
            let written = self.turn.pipe.take(self.turn.number);
            let mut body = BytesMut::with_capacity(written.iter().map(Bytes::len).sum());
            body.extend(written);
            Ok(body.freeze())
        })
    }
}

/// The body of an event stream.
pub(in crate::signalr) struct Events {
    turn: Turn,
    begun: bool,
}

impl Stream for Events {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.begun {
            self.begun = true;
            // A browser says that the stream is open only once something has come.
            return Poll::Ready(Some(Ok(Bytes::from_static(b":\r\n"))));
        }
        match self.turn.pipe.poll_written(self.turn.number, task) {
            Poll::Ready(true) => Poll::Ready(Some(Ok(as_events(&self.turn.pipe.take(self.turn.number))))),
            Poll::Ready(false) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.turn.pipe.client_ended(Received::Lost);
    }
}

/// Each record as an event of its own; a line break in it makes two lines of it.
fn as_events(records: &VecDeque<Bytes>) -> Bytes {
    let length = records.iter().map(|record| record.len() + 10).sum();
    let mut events = BytesMut::with_capacity(length);
    for record in records {
        for line in record.split(|byte| *byte == b'\n') {
            events.put_slice(b"data: ");
            events.put_slice(line.strip_suffix(b"\r").unwrap_or(line));
            events.put_slice(b"\r\n");
        }
        events.put_slice(b"\r\n");
    }
    events.freeze()
}

/// The session's end of a pipe.
pub(in crate::signalr) struct PipeLine {
    pipe: Arc<Pipe>,
    transport: Transport,
}

impl PipeLine {
    pub(in crate::signalr) const fn new(pipe: Arc<Pipe>, transport: Transport) -> Self {
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
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, outgoing: Outgoing) -> Result<(), Gone> {
        let Outgoing::Record(record) = outgoing else { return Ok(()) };
        let mut state = self.pipe.lock();
        state.written_bytes += record.len();
        state.written.push_back(record);
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

    fn idle_since(&self) -> Option<Instant> {
        if self.transport == Transport::LongPolling { self.pipe.lock().idle_since } else { None }
    }

    /// What was written is fetched by the next polls, the last of which is told that it was the last; an event stream
    /// ends after it.
    async fn finish(&mut self, wait: Duration) {
        self.pipe.close();
        let over = async {
            loop {
                let buried = self.pipe.buried.notified();
                {
                    let state = self.pipe.lock();
                    // Who has ended it makes no more requests.
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
    }
}
