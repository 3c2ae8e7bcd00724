use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use http::HeaderValue;
use messenger_core::ports::RateLimiter;

#[cfg(feature = "signalr")]
use messenger_signalr::SignalROptions;
#[cfg(any(feature = "ws", feature = "signalr"))]
use messenger_socket::UnsentLimits;

/// How the router behaves. The defaults suit a public service without a reverse proxy.
///
/// ```
/// use std::time::Duration;
/// use messenger_axum::{Options, Rate, RateLimits};
///
/// let options = Options::new()
///     .body_limit(64 * 1024)
///     .timeout(Duration::from_secs(10))
///     .rate_limits(RateLimits { requests: Rate::per_second(10, 50), ..RateLimits::default() })
///     .trusted_proxies(1);
/// # let _ = options;
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) body_limit: usize,
    pub(crate) body_timeout: Duration,
    pub(crate) body_rate: BodyRate,
    pub(crate) unread_limit: usize,
    pub(crate) unsent_limit: usize,
    pub(crate) answer_timeout: Duration,
    pub(crate) frame_limit: usize,
    pub(crate) timeout: Duration,
    pub(crate) concurrency: (usize, usize),
    pub(crate) password_concurrency: (usize, usize),
    pub(crate) rate_limits: Option<RateLimits>,
    pub(crate) rate_limiter: Option<SharedRateLimiter>,
    pub(crate) trusted_proxies: usize,
    pub(crate) origins: Vec<HeaderValue>,
    pub(crate) docs: bool,
    #[cfg(any(feature = "ws", feature = "signalr"))]
    pub(crate) unsent: UnsentLimits,
    #[cfg(feature = "ws")]
    pub(crate) ws: bool,
    #[cfg(feature = "signalr")]
    pub(crate) hub: bool,
    #[cfg(feature = "signalr")]
    pub(crate) signalr: SignalROptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            body_limit: 256 * 1024,
            body_timeout: Duration::from_secs(30),
            body_rate: BodyRate { bytes_per_second: 240, grace: Duration::from_secs(5) },
            unread_limit: 64 * 1024 * 1024,
            unsent_limit: 64 * 1024 * 1024,
            answer_timeout: Duration::from_secs(30),
            frame_limit: 256 * 1024,
            timeout: Duration::from_secs(30),
            concurrency: (512, 1024),
            password_concurrency: (16, 256),
            rate_limits: Some(RateLimits::default()),
            rate_limiter: None,
            trusted_proxies: 0,
            origins: Vec::new(),
            docs: true,
            #[cfg(any(feature = "ws", feature = "signalr"))]
            unsent: UnsentLimits::default(),
            #[cfg(feature = "ws")]
            ws: true,
            #[cfg(feature = "signalr")]
            hub: true,
            #[cfg(feature = "signalr")]
            signalr: SignalROptions::new().allow_stateful_reconnects(true),
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Maximum number of bytes of the body of a request (256 KiB); more is 413 `tooLarge`.
    #[must_use]
    pub const fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// How long receiving the body of a request may take (30 s); longer is 408 `tooSlow`, and the connection is closed.
    #[must_use]
    pub const fn body_timeout(mut self, timeout: Duration) -> Self {
        self.body_timeout = timeout;
        self
    }

    /// The minimum average rate of the body of a request, in bytes per second, after a time of `grace` (240 bytes a
    /// second after 5 s, as in Kestrel's
    /// [`MinRequestBodyDataRate`](https://learn.microsoft.com/dotnet/api/microsoft.aspnetcore.server.kestrel.core.kestrelserverlimits.minrequestbodydatarate));
    /// a slower one is 408 `tooSlow`, and the connection is closed. With 0 only the [total time](Self::body_timeout) is
    /// limited.
    #[must_use]
    pub const fn body_rate(mut self, bytes_per_second: u32, grace: Duration) -> Self {
        self.body_rate = BodyRate { bytes_per_second, grace };
        self
    }

    /// Maximum number of bytes of bodies that are partly received, and separately of bodies whose requests wait for
    /// their turn (64 MiB in all, of which one network may have a quarter and one person a sixteenth). If it is used
    /// up, the body that has been waited for longest is 408 `tooSlow` if that is more than a second, and otherwise the
    /// new one is refused: 429 `rateLimited` for the share of a client, 503 `unavailable` for the whole.
    #[must_use]
    pub const fn unread_limit(mut self, bytes: usize) -> Self {
        self.unread_limit = bytes;
        self
    }

    /// Maximum number of bytes of answers that clients have yet to read (64 MiB in all, of which one network may have a
    /// quarter and one person a sixteenth; one answer at a time may be longer). If it is used up, the answer that has
    /// made no progress for longest is aborted if that is more than a second, and otherwise the new one is refused, as
    /// with [`unread_limit`](Self::unread_limit); answers of up to 64 KiB and those of commands are never refused. What
    /// the HTTP server itself and the operating system buffer of an answer does not count.
    #[cfg(any(feature = "ws", feature = "signalr"))]
    #[must_use]
    pub const fn unsent_limit(mut self, bytes: usize) -> Self {
        self.unsent_limit = bytes;
        self
    }

    /// How long a client may read nothing of an answer (30 s); then the rest of it is aborted.
    #[must_use]
    pub const fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout;
        self
    }

    /// Maximum number of bytes of a frame from a socket (256 KiB, which is enough to resume 5,000 chats); more ends the
    /// socket with code 1009.
    #[must_use]
    pub const fn frame_limit(mut self, bytes: usize) -> Self {
        self.frame_limit = bytes;
        self
    }

    /// How long processing a request may take (30 s), including the wait for its turn; longer is 503 `unavailable`. The
    /// times for [its body](Self::body_timeout) and [its answer](Self::answer_timeout) are added to it. Sockets are not
    /// limited; but a request on one that blocks those behind it is given up after that time.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many requests are processed at the same time (512), and how many more may wait for their turn (1024). One
    /// network may have a quarter of each, one person a sixteenth. Waiting clients take turns. Further requests are
    /// refused at once: 429 `rateLimited` for the share of a client, 503 `unavailable` for the whole. Sockets are not
    /// counted.
    #[must_use]
    pub const fn concurrency(mut self, at_once: usize, waiting: usize) -> Self {
        self.concurrency = (at_once, waiting);
        self
    }

    /// The same for requests that try or set a password (16 and 256), over REST and sockets: they have a queue of their
    /// own, so that nothing else waits for them. How many passwords are hashed at the same time is set by
    /// [`PasswordCost`](messenger_core::PasswordCost).
    #[must_use]
    pub const fn password_concurrency(mut self, at_once: usize, waiting: usize) -> Self {
        self.password_concurrency = (at_once, waiting);
        self
    }

    /// The rate limits of one caller; `None` for no limits. Every node counts separately; with a [rate
    /// limiter](Self::rate_limiter) they are counted over all nodes.
    #[must_use]
    pub fn rate_limits(mut self, limits: impl Into<Option<RateLimits>>) -> Self {
        self.rate_limits = limits.into();
        self
    }

    /// The limiter that all nodes share (none). While it can't be reached, each node counts for itself.
    ///
    /// Log-ins and passwords wait for its answer, for at most 200 ms each time. Requests don't: each node tells it once a second who has asked for
    /// more than a tenth of what [`RateLimits::requests`] fills up in that time, and learns what they have asked of other
    /// nodes.
    #[must_use]
    pub fn rate_limiter(mut self, limiter: Arc<dyn RateLimiter>) -> Self {
        self.rate_limiter = Some(SharedRateLimiter(limiter));
        self
    }

    /// How many reverse proxies in front of the service append to `X-Forwarded-For` (0).
    ///
    /// With `n`, the `n`th address from the right is the client's: addresses further left may have been written by the
    /// client itself. With 0 the header is ignored, and the address is that of the connection, which axum knows if the
    /// host serves with `into_make_service_with_connect_info::<SocketAddr>()`. If no address is known, the limits by
    /// address don't apply, and a warning is logged once.
    #[must_use]
    pub const fn trusted_proxies(mut self, count: usize) -> Self {
        self.trusted_proxies = count;
        self
    }

    /// Lets web pages of these origins (such as `https://chat.example.org`) call the API from a browser. None by
    /// default: pages of the API's own origin always may.
    ///
    /// A host with other requirements leaves this out and puts its own CORS layer around the router.
    #[must_use]
    pub fn allow_origins(mut self, origins: impl IntoIterator<Item = HeaderValue>) -> Self {
        self.origins = origins.into_iter().collect();
        self
    }

    /// How much may wait to be written to sockets of both kinds. The limit of one connection is at least four times the
    /// [longest frame](Self::frame_limit) of a raw WebSocket.
    #[cfg(any(feature = "ws", feature = "signalr"))]
    #[must_use]
    pub const fn unsent(mut self, limits: UnsentLimits) -> Self {
        self.unsent = limits;
        self
    }

    /// Whether the raw WebSocket is served at `/ws` (yes). Without the feature `ws` of this crate it never is.
    #[cfg(feature = "ws")]
    #[must_use]
    pub const fn ws(mut self, served: bool) -> Self {
        self.ws = served;
        self
    }

    /// Whether the SignalR hub is served at `/hub` (yes). Without the feature `signalr` of this crate it never is.
    #[cfg(feature = "signalr")]
    #[must_use]
    pub const fn hub(mut self, served: bool) -> Self {
        self.hub = served;
        self
    }

    /// How the SignalR hub behaves: by default as in ASP.NET Core, with stateful reconnect allowed.
    #[cfg(feature = "signalr")]
    #[must_use]
    pub fn signalr(mut self, options: SignalROptions) -> Self {
        self.signalr = options;
        self
    }

    /// Whether the API is described at `/openapi.json` and `/docs` (yes). [`openapi`](crate::openapi()) returns the
    /// document in any case.
    #[must_use]
    pub const fn docs(mut self, served: bool) -> Self {
        self.docs = served;
        self
    }
}

/// The minimum rate of a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyRate {
    pub(crate) bytes_per_second: u32,
    pub(crate) grace: Duration,
}

/// The rate limits of one caller. Beyond them the answer is 429 `rateLimited` with `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// Requests of one person, over all of their sessions and sockets; or of one address, for callers who are not
    /// logged in (50 a second, 200 at once).
    pub requests: Rate,
    /// Registrations, log-ins, and requests of and with tokens that are mailed, from one address (5 a second, 30 at once). An IPv6
    /// address counts by its /64.
    pub logins: Rate,
    /// Wrong passwords for one login (username and mail address count separately), from any address (one in 30 s, 10 at
    /// once), and likewise for one person who is asked for the password again. When they are used up, no password is
    /// tried for that login or person until the next one is due; existing sessions continue. Apart from these, and as
    /// often: requests for a mail that resets a password, for one mail address; and requests for mails by one person, or with
    /// tokens from them.
    pub wrong_passwords: Rate,
    /// Exports of everything that is held about one person (one in 20 minutes, 3 at once). A person has one under way at a
    /// time.
    pub exports: Rate,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            requests: Rate::per_second(50, 200),
            logins: Rate::per_second(5, 30),
            wrong_passwords: Rate::every(Duration::from_secs(30), 10),
            exports: Rate::every(Duration::from_secs(20 * 60), 3),
        }
    }
}

/// What nodes count together.
#[derive(Clone)]
pub(crate) struct SharedRateLimiter(pub(crate) Arc<dyn RateLimiter>);

impl fmt::Debug for SharedRateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRateLimiter").finish_non_exhaustive()
    }
}

/// A steady rate with room for bursts: the generic cell rate algorithm (ITU-T I.371).
///
/// ```
/// use std::time::Duration;
/// use messenger_axum::Rate;
///
/// assert_eq!(Rate::per_second(50, 200), Rate::every(Duration::from_millis(20), 200));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub(crate) interval: Duration,
    pub(crate) burst: NonZeroU32,
}

impl Rate {
    /// `count` per second (at least 1) in the long run, and `burst` (at least 1) at once.
    pub fn per_second(count: u32, burst: u32) -> Self {
        Self::every(Duration::from_secs(1) / count.max(1), burst)
    }

    /// One per `interval` (at least 1 ns) in the long run, and `burst` (at least 1) at once.
    pub fn every(interval: Duration, burst: u32) -> Self {
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        Self { interval: interval.max(Duration::from_nanos(1)), burst }
    }
}
