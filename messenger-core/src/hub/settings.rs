use std::time::Duration;

/// Times and bounds of the hub.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// Maximum number of events that wait for one connection; a connection with more is ended. Default: 4,096.
    pub mailbox: usize,
    /// Maximum number of bytes of message texts that wait for one connection; a connection with more is ended. A single
    /// text may be longer. Default: 8 MiB.
    pub mailbox_bytes: usize,
    /// How long a new connection may take to call [`Connection::resume`](crate::Connection::resume) before live events
    /// go out. Default: 1 s.
    pub resume_grace: Duration,
    /// How often a connection is asked for a sign of life. Default: 30 s.
    pub ping_interval: Duration,
    /// How often the store is asked which chats have changed, in case another node did it and the bus has lost it: what
    /// is lost arrives that much later, and the time of a few reads. Zero: never, and each sweep compares all chats one
    /// by one. Default: 4 s.
    pub poll_interval: Duration,
    /// How often people and their sessions are compared with the store, and each third time all chats. Default: 10 s.
    pub sweep_interval: Duration,
    /// How long a presence lease lasts; it is renewed after each third of that time. From 3 to 60 s; values outside are
    /// clamped. Default: 60 s.
    pub lease: Duration,
    /// How long after the last lease a person goes offline. Default: 5 s.
    pub offline_grace: Duration,
    /// Maximum number of people that one connection may ask to watch; the peers of direct chats are watched
    /// automatically and don't count. Default: 1,000.
    pub watched: usize,
    /// Maximum number of connections of one person to this node. Default: 100.
    pub connections_of_one: usize,
}

impl Default for HubSettings {
    fn default() -> Self {
        Self {
            mailbox: 4096,
            mailbox_bytes: 8 << 20,
            resume_grace: Duration::from_secs(1),
            ping_interval: Duration::from_secs(30),
            poll_interval: Duration::from_secs(4),
            sweep_interval: Duration::from_secs(10),
            lease: Duration::from_secs(60),
            offline_grace: Duration::from_secs(5),
            watched: 1000,
            connections_of_one: 100,
        }
    }
}
