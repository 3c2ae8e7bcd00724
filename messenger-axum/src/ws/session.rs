//! One socket from its opening to its end.

use std::{collections::VecDeque, future::poll_fn, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use futures::{Sink, SinkExt as _, Stream, StreamExt as _};
use messenger_core::{
    Connection, Error, Signal,
    hub::{Delivery, Ending},
};
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::{
    frames::{self, Fault, Frame, Id, Request},
    replies::{Batch, Reply},
};
use crate::{
    door::Door,
    encoding::Encoding,
    sockets::caller::{Called, Caller},
};
use messenger_socket::{Account, Message, Pipeline, SocketError, WriteError, Writer};

/// A client that has not read what was written after this time is too slow.
const WRITE_WAIT: Duration = Duration::from_secs(10);
/// How long running requests may still be answered when the socket is told to go.
const DRAIN_WAIT: Duration = Duration::from_secs(5);
/// How long to wait for the client's half of the closing handshake.
const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// How many faults and requests refused for their rate are allowed before the socket is closed; each accepted request
/// offsets one.
const REFUSALS: u32 = 200;
/// Maximum number of requests in one batch.
const BATCH: usize = 100;

/// The close codes of the wire contract.
mod close {
    pub(super) const DONE: u16 = 1000;
    pub(super) const GOING_AWAY: u16 = 1001;
    pub(super) const PROTOCOL: u16 = 1002;
    pub(super) const UNSUPPORTED: u16 = 1003;
    pub(super) const NOT_UTF8: u16 = 1007;
    pub(super) const TOO_BIG: u16 = 1009;
    pub(super) const SESSION_ENDED: u16 = 4001;
    pub(super) const TOO_FAR_BEHIND: u16 = 4008;
    pub(super) const TOO_MANY_REQUESTS: u16 = 4029;
}

/// Why a socket ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The connection is already gone, or does not respond.
    Lost,
    /// With this close code and reason.
    Close(u16, &'static str),
}

type Step<T = ()> = std::result::Result<T, End>;

/// A socket's connection to the hub, and its requests.
pub(super) struct Session {
    caller: Caller,
    account: Arc<Account>,
    requests: Pipeline<Option<Bytes>>,
    /// Requests of received frames that may not be begun yet.
    waiting: VecDeque<Owned>,
    refusals: u32,
    heard: bool,
}

/// A request that outlives its frame.
struct Owned {
    reply: Reply,
    method: String,
    params: Option<Box<RawValue>>,
}

impl Session {
    pub(super) fn new(door: Door, connection: Connection, account: Arc<Account>) -> Self {
        Self {
            caller: Caller { door, connection },
            account,
            requests: Pipeline::default(),
            waiting: VecDeque::new(),
            refusals: 0,
            heard: true,
        }
    }

    /// Serves the socket until either side ends it. Generic, so that tests can use channels.
    pub(super) async fn run<S, E>(mut self, mut socket: S)
    where
        S: Stream<Item = std::result::Result<Message, E>> + Sink<Message, Error = E> + Unpin + Send,
        E: Into<SocketError>,
    {
        let end = loop {
            if let Err(end) = self.turn(&mut socket).await {
                break end;
            }
        };
        match end {
            End::Close(close::GOING_AWAY, _) => self.finish(&mut socket, &Error::unavailable()).await,
            // A running request may be what has ended the session.
            End::Close(close::SESSION_ENDED, _) => self.finish(&mut socket, &Error::Unauthenticated).await,
            _ => {}
        }
        // Before the closing handshake: no more events are meant for this connection.
        drop(self);
        if let End::Close(code, reason) = end {
            say_goodbye(&mut socket, code, reason).await;
        }
    }

    /// Waits for something to do, does it together with everything else that is ready, and writes the outcome at once.
    async fn turn<S, E>(&mut self, socket: &mut S) -> Step
    where
        S: Stream<Item = std::result::Result<Message, E>> + Sink<Message, Error = E> + Unpin + Send,
        E: Into<SocketError>,
    {
        let has_room = self.account.has_room();
        let may_read = has_room && self.requests.may_begin() && self.waiting.is_empty();
        // A client that is not being read does not count as silent.
        self.heard |= !may_read;
        let mut out = Out::new(socket);
        tokio::select! {
            signal = self.caller.connection.next() => out.signal(signal, &mut self.heard).await?,
            () = poll_fn(|task| self.requests.poll_progress(task)) => {}
            () = poll_fn(|task| self.account.poll_evicted(task)) => return Err(UNREAD),
            () = poll_fn(|task| self.account.poll_room(task)), if !has_room => {}
            message = out.writer.sink.next(), if may_read => {
                let Some(message) = message else { return Err(End::Lost) };
                self.heard = true;
                self.receive(message.map_err(broken)?).await?;
            }
        }
        loop {
            self.begin_waiting().await?;
            // Completes what can be done without waiting, so that its answer is written with the rest.
            let progress = poll_fn(|task| Poll::Ready(self.requests.poll_progress(task).is_ready())).await;
            while let Some(answer) = self.requests.ready.pop_front() {
                if let Some(answer) = answer {
                    out.feed(frames::text(answer)).await?;
                }
            }
            while !out.writer.is_full()
                && let Some(signal) = self.caller.connection.try_next()
            {
                out.signal(signal, &mut self.heard).await?;
            }
            let may_begin = !self.waiting.is_empty() && self.requests.may_begin();
            // Requests of the client get their turn even while there is much to send to it.
            if !may_begin && (!progress || out.writer.is_full()) {
                break;
            }
        }
        out.flush().await?;
        self.heard |= out.writer.has_taken();
        self.requests.shrink();
        if self.waiting.is_empty() {
            // Batches are rare, so the memory is released.
            self.waiting = VecDeque::new();
        }
        Ok(())
    }

    async fn receive(&mut self, message: Message) -> Step {
        match message {
            Message::Text(text) => match str::from_utf8(&text) {
                Ok(text) => self.receive_text(text).await,
                Err(_) => Err(End::Close(close::NOT_UTF8, "Text must be UTF-8.")),
            },
            Message::Binary(_) => Err(End::Close(close::UNSUPPORTED, "Only text frames are understood.")),
            Message::Ping(_) | Message::Pong => Ok(()),
            Message::Close(_) => Err(End::Close(close::DONE, "")),
        }
    }

    async fn receive_text(&mut self, text: &str) -> Step {
        match frames::read(text) {
            Frame::One(Ok(request)) => {
                let reply = Reply::to(request.id.clone(), None, &self.account);
                self.begin(reply, &request.method, request.params).await
            }
            Frame::One(Err(fault)) => {
                self.requests.ready.push_back(Some(frames::fault(&Id::null(), fault).into()));
                self.count_refusal()
            }
            Frame::Batch(requests) if requests.len() > BATCH => {
                let too_many = Error::Malformed(format!("A batch may have at most {BATCH} requests."));
                self.requests.ready.push_back(Some(frames::refusal(&Id::null(), &too_many).into()));
                self.count_refusal()
            }
            Frame::Batch(requests) => self.receive_batch(requests),
        }
    }

    fn receive_batch(&mut self, requests: Vec<std::result::Result<Request<'_>, Fault>>) -> Step {
        let batch = Batch::of(requests.len());
        for request in requests {
            let batch = Some(Arc::clone(&batch));
            match request {
                Ok(Request { id, method, params }) => self.waiting.push_back(Owned {
                    reply: Reply::to(id, batch, &self.account),
                    method: method.into_owned(),
                    params: params.map(ToOwned::to_owned),
                }),
                Err(fault) => {
                    let reply = Reply::to(Some(Id::null()), batch, &self.account);
                    let answer = reply.with_frame(|id| frames::fault(id, fault));
                    self.requests.ready.push_back(answer);
                    self.count_refusal()?;
                }
            }
        }
        Ok(())
    }

    /// Begins the requests of a batch, one after the other. Does so even when there is no room, because the answers of
    /// a batch are held together and have their own limit.
    async fn begin_waiting(&mut self) -> Step {
        while self.requests.may_begin() {
            let Some(Owned { reply, method, params }) = self.waiting.pop_front() else { break };
            if reply.has_no_room() {
                let too_long = Error::Malformed("The answers to this batch are too long together.".into());
                self.requests.ready.push_back(reply.with(&Err(too_long)));
                continue;
            }
            self.begin(reply, &method, params.as_deref()).await?;
        }
        Ok(())
    }

    async fn begin(&mut self, reply: Reply, method: &str, params: Option<&RawValue>) -> Step {
        let json = params.map_or("", RawValue::get).as_bytes();
        let called = self.caller.call(method, json, Encoding::Json).await;
        if let Called::TooOften(error) = called {
            self.requests.ready.push_back(reply.with(&Err(error)));
            return self.count_refusal();
        }
        self.refusals = self.refusals.saturating_sub(1);
        match called {
            Called::Done(answer) => self.requests.ready.push_back(reply.with(&answer)),
            Called::Work(work, start) => {
                let work = async move { work.await.map(move |answer| reply.with(&answer)) };
                self.requests.begin(Box::pin(work), start);
            }
            Called::NoSuchMethod => {
                self.requests.ready.push_back(reply.with_frame(|id| frames::fault(id, Fault::NoSuchMethod)));
            }
            Called::TooOften(_) => {}
        }
        Ok(())
    }

    fn count_refusal(&mut self) -> Step {
        self.refusals += 1;
        if self.refusals > REFUSALS {
            return Err(End::Close(close::TOO_MANY_REQUESTS, "Too many requests."));
        }
        Ok(())
    }

    /// Answers running requests, and refuses those of the same batch that have not begun.
    async fn finish<S, E>(&mut self, socket: &mut S, refusal: &Error)
    where
        S: Sink<Message, Error = E> + Unpin + Send,
        E: Into<SocketError>,
    {
        let _ = timeout(DRAIN_WAIT, poll_fn(|task| self.requests.poll_idle(task))).await;
        for Owned { reply, .. } in self.waiting.drain(..) {
            self.requests.ready.push_back(reply.with_frame(|id| frames::refusal(id, refusal)));
        }
        let mut out = Out::new(socket);
        while let Some(answer) = self.requests.ready.pop_front() {
            if let Some(answer) = answer
                && out.feed(frames::text(answer)).await.is_err()
            {
                return;
            }
        }
        let _ = out.flush().await;
    }
}

const GOING_AWAY: &str = "The server is going away; connect again.";

/// A series of frames written together.
struct Out<'s, S> {
    writer: Writer<'s, S>,
}

impl<'s, S, E> Out<'s, S>
where
    S: Sink<Message, Error = E> + Unpin + Send,
    E: Into<SocketError>,
{
    fn new(socket: &'s mut S) -> Self {
        Self { writer: Writer::new(socket, WRITE_WAIT) }
    }

    async fn signal(&mut self, signal: Signal, heard: &mut bool) -> Step {
        match signal {
            Signal::Event(delivery) => self.event(&delivery).await,
            // A slow client's answer may be far behind; reading what it is sent is a sign of life, too.
            Signal::Ping if !std::mem::take(heard) && !self.writer.has_taken() => Err(End::Lost),
            Signal::Ping => self.feed(Message::Ping(Bytes::new())).await,
            Signal::End(Ending::GoingAway) => Err(End::Close(close::GOING_AWAY, GOING_AWAY)),
            Signal::End(Ending::SessionEnded) => {
                Err(End::Close(close::SESSION_ENDED, "The session has ended."))
            }
            Signal::End(Ending::TooFarBehind) => {
                Err(End::Close(close::TOO_FAR_BEHIND, "Too far behind; connect again and resume."))
            }
            // For any ending added later: the client connects again.
            Signal::End(_) => Err(End::Close(close::GOING_AWAY, GOING_AWAY)),
            _ => Ok(()),
        }
    }

    async fn event(&mut self, delivery: &Delivery) -> Step {
        self.feed(frames::text(frames::event(delivery))).await
    }

    async fn feed(&mut self, message: Message) -> Step {
        let length = match &message {
            Message::Text(text) => text.len(),
            _ => 2,
        };
        self.writer.feed(message, length).await.map_err(not_written)
    }

    async fn flush(&mut self) -> Step {
        self.writer.flush().await.map_err(not_written)
    }
}

fn not_written<E: Into<SocketError>>(why: WriteError<E>) -> End {
    match why {
        WriteError::TimedOut => SLOW,
        WriteError::Failed(error) => broken(error),
    }
}

/// The closing frame reaches a client that begins to read again.
const SLOW: End = End::Close(close::TOO_FAR_BEHIND, "Too slow; connect again and resume.");
const UNREAD: End = End::Close(close::TOO_FAR_BEHIND, "Too much is unread; connect again and resume.");

/// Maps a failure of the socket to an ending.
fn broken(fault: impl Into<SocketError>) -> End {
    match fault.into() {
        SocketError::TooBig => End::Close(close::TOO_BIG, "The frame is too big."),
        SocketError::Protocol => End::Close(close::PROTOCOL, "This is no WebSocket frame."),
        // A frame that was begun can't be completed, so no closing frame can follow it.
        SocketError::Unread | SocketError::Lost => End::Lost,
    }
}

/// The closing handshake (RFC 6455, section 7): sends the reason, and briefly waits for the client's closing frame.
/// Dropping the socket with unread bytes in it could discard the closing frame before the client reads it.
async fn say_goodbye<S, E>(socket: &mut S, code: u16, reason: &'static str)
where
    S: Stream<Item = std::result::Result<Message, E>> + Sink<Message, Error = E> + Unpin + Send,
{
    let goodbye = async {
        // Nothing is sent if the client closed first, because that has been answered.
        let _ = socket.send(Message::close(code, reason)).await;
        while let Some(Ok(message)) = socket.next().await {
            if matches!(message, Message::Close(_)) {
                // Writes the remaining part of the other half.
                let _ = socket.flush().await;
                return;
            }
        }
        if matches!(code, close::PROTOCOL | close::TOO_BIG) {
            // Nothing can be read after such a fault, so it can only wait.
            std::future::pending::<()>().await;
        }
    };
    let _ = timeout(CLOSE_WAIT, goodbye).await;
}
