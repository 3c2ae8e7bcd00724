//! Notifications as requests.

mod endpoint;
mod signature;

use std::{fmt, io, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use messenger_core::{
    context::{Clock, SystemClock},
    ports::{Notification, Notifier, NotifyError, Refusal, Refused},
};
use tokio::time::timeout;

use self::endpoint::{Answer, Endpoint};
use crate::text::without;

pub use self::{
    endpoint::WebhookUrlError,
    signature::{InvalidWebhookKey, WebhookError, WebhookKey},
};

/// Sends each notification to a server of the host's, as a signed `POST` with the [`Notification`] as JSON.
///
/// Headers are `webhook-id` (the claim: the same for each try), `webhook-timestamp` and `webhook-signature`, which [`WebhookKey::verify`]
/// checks. An answer from 200 to 299 is a delivery. 408, 425, 429 and from 500 on, no answer and a lost connection are tried again by
/// whoever called. Everything else is for good: 400, 413 and 422 are about what was sent, and the rest (redirections too, which are not
/// followed) about the address and its rights.
///
/// ```
/// use messenger_mail::{WebhookKey, WebhookNotifier};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = WebhookKey::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")?;
/// let notifier = WebhookNotifier::builder("https://push.example.org/notifications", key).build()?;
/// # Ok(())
/// # }
/// ```
pub struct WebhookNotifier {
    endpoint: Endpoint,
    key: WebhookKey,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

/// Made by [`WebhookNotifier::builder`].
pub struct WebhookBuilder {
    url: String,
    key: WebhookKey,
    authorities: Option<Vec<u8>>,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl WebhookNotifier {
    /// To this address, `https://…` or within one's own network `http://…`, signed with this key.
    pub fn builder(url: impl Into<String>, key: WebhookKey) -> WebhookBuilder {
        WebhookBuilder {
            url: url.into(),
            key,
            authorities: None,
            timeout: Duration::from_secs(10),
            clock: Arc::new(SystemClock),
        }
    }
}

impl WebhookBuilder {
    /// Certificates (PEM) to trust besides those of the system.
    #[must_use]
    pub fn ca_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities = Some(pem.into());
        self
    }

    /// How long all of a request may take. From 100 ms to 60 s; values outside are clamped. Default: 10 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.clamp(Duration::from_millis(100), Duration::from_secs(60));
        self
    }

    /// Tells the time that is signed. Default: that of the system.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Checks the settings, without connecting.
    ///
    /// # Errors
    /// [`WebhookUrlError`] if the address or the certificates can't be used.
    pub fn build(self) -> Result<WebhookNotifier, WebhookUrlError> {
        let Self { url, key, authorities, timeout, clock } = self;
        let endpoint = Endpoint::new(&url, authorities.as_deref())?;
        Ok(WebhookNotifier { endpoint, key, timeout, clock })
    }
}

#[async_trait]
impl Notifier for WebhookNotifier {
    async fn notify(&self, notification: &Notification) -> Result<(), NotifyError> {
        let unavailable = |error: Box<dyn std::error::Error + Send + Sync>| NotifyError::Unavailable(error);
        let body = serde_json::to_vec(notification).map_err(|error| unavailable(error.into()))?;
        let id = notification.claim.to_string();
        let (seconds, signature) = self.key.sign(&id, self.clock.now(), &body);
        let headers =
            [("webhook-id", &*id), ("webhook-timestamp", &*seconds), ("webhook-signature", &*signature)];
        let posting = self.endpoint.post(headers, Bytes::from(body));
        let answer = match timeout(self.timeout, posting).await {
            Ok(answered) => answered.map_err(unavailable)?,
            Err(_) => return Err(unavailable(io::Error::from(io::ErrorKind::TimedOut).into())),
        };
        judge(&answer, notification.to.email.as_str())
    }
}

fn judge(answer: &Answer, address: &str) -> Result<(), NotifyError> {
    let code = answer.status.as_u16();
    let what = match answer.status {
        status if status.is_success() => return Ok(()),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => None,
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
            Some(Refused::Content)
        }
        _ if (300..500).contains(&code) => Some(Refused::Sender),
        _ => None,
    };
    Err(match what {
        Some(what) => Refusal { what, code: Some(code), text: without(&answer.text, address) }.into(),
        None => NotifyError::Unavailable(format!("the receiver answered with {code}").into()),
    })
}

impl fmt::Debug for WebhookNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookNotifier").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl fmt::Debug for WebhookBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookBuilder").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
