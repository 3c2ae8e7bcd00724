use std::time::Duration;

use messenger_socket::UnsentLimits;

/// How a SignalR endpoint behaves: the options of ASP.NET Core with their names (`HubOptions`,
/// `HttpConnectionDispatcherOptions`) and defaults.
///
/// ```
/// use std::time::Duration;
/// use messenger_signalr::SignalROptions;
///
/// let options = SignalROptions::new()
///     .keep_alive_interval(Duration::from_secs(10))
///     .client_timeout_interval(Duration::from_secs(20))
///     .allow_stateful_reconnects(true);
/// # let _ = options;
/// ```
#[derive(Debug, Clone)]
pub struct SignalROptions {
    pub(super) keep_alive_interval: Duration,
    pub(super) web_socket_keep_alive_interval: Duration,
    pub(super) client_timeout_interval: Duration,
    pub(super) handshake_timeout: Duration,
    pub(super) maximum_receive_message_size: usize,
    pub(super) enable_detailed_errors: bool,
    pub(super) stream_buffer_capacity: usize,
    pub(super) allow_stateful_reconnects: bool,
    pub(super) stateful_reconnect_buffer_size: usize,
    pub(super) transports: Vec<Transport>,
    pub(super) transport_max_buffer_size: usize,
    pub(super) application_max_buffer_size: usize,
    pub(super) transport_send_timeout: Duration,
    pub(super) close_timeout: Duration,
    pub(super) poll_timeout: Duration,
    pub(super) disconnect_timeout: Duration,
    pub(super) minimum_protocol_version: u32,
    pub(super) unsent: UnsentLimits,
}

/// How bytes are carried between client and server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A WebSocket (RFC 6455) for both directions.
    WebSockets,
    /// An event stream from the server, and a POST for each message from the client; text protocols only.
    ServerSentEvents,
    /// Requests that are answered when there is something to send, and a POST for each message from the client.
    LongPolling,
}

impl Default for SignalROptions {
    fn default() -> Self {
        Self {
            keep_alive_interval: Duration::from_secs(15),
            web_socket_keep_alive_interval: Duration::from_secs(20),
            client_timeout_interval: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(15),
            maximum_receive_message_size: 32 * 1024,
            enable_detailed_errors: false,
            stream_buffer_capacity: 10,
            allow_stateful_reconnects: false,
            stateful_reconnect_buffer_size: 100_000,
            transports: vec![Transport::WebSockets, Transport::ServerSentEvents, Transport::LongPolling],
            transport_max_buffer_size: 64 * 1024,
            application_max_buffer_size: 64 * 1024,
            transport_send_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            poll_timeout: Duration::from_secs(90),
            disconnect_timeout: Duration::from_secs(15),
            minimum_protocol_version: 0,
            unsent: UnsentLimits::default(),
        }
    }
}

impl SignalROptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How often the server sends a sign of life (15 s). Clients end a connection on which they have received nothing
    /// for their own server timeout, 30 s in all official ones: keep this at half of it.
    #[must_use]
    pub const fn keep_alive_interval(mut self, interval: Duration) -> Self {
        self.keep_alive_interval = interval;
        self
    }

    /// After how long without a sign of life a client is sent a ping of the WebSocket (RFC 6455), which its library
    /// answers automatically (20 s; at least 1 ms). If nothing at all arrives for
    /// [`client_timeout_interval`](Self::client_timeout_interval) after that, the client counts as lost.
    ///
    /// This also detects clients that were lost before they sent their first ping, or that send none. Clients that ping
    /// every 15 s, as the official ones do, are not sent one with the default. In ASP.NET Core this is
    /// `WebSocketOptions.KeepAliveInterval`, with a default of 2 minutes, and no answer is waited for unless
    /// `KeepAliveTimeout` is set.
    #[must_use]
    pub const fn web_socket_keep_alive_interval(mut self, interval: Duration) -> Self {
        self.web_socket_keep_alive_interval = interval;
        self
    }

    /// How long a client may send nothing (30 s): over a WebSocket once it has sent its first ping, over Server-Sent
    /// Events from the beginning. It should be at least twice the interval at which clients ping, 15 s in all official
    /// ones. It does not apply to long polling, where the next poll shows that the client is alive.
    ///
    /// ASP.NET Core has no such limit before the first ping with Server-Sent Events either, and notices a lost client
    /// only when the operating system gives up, after about 15 minutes.
    #[must_use]
    pub const fn client_timeout_interval(mut self, interval: Duration) -> Self {
        self.client_timeout_interval = interval;
        self
    }

    /// How long a client may take for its handshake (15 s).
    #[must_use]
    pub const fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Maximum number of bytes of one hub message from a client, including its delimiter or length (32 KiB); a longer
    /// one ends the connection.
    #[must_use]
    pub const fn maximum_receive_message_size(mut self, bytes: usize) -> Self {
        self.maximum_receive_message_size = bytes;
        self
    }

    /// Whether clients are told details about a message that could not be read (no).
    #[must_use]
    pub const fn enable_detailed_errors(mut self, enabled: bool) -> Self {
        self.enable_detailed_errors = enabled;
        self
    }

    /// How many items of a client's stream may wait for the method that reads them (10); while there are more, nothing
    /// else of that connection is processed.
    #[must_use]
    pub const fn stream_buffer_capacity(mut self, items: usize) -> Self {
        self.stream_buffer_capacity = items;
        self
    }

    /// Whether a client that requests it may continue its connection on a new WebSocket after its old one was lost
    /// (no).
    #[must_use]
    pub const fn allow_stateful_reconnects(mut self, allowed: bool) -> Self {
        self.allow_stateful_reconnects = allowed;
        self
    }

    /// How many unconfirmed bytes are kept for a client, with stateful reconnect (100,000); while there are more,
    /// nothing else is written.
    #[must_use]
    pub const fn stateful_reconnect_buffer_size(mut self, bytes: usize) -> Self {
        self.stateful_reconnect_buffer_size = bytes;
        self
    }

    /// The offered transports, in this order (all).
    #[must_use]
    pub fn transports(mut self, transports: impl IntoIterator<Item = Transport>) -> Self {
        self.transports = transports.into_iter().collect();
        self
    }

    /// Maximum number of bytes that wait for a client that polls or reads an event stream (64 KiB).
    #[must_use]
    pub const fn transport_max_buffer_size(mut self, bytes: usize) -> Self {
        self.transport_max_buffer_size = bytes;
        self
    }

    /// Maximum number of bytes from a client that wait to be processed (64 KiB); while there are more, nothing is read
    /// from it.
    #[must_use]
    pub const fn application_max_buffer_size(mut self, bytes: usize) -> Self {
        self.application_max_buffer_size = bytes;
        self
    }

    /// How long a client may take to read what is written (10 s).
    #[must_use]
    pub const fn transport_send_timeout(mut self, timeout: Duration) -> Self {
        self.transport_send_timeout = timeout;
        self
    }

    /// How long to wait for a client's half of the closing handshake of a WebSocket (5 s).
    #[must_use]
    pub const fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// How long a poll is held while there is nothing to send (90 s).
    #[must_use]
    pub const fn poll_timeout(mut self, timeout: Duration) -> Self {
        self.poll_timeout = timeout;
        self
    }

    /// How long a connection lives without a transport (15 s): before its first one, between two polls, and, with
    /// stateful reconnect, after it lost its WebSocket.
    #[must_use]
    pub const fn disconnect_timeout(mut self, timeout: Duration) -> Self {
        self.disconnect_timeout = timeout;
        self
    }

    /// The lowest accepted version of the negotiation (0).
    #[must_use]
    pub const fn minimum_protocol_version(mut self, version: u32) -> Self {
        self.minimum_protocol_version = version;
        self
    }

    /// Limits on what waits to be written to clients, for all connections of this endpoint together.
    #[must_use]
    pub const fn unsent(mut self, limits: UnsentLimits) -> Self {
        self.unsent = limits;
        self
    }

    /// Clamps the times so that they can be added to the current time, and the intervals so that they are not zero.
    pub(super) fn bounded(mut self) -> Self {
        const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        // Recurring work must leave time for everything else.
        const SHORTEST: Duration = Duration::from_millis(1);
        for time in [
            &mut self.keep_alive_interval,
            &mut self.web_socket_keep_alive_interval,
            &mut self.client_timeout_interval,
            &mut self.handshake_timeout,
            &mut self.transport_send_timeout,
            &mut self.close_timeout,
            &mut self.poll_timeout,
            &mut self.disconnect_timeout,
        ] {
            *time = (*time).min(LONGEST);
        }
        for interval in [&mut self.keep_alive_interval, &mut self.web_socket_keep_alive_interval] {
            *interval = (*interval).max(SHORTEST);
        }
        self
    }

    pub(super) fn offers(&self, transport: Transport) -> bool {
        self.transports.contains(&transport)
    }
}

impl Transport {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::WebSockets => "WebSockets",
            Self::ServerSentEvents => "ServerSentEvents",
            Self::LongPolling => "LongPolling",
        }
    }

    /// Whether it carries binary protocols.
    pub(super) const fn is_binary(self) -> bool {
        !matches!(self, Self::ServerSentEvents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_what_they_are_set_to() {
        let time = Duration::from_secs;
        let options = SignalROptions::new()
            .keep_alive_interval(time(1))
            .web_socket_keep_alive_interval(time(2))
            .client_timeout_interval(time(3))
            .handshake_timeout(time(4))
            .maximum_receive_message_size(5)
            .enable_detailed_errors(true)
            .stream_buffer_capacity(6)
            .allow_stateful_reconnects(true)
            .stateful_reconnect_buffer_size(7)
            .transports([Transport::LongPolling])
            .transport_max_buffer_size(8)
            .application_max_buffer_size(9)
            .transport_send_timeout(time(10))
            .close_timeout(time(11))
            .poll_timeout(time(12))
            .disconnect_timeout(time(13))
            .minimum_protocol_version(1)
            .unsent(UnsentLimits { per_connection: 1, per_person: 2, in_all: 3 });
        let SignalROptions {
            keep_alive_interval,
            web_socket_keep_alive_interval,
            client_timeout_interval,
            handshake_timeout,
            maximum_receive_message_size,
            enable_detailed_errors,
            stream_buffer_capacity,
            allow_stateful_reconnects,
            stateful_reconnect_buffer_size,
            transports,
            transport_max_buffer_size,
            application_max_buffer_size,
            transport_send_timeout,
            close_timeout,
            poll_timeout,
            disconnect_timeout,
            minimum_protocol_version,
            unsent,
        } = options.bounded();
        let times = [
            keep_alive_interval,
            web_socket_keep_alive_interval,
            client_timeout_interval,
            handshake_timeout,
            transport_send_timeout,
            close_timeout,
            poll_timeout,
            disconnect_timeout,
        ];
        assert_eq!(times, [1, 2, 3, 4, 10, 11, 12, 13].map(time));
        let sizes = [
            maximum_receive_message_size,
            stream_buffer_capacity,
            stateful_reconnect_buffer_size,
            transport_max_buffer_size,
            application_max_buffer_size,
        ];
        assert_eq!(sizes, [5, 6, 7, 8, 9]);
        assert!(enable_detailed_errors && allow_stateful_reconnects);
        assert_eq!((transports, minimum_protocol_version), (vec![Transport::LongPolling], 1));
        assert_eq!(unsent, UnsentLimits { per_connection: 1, per_person: 2, in_all: 3 });
    }

    #[test]
    fn times_without_bounds_get_some() {
        let longest = SignalROptions::new()
            .keep_alive_interval(Duration::MAX)
            .web_socket_keep_alive_interval(Duration::MAX)
            .client_timeout_interval(Duration::MAX)
            .handshake_timeout(Duration::MAX)
            .transport_send_timeout(Duration::MAX)
            .close_timeout(Duration::MAX)
            .poll_timeout(Duration::MAX)
            .disconnect_timeout(Duration::MAX)
            .bounded();
        let now = tokio::time::Instant::now();
        for time in [
            longest.keep_alive_interval,
            longest.web_socket_keep_alive_interval,
            longest.client_timeout_interval,
            longest.handshake_timeout,
            longest.transport_send_timeout,
            longest.close_timeout,
            longest.poll_timeout,
            longest.disconnect_timeout,
        ] {
            assert!(now.checked_add(time).is_some(), "{time:?}");
        }
        let month = Duration::from_secs(30 * 24 * 60 * 60);
        assert_eq!(SignalROptions::new().poll_timeout(month).bounded().poll_timeout, month, "may be meant");
        let shortest = SignalROptions::new()
            .keep_alive_interval(Duration::ZERO)
            .web_socket_keep_alive_interval(Duration::ZERO)
            .bounded();
        assert!(!shortest.keep_alive_interval.is_zero());
        assert!(!shortest.web_socket_keep_alive_interval.is_zero());
    }
}
