//! The bus on Redis alone, beside bare `PUBLISH` of the same bytes.

use std::{sync::Arc, time::Duration};

use messenger_core::{
    context::Context,
    ports::{Bus as _, BusEvent, BusMessage, Hint, NodeId, Subscription, Topic},
};
use messenger_redis::{Redis, RedisBus};
use messenger_testing::{
    RedisServer, ServerCpu,
    sockets::{
        crowd::Pace,
        report::{Best, Report, Row, Series},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    Plan, Result,
    flow::{Flow, Rate, both},
    set_up::{Kind, SetUp},
    world::{RECEIVERS, World},
};

/// Messages of one call, and of how many chats they are: those in a row of one chat go together.
const BATCHES: [(usize, usize); 6] = [(1, 1), (16, 1), (64, 1), (512, 1), (16, 16), (64, CHATS)];
/// How many chats there are.
const CHATS: usize = 64;
/// Ours may have this part of the bare rate.
const LEAST: f64 = 0.5;
/// What one message may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before the message, in the bus's format: the id of the node, and a number.
const HEADER: usize = 16;

pub(crate) async fn measure(plan: &Plan, world: &World, report: &mut Report) -> Result {
    let message = a_message(plan, world).await?;
    let redis = RedisServer::start().await;
    let (mut ours, mut bare) =
        (Ours::open(&redis, message.clone()).await?, Bare::open(&redis, &message).await?);
    let length = plan.length(1, 3);
    for (batch, chats) in BATCHES {
        let (mut measured, mut floor) = (Vec::new(), Vec::new());
        // The first one does not count.
        for number in 0..=plan.rounds() {
            let rates = (
                ours.round(batch, chats, length, redis.cpu()).await?,
                bare.round(batch, length, redis.cpu()).await?,
            );
            if number > 0 {
                measured.push(rates.0);
                floor.push(rates.1);
            }
        }
        let series = |of: fn(&Rate) -> f64| Series {
            measured: measured.iter().map(of).collect(),
            floor: floor.iter().map(of).collect(),
        };
        let bytes = bare.payload;
        let call = if chats == 1 {
            format!("{batch} in a call")
        } else {
            format!("{batch} of {chats} chats in a call")
        };
        let row = Row::new("bus", format!("messages a second, {call}, {bytes} bytes"), "1/s");
        let row = if batch == 1 { row.best(Best::Highest) } else { row.at_least_times(LEAST) };
        report.add(row, series(|rate| rate.a_second));
        let row = Row::new("bus", format!("CPU of Redis per message, {call}"), "µs");
        report.add(row, series(|rate| rate.redis * 1e6));
    }
    Ok(())
}

/// What a node publishes when somebody writes to the group.
async fn a_message(plan: &Plan, world: &World) -> Result<BusMessage> {
    let mut set_up = SetUp::start(plan, world, Kind::Redis).await?;
    set_up.connect(world, 1, RECEIVERS).await?;
    let url = set_up.redis.as_ref().ok_or("there is no Redis")?.url();
    let (_bus, mut listener) = listen(&url, &[Topic::Chat(world.group)]).await?;
    let once = Pace::Alone { times: 1, pause: Duration::from_millis(10) };
    let load = set_up.to_group(world.group, once);
    set_up.side.round(&load).await?;
    next(&mut *listener).await
}

/// As one more node that has somebody of the chats.
async fn listen(url: &str, chats: &[Topic]) -> Result<(RedisBus, Box<dyn Subscription>)> {
    let bus = Redis::open(url)?.bus();
    let listener = bus.join(NodeId(2)).await?;
    bus.subscribe(NodeId(2), chats).await?;
    Ok((bus, listener))
}

async fn next(listener: &mut dyn Subscription) -> Result<BusMessage> {
    loop {
        match timeout(PATIENCE, listener.next()).await? {
            Some(BusEvent::Message(message)) => return Ok(message),
            Some(BusEvent::Gap) => {}
            event => return Err(format!("the bus says {event:?}").into()),
        }
    }
}

/// Two nodes in this process.
struct Ours {
    from: Arc<RedisBus>,
    _to: RedisBus,
    listener: Option<Box<dyn Subscription>>,
    chats: Vec<Topic>,
    hint: Arc<Hint>,
}

impl Ours {
    async fn open(redis: &RedisServer, message: BusMessage) -> Result<Self> {
        let context = Context::system();
        let chats: Vec<_> = (0..CHATS).map(|_| Topic::Chat(context.id())).collect();
        let (to, listener) = listen(&redis.url(), &chats).await?;
        let from = Arc::new(Redis::open(&redis.url())?.bus());
        Ok(Self { from, _to: to, listener: Some(listener), chats, hint: message.hint })
    }

    async fn round(&mut self, batch: usize, chats: usize, length: Duration, cpu: ServerCpu) -> Result<Rate> {
        let topics = self.chats.iter().take(chats).cycle().take(batch);
        let message = |topic: &Topic| BusMessage { topics: vec![*topic], hint: Arc::clone(&self.hint) };
        let (from, messages) = (Arc::clone(&self.from), topics.map(message).collect::<Vec<_>>());
        let mut listener = self.listener.take().ok_or("a round has failed")?;
        let flow = Flow::new(length);
        let (publishing, receiving) = (Arc::clone(&flow), Arc::clone(&flow));
        let publish = async move {
            while publishing.goes_on() {
                from.publish(NodeId(1), &messages).await?;
                publishing.sent(batch).await;
            }
            publishing.end();
            Ok(())
        };
        let receive = async move {
            while receiving.expects_more() {
                tokio::select! {
                    biased;
                    event = listener.next() => match event {
                        Some(BusEvent::Message(_)) => receiving.received(1),
                        Some(BusEvent::Gap) => {}
                        event => return Err(format!("the bus says {event:?}").into()),
                    },
                    () = receiving.ended() => {}
                }
            }
            Ok(listener)
        };
        let ((), listener, rate) = both(&flow, cpu, publish, receive).await?;
        self.listener = Some(listener);
        Ok(rate)
    }
}

/// One client that publishes and one that is subscribed, with nothing around.
struct Bare {
    /// Both connections.
    streams: Option<(TcpStream, TcpStream)>,
    command: Vec<u8>,
    payload: usize,
    /// Bytes of a message as the subscriber gets it.
    push: usize,
}

impl Bare {
    /// The same text, on a channel whose name is as long.
    async fn open(redis: &RedisServer, message: &BusMessage) -> Result<Self> {
        const CHANNEL: &str = "messenger:chat:00000000-0000-7000-8000-000000000000";
        let mut payload = vec![b'0'; HEADER];
        payload.extend(message.to_bytes());
        let bulk = |bytes: &[u8]| [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        let (name, text) = (bulk(CHANNEL.as_bytes()), bulk(&payload));
        let command = [&b"*3\r\n"[..], &bulk(b"PUBLISH"), &name, &text].concat();
        // In RESP3, as the bus has it.
        let push = [&b">3\r\n"[..], &bulk(b"message"), &name, &text].concat();
        let publisher = TcpStream::connect(redis.address()).await?;
        let mut subscriber = TcpStream::connect(redis.address()).await?;
        for stream in [&publisher, &subscriber] {
            stream.set_nodelay(true)?;
        }
        subscriber.write_all(format!("HELLO 3\r\nSUBSCRIBE {CHANNEL}\r\n").as_bytes()).await?;
        let (mut said, end) = (Vec::new(), format!("{CHANNEL}\r\n:1\r\n"));
        while !said.ends_with(end.as_bytes()) {
            if timeout(PATIENCE, subscriber.read_buf(&mut said)).await?? == 0 {
                return Err("Redis has ended the connection".into());
            }
        }
        let streams = Some((publisher, subscriber));
        Ok(Self { streams, command, payload: payload.len(), push: push.len() })
    }

    async fn round(&mut self, batch: usize, length: Duration, cpu: ServerCpu) -> Result<Rate> {
        let (mut publisher, mut subscriber) = self.streams.take().ok_or("a round has failed")?;
        let (commands, push) = (self.command.repeat(batch), self.push);
        let flow = Flow::new(length);
        let (publishing, receiving) = (Arc::clone(&flow), Arc::clone(&flow));
        let publish = async move {
            let mut answers = vec![0; b":1\r\n".len() * batch];
            while publishing.goes_on() {
                publisher.write_all(&commands).await?;
                publisher.read_exact(&mut answers).await?;
                publishing.sent(batch).await;
            }
            publishing.end();
            Ok(publisher)
        };
        let receive = async move {
            let (mut buffer, mut rest) = (vec![0; 64 * 1024], 0);
            while receiving.expects_more() {
                tokio::select! {
                    biased;
                    read = subscriber.read(&mut buffer) => {
                        rest += read?;
                        receiving.received(rest / push);
                        rest %= push;
                    }
                    () = receiving.ended() => {}
                }
            }
            Ok(subscriber)
        };
        let (publisher, subscriber, rate) = both(&flow, cpu, publish, receive).await?;
        self.streams = Some((publisher, subscriber));
        Ok(rate)
    }
}
