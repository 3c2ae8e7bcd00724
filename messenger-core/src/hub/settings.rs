use std::time::Duration;

/// How the hub keeps time and bounds.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// Events that may wait for one connection; a connection with more is ended. Default: 4,096.
    pub mailbox: usize,
    /// Bytes of messages' texts that may wait for one connection; a connection with more is ended. One text may be
    /// longer. Default: 8 MiB.
    pub mailbox_bytes: usize,
    /// How long a new connection is given to say [`Connection::resume`](crate::Connection::resume) before live events go out.
    /// Default: 1 s.
    pub resume_grace: Duration,
    /// How often a connection is asked to show that it lives. Default: 30 s.
    pub ping_interval: Duration,
    /// How often all rooms are compared with the store. Default: 10 s.
    pub sweep_interval: Duration,
    /// How long a presence lease lasts; it is renewed every third of it. From 3 to 60 s; what lies beyond is brought
    /// within. Default: 60 s.
    pub lease: Duration,
    /// How long after the last lease a person is offline. Default: 5 s.
    pub offline_grace: Duration,
    /// People whose presence one connection may ask to watch; the other sides of direct chats are watched by
    /// themselves and don't count. Default: 1,000.
    pub watched: usize,
    /// Connections that one person may have to this node. Default: 100.
    pub connections_of_one: usize,
}

impl Default for HubSettings {
    fn default() -> Self {
        Self {
            mailbox: 4096,
            mailbox_bytes: 8 << 20,
            resume_grace: Duration::from_secs(1),
            ping_interval: Duration::from_secs(30),
            sweep_interval: Duration::from_secs(10),
            lease: Duration::from_secs(60),
            offline_grace: Duration::from_secs(5),
            watched: 1000,
            connections_of_one: 100,
        }
    }
}
