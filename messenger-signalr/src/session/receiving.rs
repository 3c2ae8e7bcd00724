//! Handles the client's messages, one after the other.

use std::{borrow::Cow, collections::VecDeque, future::poll_fn, sync::Arc};

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use messenger_socket::{Placed, StartAfter};

use super::{
    ANSWERS, End, Session, Step,
    answers::{Texts, in_use, stream_failed},
};
use crate::{
    error::HubError,
    hub::{self, Hub, HubClient as _, Invoked},
    protocol::{Framing, Invocation, Message, Payload},
    transports::{Line, Received},
};

impl<H: Hub> Session<H> {
    /// Processes complete messages. Invocations that may not begin yet wait; messages about the connection itself, or
    /// that running work waits for, do not wait behind them.
    pub(super) async fn work_off(&mut self) -> Step {
        self.work_off_waiting().await?;
        while let Some(record) = self.records.next(Framing::from(self.protocol))? {
            let message = self.protocol.read(&record)?;
            self.times.let_go();
            if message.is_tracked()
                && let Some(reliable) = &mut self.reliable
            {
                if !reliable.receive() {
                    continue;
                }
                self.times.owes_confirmation();
            }
            let is_item = is_item(&message);
            match self.place_of(&message) {
                Place::Now => self.act(message).await?,
                Place::Items => self.waiting.items.push(record),
                Place::Calls => self.waiting.add_call(record, is_item),
            }
        }
        self.work_off_waiting().await
    }

    /// Whether a waiting message may be processed now. Nothing else wakes the session for it.
    pub(super) fn may_take_more(&self) -> bool {
        self.may_take() && !self.waiting.calls.is_empty()
    }

    async fn work_off_waiting(&mut self) -> Step {
        while !self.uploads.is_full()
            && let Some(record) = self.waiting.items.pop()
        {
            self.act(self.protocol.read(&record)?).await?;
        }
        while self.may_take()
            && let Some(record) = self.waiting.calls.front().cloned()
        {
            let message = self.protocol.read(&record)?;
            self.waiting.remove_call(is_item(&message));
            self.act(message).await?;
        }
        Ok(())
    }

    /// Processes what the client sent before it left; nothing is answered.
    pub(super) async fn work_off_rest<L: Line>(&mut self, line: &mut L) {
        loop {
            self.calls.ready.clear();
            let is_more = match line.next().now_or_never().flatten() {
                Some(Received::Data(bytes)) => {
                    self.records.push(bytes);
                    true
                }
                Some(Received::Alive) => true,
                _ => false,
            };
            // Ends at a message that can't be read, and at a close message.
            if self.work_off().await.is_err() {
                break;
            }
            // Discarding the completed answers makes room for others.
            if is_more || !self.calls.ready.is_empty() {
                continue;
            }
            if self.waiting.calls.is_empty() {
                break;
            }
            tokio::select! {
                () = poll_fn(|task| self.calls.poll_progress(task)) => {}
                () = self.uploads.make_room() => {}
            }
        }
        poll_fn(|task| self.calls.poll_idle(task)).await;
    }

    /// Whether the next invocation may be processed: it may begin, and there is room for its result.
    pub(super) fn may_take(&self) -> bool {
        self.calls.may_begin()
            && self.calls.ready.len() < ANSWERS
            && !self.uploads.is_full()
            && self.account.has_room()
    }

    fn place_of(&self, message: &Message<'_>) -> Place {
        match message {
            Message::Ping
            | Message::Ack(_)
            | Message::Sequence(_)
            | Message::Close { .. }
            | Message::Unknown => Place::Now,
            Message::Completion { id, .. } if self.pending.is_open(id) => Place::Now,
            Message::StreamItem { id, .. } | Message::Completion { id, .. }
                if self.uploads.is_open(id) && self.waiting.items_among_calls == 0 =>
            {
                if self.uploads.is_full() || !self.waiting.items.is_empty() {
                    Place::Items
                } else {
                    Place::Now
                }
            }
            _ if self.may_take() && self.waiting.calls.is_empty() => Place::Now,
            _ => Place::Calls,
        }
    }

    async fn act(&mut self, message: Message<'_>) -> Step {
        match message {
            Message::Invocation(invocation) => self.invoke(invocation).await,
            Message::StreamItem { id, item } => self.uploads.item(&id, item.into_owned()),
            Message::Completion { id, outcome } => {
                if !self.uploads.complete(&id, &outcome) {
                    self.pending.answer(&id, outcome);
                }
            }
            Message::Cancel { id } => {
                if self.streams.cancel(&id) {
                    let end = self.end_of_stream(&id, Ok(()));
                    self.calls.ready.push_back(Some(end));
                }
            }
            Message::Ping => self.times.client_pings(),
            Message::Close { error } => {
                // What it says may be anything.
                if let Some(error) = error {
                    tracing::debug!(bytes = error.len(), "a client has ended its connection for a fault");
                }
                return Err(End::Left);
            }
            Message::Ack(number) => self.confirmed(number),
            Message::Sequence(number) => self.goes_on_at(number)?,
            Message::Unknown => {}
        }
        Ok(())
    }

    fn confirmed(&mut self, number: u64) {
        if let Some(reliable) = &mut self.reliable
            && reliable.confirm(number)
            && !reliable.is_full()
        {
            self.times.buffer_has_room();
        }
    }

    fn goes_on_at(&mut self, number: u64) -> Step {
        let Some(reliable) = &mut self.reliable else { return Ok(()) };
        let lost = || End::Fault("Messages were lost on the way to the server.".into());
        reliable.go_on_at(number).map_err(|_| lost())?;
        if reliable.owes() {
            self.times.owes_confirmation();
        }
        Ok(())
    }

    async fn invoke(&mut self, invocation: Invocation<'_>) {
        let Invocation { id, target, arguments, stream_ids, streaming } = invocation;
        let texts = self.texts(&target);
        let Some(method) = self.shared.hub.method(&target) else {
            return self.refuse(id.as_deref(), &texts.no_such_method());
        };
        let refusal = if method.streaming && !streaming {
            Some(texts.is_streaming())
        } else if !method.streaming && streaming {
            Some(texts.is_not_streaming())
        } else if method.uploads != stream_ids.len() {
            Some(texts.wrong_streams(stream_ids.len(), method.uploads))
        } else if let Some(id) = id.as_deref().filter(|id| streaming && self.streams.has(id)) {
            Some(in_use(id))
        } else if let Some(id) = taken(&stream_ids, |id| self.uploads.is_open(id)) {
            Some(in_use(id))
        } else if streaming && !self.streams.has_room() || !self.uploads.have_room(stream_ids.len()) {
            Some(texts.failed(&HubError::exception("Too many streams at once.")))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return self.refuse(id.as_deref(), &refusal);
        }
        let capacity = self.shared.options.stream_buffer_capacity;
        let has_uploads = !stream_ids.is_empty();
        let uploads = stream_ids.into_iter().map(|id| self.uploads.open(id.into_owned(), capacity)).collect();
        let invoked = self.client.invoke(hub::Invocation { target: &target, arguments, uploads }).await;
        self.begin(id.as_deref(), &target, invoked, has_uploads);
    }

    fn begin(&mut self, id: Option<&str>, target: &str, invoked: Invoked, has_uploads: bool) {
        match invoked {
            Invoked::Done(result) => {
                let answer = id.map(|id| self.answer(id, target, &result));
                self.calls.ready.push_back(answer);
            }
            Invoked::Work(work) => {
                let work = async move { Placed::Done(work.await) };
                self.begin_work(id, target, work, StartAfter::Done, has_uploads);
            }
            Invoked::Staged(work, start) => self.begin_work(id, target, work, start, has_uploads),
            Invoked::Stream(items) => {
                // A stream has an id.
                if let Some(id) = id {
                    self.streams.begin(id.to_owned(), target.to_owned(), items);
                }
            }
        }
    }

    fn begin_work(
        &mut self,
        id: Option<&str>,
        target: &str,
        work: impl Future<Output = Placed<Result<Payload, HubError>>> + Send + 'static,
        start: StartAfter,
        has_uploads: bool,
    ) {
        let (protocol, detailed) = (self.protocol, self.shared.options.enable_detailed_errors);
        let account = Arc::clone(&self.account);
        let wanted = id.map(|id| (id.to_owned(), target.to_owned()));
        let answer = move |result: Result<Payload, HubError>| {
            let (id, target) = wanted?;
            let result = result.map_err(|error| Texts { method: &target, detailed }.failed(&error));
            Some(account.counted(protocol.completion(&id, result.as_ref().map_err(|text| &**text))))
        };
        self.calls.begin(Box::pin(async move { work.await.map(answer) }), start);
        if has_uploads {
            // It waits for messages that come after it.
            self.calls.release();
        }
    }

    fn refuse(&mut self, id: Option<&str>, error: &str) {
        // Without an id, no answer is expected.
        if let Some(id) = id {
            let refusal = self.protocol.completion(id, Err(error));
            self.calls.ready.push_back(Some(refusal));
        }
    }

    fn answer(&self, id: &str, target: &str, result: &Result<Payload, HubError>) -> Bytes {
        match result {
            Ok(value) => self.account.counted(self.protocol.completion(id, Ok(value))),
            Err(error) => self.protocol.completion(id, Err(&self.texts(target).failed(error))),
        }
    }

    pub(super) fn end_of_stream(&self, id: &str, end: Result<(), (String, HubError)>) -> Bytes {
        match end {
            Ok(()) => self.protocol.completion(id, Ok(&Payload::void())),
            // For the client, the stream has not begun.
            Err((method, error @ (HubError::Arguments(_) | HubError::Unauthorized))) => {
                self.protocol.completion(id, Err(&self.texts(&method).failed(&error)))
            }
            Err((_, error)) => self.protocol.completion(id, Err(&stream_failed(&error))),
        }
    }

    fn texts<'n>(&self, method: &'n str) -> Texts<'n> {
        Texts { method, detailed: self.shared.options.enable_detailed_errors }
    }
}

/// Where a message is queued.
enum Place {
    Now,
    /// Behind the items of streams.
    Items,
    /// Behind the calls that wait to begin.
    Calls,
}

/// Numbered messages that wait for their turn.
#[derive(Default)]
pub(super) struct Waiting {
    /// Items of streams that are open and full.
    items: Items,
    /// Calls, in order, with the messages that belong to calls that have not begun.
    calls: VecDeque<Bytes>,
    calls_bytes: usize,
    items_among_calls: usize,
}

#[derive(Default)]
struct Items {
    records: VecDeque<Bytes>,
    bytes: usize,
}

impl Items {
    fn push(&mut self, record: Bytes) {
        self.bytes += record.len();
        self.records.push_back(record);
    }

    fn pop(&mut self) -> Option<Bytes> {
        let record = self.records.pop_front()?;
        self.bytes -= record.len();
        if self.records.is_empty() {
            self.records = VecDeque::new();
        }
        Some(record)
    }

    fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

impl Waiting {
    pub(super) const fn bytes(&self) -> usize {
        self.items.bytes + self.calls_bytes
    }

    /// Whether no call waits.
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    fn add_call(&mut self, record: Bytes, is_item: bool) {
        self.calls_bytes += record.len();
        self.items_among_calls += usize::from(is_item);
        self.calls.push_back(record);
    }

    fn remove_call(&mut self, is_item: bool) {
        if let Some(record) = self.calls.pop_front() {
            self.calls_bytes -= record.len();
            self.items_among_calls -= usize::from(is_item);
            if self.calls.is_empty() {
                self.calls = VecDeque::new();
            }
        }
    }
}

fn is_item(message: &Message<'_>) -> bool {
    matches!(message, Message::StreamItem { .. } | Message::Completion { .. })
}

/// The first id that is already in use, or that is repeated.
fn taken<'i>(ids: &'i [Cow<'_, str>], is_open: impl Fn(&str) -> bool) -> Option<&'i str> {
    ids.iter().enumerate().find(|(index, id)| is_open(id) || ids[..*index].contains(id)).map(|(_, id)| &**id)
}
