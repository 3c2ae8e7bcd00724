//! A connection from its first byte to its last.

mod answers;
mod clock;
mod opening;
mod receiving;
mod signs;
mod streams;
mod timing;

use std::{borrow::Cow, future::poll_fn, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::time::timeout;

use super::{
    caller::Caller,
    client_results::{ClientCall, ClientCalls, PendingCalls},
    connections::Registration,
    error::HubError,
    hub::{Close, Hub, HubClient as _, Push},
    options::{SignalROptions, Transport},
    protocol::{Malformed, Protocol, Records},
    reliable::Reliable,
    shared::Shared,
    transports::{Gone, Line, Outgoing, Received},
    uploads::Uploads,
};
use messenger_socket::{Account, Pipeline, WriteError, Writer};

use answers::CLOSED_WITH_ERROR;
use receiving::Waiting;
use streams::Streams;
use timing::Times;

/// How long running invocations may still be answered when the hub ends a connection.
const DRAIN_WAIT: Duration = Duration::from_secs(5);
/// How many answers may wait to be written before the next invocation begins.
const ANSWERS: usize = 64;

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The client is gone.
    Lost,
    /// The client has closed the connection.
    Left,
    /// The client does not respond, or sends data that can't be read.
    Fault(Cow<'static, str>),
    /// The hub ends the connection.
    Hub(Close),
}

type Step<T = ()> = Result<T, End>;

impl From<Malformed> for End {
    fn from(error: Malformed) -> Self {
        Self::Fault(error.to_string().into())
    }
}

/// A client that is connected to the hub.
struct Session<H: Hub> {
    shared: Arc<Shared<H>>,
    client: H::Client,
    account: Arc<Account>,
    protocol: Protocol,
    records: Records,
    waiting: Waiting,
    /// The calls in progress, with their answers; `None` if no answer is wanted.
    calls: Pipeline<Option<Bytes>>,
    streams: Streams,
    uploads: Uploads,
    pending: PendingCalls,
    /// Only with stateful reconnect.
    reliable: Option<Box<Reliable>>,
    times: Times,
    /// Whether there is a transport to write to. Without one a session continues only with stateful reconnect.
    attached: bool,
}

/// Serves a connection until either side ends it.
pub(super) async fn run<H: Hub, L: Line>(
    shared: Arc<Shared<H>>,
    user: H::User,
    mut line: L,
    registration: Registration<H::User>,
) {
    let mut records = Records::new(shared.options.maximum_receive_message_size);
    let agreed = Box::pin(opening::shake_hands(&mut line, &mut records, &shared.options)).await;
    let Some(agreed) = agreed else { return };
    let stateful = registration.is_stateful() && agreed.acks;
    if !stateful {
        registration.not_stateful();
    }
    let client_calls = ClientCalls::default();
    let pending = PendingCalls::new(client_calls.clone());
    let account = Arc::clone(&registration.entry.account);
    let caller = Caller {
        id: registration.public_id(),
        protocol: agreed.protocol,
        calls: client_calls,
        account: Arc::clone(&account),
    };
    let connecting = timeout(shared.options.handshake_timeout, shared.hub.connect(user, caller)).await;
    // Only now, so that a client which has started misses no later event.
    if !Box::pin(opening::accept(&mut line, &shared.options)).await {
        return;
    }
    let end = match connecting {
        Ok(Ok(client)) => {
            let mut session = Box::new(Session {
                times: Times::new(&shared.options, line.transport(), stateful),
                reliable: stateful
                    .then(|| Box::new(Reliable::new(shared.options.stateful_reconnect_buffer_size))),
                shared: Arc::clone(&shared),
                client,
                account,
                protocol: agreed.protocol,
                records,
                waiting: Waiting::default(),
                calls: Pipeline::default(),
                streams: Streams::default(),
                uploads: Uploads::default(),
                pending,
                attached: true,
            });
            let end = session.serve(&mut line).await;
            session.conclude(&mut line, end).await
        }
        Ok(Err(error)) => {
            let allow_reconnect = error == HubError::Unavailable;
            Some(Close { allow_reconnect, ..not_connected(&shared.options, &error.to_string()) })
        }
        Err(_) => Some(not_connected(&shared.options, "")),
    };
    // A client that is told to go away tries to reconnect to its connection, and must find that it no longer exists.
    if line.transport() == Transport::WebSockets {
        drop(registration);
    }
    send_close(&mut line, &shared.options, agreed.protocol, end).await;
}

fn not_connected(options: &SignalROptions, detail: &str) -> Close {
    Close { allow_reconnect: false, ..fault(options, detail) }
}

fn fault(options: &SignalROptions, detail: &str) -> Close {
    let error = if options.enable_detailed_errors && !detail.is_empty() {
        format!("{CLOSED_WITH_ERROR} {detail}").into()
    } else {
        CLOSED_WITH_ERROR.into()
    };
    Close { error: Some(error), allow_reconnect: true, answers_first: false }
}

async fn send_close<L: Line>(
    line: &mut L,
    options: &SignalROptions,
    protocol: Protocol,
    close: Option<Close>,
) {
    if let Some(Close { error, allow_reconnect, .. }) = close {
        let mut out = Writer::new(line, options.close_timeout);
        let record = protocol.close(error.as_deref(), allow_reconnect);
        let length = record.len();
        if out.feed(Outgoing::Record(record), length).await.is_ok() {
            let _ = out.flush().await;
        }
    }
    let wait = match line.transport() {
        Transport::LongPolling => options.disconnect_timeout,
        Transport::WebSockets | Transport::ServerSentEvents => options.close_timeout,
    };
    line.finish(wait).await;
}

impl<H: Hub> Session<H> {
    async fn serve<L: Line>(&mut self, line: &mut L) -> End {
        // Data may have arrived together with the handshake.
        let mut out = Writer::new(line, self.shared.options.transport_send_timeout);
        if let Err(end) = self.work_through(&mut out).await {
            return end;
        }
        loop {
            if let Err(end) = self.turn(line).await {
                return end;
            }
        }
    }

    /// Waits for something to do, does it together with everything else that is ready, and writes the outcome at once.
    async fn turn<L: Line>(&mut self, line: &mut L) -> Step {
        // Without a transport to read from, only another socket can arrive.
        let may_read = !self.attached || self.has_room();
        let may_write = self.may_write();
        let may_wait_for_room = !self.waiting.is_empty() && !self.account.has_room();
        let mut out = Writer::new(line, self.shared.options.transport_send_timeout);
        tokio::select! {
            push = self.client.next(), if may_write => self.push(&mut out, push).await?,
            received = out.sink.next(), if may_read => self.received(&mut out, received).await?,
            () = poll_fn(|task| self.calls.poll_progress(task)) => {}
            step = poll_fn(|task| self.streams.poll_next(task)), if may_write => self.stream(&mut out, step).await?,
            call = poll_fn(|task| self.pending.poll_next(task)), if may_write => self.send_call(&mut out, call).await?,
            () = self.uploads.make_room() => {}
            () = poll_fn(|task| self.account.poll_room(task)), if may_wait_for_room => {}
            () = poll_fn(|task| self.account.poll_evicted(task)) => return Err(self.cut(out.sink)),
            () = poll_fn(|task| self.times.poll_due(task)) => self.on_time(&mut out).await?,
        }
        self.work_through(&mut out).await
    }

    /// Does everything that is ready, and writes the outcome at once.
    async fn work_through<L: Line>(&mut self, out: &mut Writer<'_, L>) -> Step {
        loop {
            self.work_off().await?;
            // Completes what can be done without waiting, so that its answer is written with the rest.
            let progress = poll_fn(|task| Poll::Ready(self.calls.poll_progress(task).is_ready())).await;
            self.write_ready(out).await?;
            // Only now, because answers that were written make room for more. The client's messages get their turn even
            // while there is much to send to it.
            if !self.may_take_more() && (!progress || out.is_full()) {
                break;
            }
        }
        let flushed = out.flush().await;
        self.calls.shrink();
        if out.has_taken() {
            // Its answer to a ping may be far behind the data that it is reading.
            self.times.alive();
        }
        self.written(out.sink, &flushed)
    }

    async fn write_ready<L: Line>(&mut self, out: &mut Writer<'_, L>) -> Step {
        while self.may_write()
            && let Some(answer) = self.calls.ready.pop_front()
        {
            if let Some(answer) = answer {
                self.send_answer(out, answer).await?;
            }
        }
        while self.may_write()
            && !out.is_full()
            && let Some(push) = self.client.try_next()
        {
            self.push(out, push).await?;
        }
        while self.may_write() && !out.is_full() {
            let step = poll_fn(|task| Poll::Ready(self.streams.poll_next(task))).await;
            let Poll::Ready(step) = step else { break };
            self.stream(out, step).await?;
        }
        Ok(())
    }

    /// Whether numbered messages may be sent.
    fn may_write(&self) -> bool {
        !self.times.is_held() && self.reliable.as_ref().is_none_or(|reliable| !reliable.is_full())
    }

    /// Whether there is room for the client's next message. With stateful reconnect there is more room, because the
    /// client's confirmations, without which nothing may be written, come after everything that it has sent before.
    fn has_room(&self) -> bool {
        let more =
            self.reliable.as_ref().map_or(0, |_| 2 * self.shared.options.stateful_reconnect_buffer_size);
        self.unread() < self.most_unread() + more
    }

    /// Whether the client has sent so much that it should wait, which it does if it gets no confirmation.
    fn is_congested(&self) -> bool {
        self.unread() >= self.most_unread()
    }

    fn unread(&self) -> usize {
        self.records.len() + self.waiting.bytes()
    }

    fn most_unread(&self) -> usize {
        let options = &self.shared.options;
        // A record of the maximum length must fit, or it could never be completed.
        options.application_max_buffer_size.max(options.maximum_receive_message_size)
    }

    async fn push<L: Line>(&mut self, out: &mut Writer<'_, L>, push: Push) -> Step {
        match push {
            Push::Message(record) => self.send(out, record).await,
            Push::End(close) => Err(End::Hub(close)),
        }
    }

    async fn stream<L: Line>(&mut self, out: &mut Writer<'_, L>, step: streams::Step) -> Step {
        let record = match step {
            streams::Step::Item(id, item) => self.account.counted(self.protocol.stream_item(&id, &item)),
            streams::Step::End(id, end) => self.end_of_stream(&id, end),
        };
        self.send(out, record).await
    }

    async fn send_call<L: Line>(&mut self, out: &mut Writer<'_, L>, call: ClientCall) -> Step {
        // The client's answer may wait behind the invocation that makes this call.
        self.calls.release();
        let record = self.pending.send(call, self.protocol);
        self.send(out, record).await
    }

    /// Sends a numbered message: with stateful reconnect it is kept until the client confirms it.
    async fn send<L: Line>(&mut self, out: &mut Writer<'_, L>, record: Bytes) -> Step {
        self.keep(&record);
        self.write(out, record).await
    }

    /// Sends the answer to a call, as a numbered message.
    async fn send_answer<L: Line>(&mut self, out: &mut Writer<'_, L>, record: Bytes) -> Step {
        self.keep(&record);
        let length = record.len();
        self.put(out, Outgoing::Answer(record), length).await
    }

    fn keep(&mut self, record: &Bytes) {
        if let Some(reliable) = &mut self.reliable {
            reliable.send(record);
            if reliable.is_full() {
                self.times.buffer_is_full();
            }
        }
    }

    /// Writes a record, if there is a transport to write to.
    async fn write<L: Line>(&mut self, out: &mut Writer<'_, L>, record: Bytes) -> Step {
        let length = record.len();
        self.put(out, Outgoing::Record(record), length).await
    }

    async fn put<L: Line>(&mut self, out: &mut Writer<'_, L>, outgoing: Outgoing, length: usize) -> Step {
        if !self.attached {
            return Ok(());
        }
        let written = out.feed(outgoing, length).await;
        self.written(out.sink, &written)
    }

    fn written<L: Line>(&mut self, line: &mut L, written: &Result<(), WriteError<Gone>>) -> Step {
        match written {
            Ok(()) => Ok(()),
            Err(_) if self.account.is_evicted() => Err(self.cut(line)),
            Err(WriteError::TimedOut) if self.reliable.is_none() => {
                Err(End::Fault("The client is too slow.".into()))
            }
            Err(_) => self.lost(line),
        }
    }

    /// Ends the connection without waiting for the client, because more data waits for it than the limits allow.
    fn cut<L: Line>(&self, line: &mut L) -> End {
        line.give_up();
        End::Fault("Too much waits for the client.".into())
    }

    /// Handles the loss of the transport: it ends the session, or with stateful reconnect starts the time in which the
    /// client may come back.
    fn lost<L: Line>(&mut self, line: &mut L) -> Step {
        if self.reliable.is_none() {
            return Err(End::Lost);
        }
        line.detach();
        if std::mem::take(&mut self.attached) {
            self.times.detached();
        }
        Ok(())
    }

    async fn received<L: Line>(&mut self, out: &mut Writer<'_, L>, received: Option<Received>) -> Step {
        match received {
            Some(Received::Data(bytes)) => {
                self.times.heard();
                self.records.push(bytes);
                Ok(())
            }
            Some(Received::Alive) => {
                self.times.alive();
                Ok(())
            }
            Some(Received::Attached) => self.go_on(out).await,
            Some(Received::Lost) | None => self.lost(out.sink),
            Some(Received::Ended) => Err(End::Left),
            Some(Received::Broken) => Err(End::Fault("This is no WebSocket frame, or too big a one.".into())),
        }
    }

    /// Continues on a new socket, beginning with what the client has not confirmed.
    async fn go_on<L: Line>(&mut self, out: &mut Writer<'_, L>) -> Step {
        self.records.clear();
        self.attached = true;
        self.times.attached();
        if self.protocol.is_binary() {
            out.sink.use_binary();
        }
        let Some(reliable) = &self.reliable else { return Err(End::Lost) };
        let again: Vec<Bytes> = reliable.unconfirmed().cloned().collect();
        let first = self.protocol.sequence(reliable.first_unconfirmed());
        for record in std::iter::once(first).chain(again) {
            self.write(out, record).await?;
        }
        Ok(())
    }

    /// Answers running calls if there is time for that, and ends the session. Returns the last message for the client.
    async fn conclude<L: Line>(mut self: Box<Self>, line: &mut L, end: End) -> Option<Close> {
        if matches!(end, End::Lost) {
            line.give_up();
        }
        if matches!(end, End::Lost | End::Left) {
            // A client that sends and leaves without waiting for answers has still sent its messages.
            let _ = timeout(DRAIN_WAIT, self.work_off_rest(line)).await;
        }
        let close = match end {
            End::Lost => None,
            End::Left => Some(Close { error: None, allow_reconnect: false, answers_first: false }),
            End::Fault(detail) => {
                tracing::debug!(%detail, "a connection is ended for a fault");
                Some(fault(&self.shared.options, &detail))
            }
            End::Hub(close) => Some(close),
        };
        if close.as_ref().is_some_and(|close| close.answers_first) && self.attached {
            let _ = timeout(DRAIN_WAIT, poll_fn(|task| self.calls.poll_idle(task))).await;
            let mut out = Writer::new(line, self.shared.options.transport_send_timeout);
            while let Some(answer) = self.calls.ready.pop_front() {
                if let Some(answer) = answer
                    && self.send_answer(&mut out, answer).await.is_err()
                {
                    break;
                }
            }
            let flushed = out.flush().await;
            let _ = self.written(line, &flushed);
        }
        close.filter(|_| self.attached)
    }
}
