use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{oneshot, watch},
    task::{AbortHandle, JoinSet},
    time::sleep,
};

/// A way to a server of any kind that fails when it is told to. It ends with this, and its connections with it.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    line: Arc<Line>,
    work: AbortHandle,
}

/// Seen from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the server.
    Up,
    /// From the server.
    Down,
}

impl Relay {
    /// Listens on a free port of the loopback device, for a server at `HOST:PORT`.
    pub async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let line = Arc::new(Line::default());
        let work = tokio::spawn(serve(listener, server.to_owned(), Arc::clone(&line))).abort_handle();
        Self { address, line, work }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections that there are now.
    pub fn cut(&self) {
        self.line.cut.send_replace(());
    }

    /// When so many more bytes have gone in this direction, over whichever connections, the one that carried the last
    /// of them is ended. The future waits until then. A new call takes the place of an older one.
    pub fn cut_after(&self, direction: Direction, bytes: usize) -> impl Future<Output = ()> + use<> {
        let (done, cut) = oneshot::channel();
        *self.line.plan() = Some(Plan { direction, left: bytes, done });
        async move {
            let _ = cut.await;
        }
    }

    /// Takes back what [`cut_after`](Self::cut_after) was told.
    pub fn leave_alone(&self) {
        *self.line.plan() = None;
    }

    /// From now on nothing gets through, and nobody is told; new connections are taken.
    pub fn stall(&self) {
        self.line.stalled.send_replace(true);
    }

    /// Lets everything through again.
    pub fn resume(&self) {
        self.line.stalled.send_replace(false);
    }

    /// Whether new connections are ended at once.
    pub fn refuse(&self, on: bool) {
        self.line.refusing.send_replace(on);
    }

    /// From now on all that comes takes so much longer to get through, 16 KiB at a time.
    pub fn slow(&self, delay: Duration) {
        self.line.delay.send_replace(delay);
    }

    /// How many connections have come so far.
    pub fn connections(&self) -> usize {
        *self.line.connections.borrow()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.work.abort();
    }
}

#[derive(Debug)]
struct Line {
    cut: watch::Sender<()>,
    stalled: watch::Sender<bool>,
    refusing: watch::Sender<bool>,
    delay: watch::Sender<Duration>,
    connections: watch::Sender<usize>,
    plan: Mutex<Option<Plan>>,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            cut: watch::Sender::new(()),
            stalled: watch::Sender::new(false),
            refusing: watch::Sender::new(false),
            delay: watch::Sender::new(Duration::ZERO),
            connections: watch::Sender::new(0),
            plan: Mutex::default(),
        }
    }
}

#[derive(Debug)]
struct Plan {
    direction: Direction,
    left: usize,
    done: oneshot::Sender<()>,
}

impl Line {
    fn plan(&self) -> std::sync::MutexGuard<'_, Option<Plan>> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of the bytes get through, and who is to be told that the connection was ended after them.
    fn pass(&self, direction: Direction, bytes: usize) -> (usize, Option<oneshot::Sender<()>>) {
        let mut plan = self.plan();
        match plan.take_if(|plan| plan.direction == direction && plan.left <= bytes) {
            Some(Plan { left, done, .. }) => (left, Some(done)),
            None => {
                if let Some(plan) = plan.as_mut().filter(|plan| plan.direction == direction) {
                    plan.left -= bytes;
                }
                (bytes, None)
            }
        }
    }
}

async fn serve(listener: TcpListener, server: String, line: Arc<Line>) {
    let mut pairs = JoinSet::new();
    loop {
        // Those that have ended are not kept.
        while pairs.try_join_next().is_some() {}
        let Ok((client, _)) = listener.accept().await else { return };
        if *line.refusing.borrow() {
            continue;
        }
        line.connections.send_modify(|connections| *connections += 1);
        pairs.spawn(carry(client, server.clone(), Arc::clone(&line)));
    }
}

/// Both sides are told of any end by the end of their own connection.
async fn carry(mut client: TcpStream, server: String, line: Arc<Line>) {
    let mut cut = line.cut.subscribe();
    let both = async {
        let mut server = TcpStream::connect(server).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            ended = one(from_client, to_server, Direction::Up, &line) => ended,
            ended = one(from_server, to_client, Direction::Down, &line) => ended,
        }
    };
    tokio::select! {
        _ = both => {}
        _ = cut.changed() => {}
    }
}

async fn one(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    direction: Direction,
    line: &Line,
) -> io::Result<()> {
    let mut stalled = line.stalled.subscribe();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let _ = stalled.wait_for(|stalled| !stalled).await;
        let delay = *line.delay.borrow();
        if delay > Duration::ZERO {
            sleep(delay).await;
        }
        let (passed, cut) = line.pass(direction, read);
        to.write_all(&buffer[..passed]).await?;
        if let Some(cut) = cut {
            let _ = cut.send(());
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// Longer than anything takes here.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A server that says everything again.
    async fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        address
    }

    async fn says(stream: &mut TcpStream, text: &[u8]) {
        stream.write_all(text).await.unwrap();
        let mut heard = vec![0; text.len()];
        timeout(PATIENCE, stream.read_exact(&mut heard)).await.unwrap().unwrap();
        assert_eq!(heard, text);
    }

    async fn rest(stream: &mut TcpStream) -> Vec<u8> {
        let mut rest = vec![];
        // It may also end with an error.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
        rest
    }

    #[tokio::test]
    async fn connections_are_cut() {
        let relay = Relay::to(&echo().await).await;
        let mut streams = vec![];
        for _ in 0..3 {
            let mut stream = TcpStream::connect(relay.address()).await.unwrap();
            says(&mut stream, b"hello").await;
            streams.push(stream);
        }
        relay.cut();
        for stream in &mut streams {
            assert_eq!(rest(stream).await, b"");
        }
        says(&mut TcpStream::connect(relay.address()).await.unwrap(), b"again").await;
        assert_eq!(relay.connections(), 4);
    }

    #[tokio::test]
    async fn a_connection_is_cut_after_so_many_bytes() {
        let relay = Relay::to(&echo().await).await;
        for (direction, bytes) in [(Direction::Down, 8), (Direction::Up, 8), (Direction::Down, 5)] {
            let mut stream = TcpStream::connect(relay.address()).await.unwrap();
            let cut = relay.cut_after(direction, bytes);
            let talk = async {
                says(&mut stream, b"hello").await;
                stream.write_all(b"world").await.unwrap();
                rest(&mut stream).await
            };
            let (heard, ()) = timeout(PATIENCE, async { tokio::join!(talk, cut) }).await.unwrap();
            if direction == Direction::Down {
                assert_eq!(heard.len(), bytes - 5);
            }
        }
    }

    #[tokio::test]
    async fn it_is_slow_until_it_is_told_otherwise() {
        let relay = Relay::to(&echo().await).await;
        let mut stream = TcpStream::connect(relay.address()).await.unwrap();
        let delay = Duration::from_millis(50);
        relay.slow(delay);
        let began = tokio::time::Instant::now();
        says(&mut stream, b"hello").await;
        assert!(began.elapsed() >= 2 * delay, "there and back");
        relay.slow(Duration::ZERO);
        says(&mut stream, b"again").await;
    }

    #[tokio::test]
    async fn it_stalls_and_refuses_until_it_is_told_otherwise() {
        let relay = Relay::to(&echo().await).await;
        let mut stream = TcpStream::connect(relay.address()).await.unwrap();
        says(&mut stream, b"hello").await;
        relay.stall();
        stream.write_all(b"world").await.unwrap();
        let mut heard = [0; 5];
        let read = timeout(Duration::from_millis(100), stream.read_exact(&mut heard)).await;
        assert!(read.is_err(), "nothing gets through");
        relay.resume();
        timeout(PATIENCE, stream.read_exact(&mut heard)).await.unwrap().unwrap();
        relay.refuse(true);
        assert_eq!(rest(&mut TcpStream::connect(relay.address()).await.unwrap()).await, b"");
        says(&mut stream, b"still here").await;
        relay.refuse(false);
        says(&mut TcpStream::connect(relay.address()).await.unwrap(), b"again").await;
    }
}
