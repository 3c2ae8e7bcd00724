//! The body of a request: received before its turn, so that nobody waits for a client that does not send it.

use std::{collections::VecDeque, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use messenger_core::Error;
use tokio::time::{Instant, timeout_at};

use crate::{
    admission::{Lost, Place},
    client::Client,
    door::Door,
    options::Options,
    problem::{Problem, Refusal},
};

/// Refuses by the head alone a request whose body would be refused.
pub(super) fn check_head(headers: &HeaderMap, limit: usize) -> Result<(), Refusal> {
    match announced(headers) {
        Some(bytes) if bytes > limit as u64 => Err(Refusal::BodyTooLarge(limit)),
        Some(bytes) if bytes > 0 && !is_json(headers) => Err(Refusal::NotJson),
        _ => Ok(()),
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads the whole body, if it is empty or JSON, not too large, and arrives in time.
pub(super) async fn read(
    door: &Door,
    client: Client,
    headers: &HeaderMap,
    body: Body,
) -> Result<Bytes, Problem> {
    let mut incoming = Incoming::new(body, &door.options);
    // A body that arrived with the head, as most do, does not take a place.
    match incoming.read_on(None).now_or_never() {
        Some(read) => read?,
        None => {
            let mut place = door.admission.bodies.enter(client, VecDeque::new())?;
            place.grow(incoming.gathered.len())?.map_err(|Lost| Refusal::BodyTooSlow)?;
            incoming.read_on(Some(&mut place)).await?;
        }
    }
    let body = Bytes::from(incoming.gathered);
    if body.is_empty() || is_json(headers) { Ok(body) } else { Err(Refusal::NotJson.into()) }
}

/// A body being received.
struct Incoming<'o> {
    body: Limited<Body>,
    gathered: Vec<u8>,
    begun: Instant,
    options: &'o Options,
}

impl<'o> Incoming<'o> {
    fn new(body: Body, options: &'o Options) -> Self {
        let body = Limited::new(body, options.body_limit);
        Self { body, gathered: Vec::new(), begun: Instant::now(), options }
    }

    /// Reads to the end; if dropped, reading can be continued.
    async fn read_on(&mut self, mut place: Option<&mut Place>) -> Result<(), Problem> {
        while let Some(frame) = self.next(place.as_deref()).await? {
            if let Some(place) = &mut place {
                place.grow(frame.len())?.map_err(|Lost| Refusal::BodyTooSlow)?;
            }
            self.gathered.extend_from_slice(&frame);
        }
        Ok(())
    }

    async fn next(&mut self, place: Option<&Place>) -> Result<Option<Bytes>, Problem> {
        let by = self.due();
        let lost = async {
            match place {
                Some(place) => place.lost().await,
                None => std::future::pending().await,
            }
        };
        let frame = tokio::select! {
            biased;
            frame = timeout_at(by, self.body.frame()) => frame.map_err(|_| Refusal::BodyTooSlow)?,
            Lost = lost => return Err(Refusal::BodyTooSlow.into()),
        };
        match frame {
            None => Ok(None),
            // Trailers are ignored.
            Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
            Some(Err(error)) if error.is::<LengthLimitError>() => {
                Err(Refusal::BodyTooLarge(self.options.body_limit).into())
            }
            Some(Err(_)) => Err(Error::Malformed("The body broke off.".into()).into()),
        }
    }

    /// The deadline for more data: what was received allows so much time at the minimum rate.
    fn due(&self) -> Instant {
        let (rate, longest) = (self.options.body_rate, self.options.body_timeout);
        let bytes = u64::try_from(self.gathered.len()).unwrap_or(u64::MAX);
        let enough = match rate.bytes_per_second {
            0 => longest,
            each_second => rate.grace.max(Duration::from_secs(bytes) / each_second),
        };
        self.begun + enough.min(longest)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let plain =
        text(header::CONTENT_ENCODING).is_none_or(|encoding| encoding.eq_ignore_ascii_case("identity"));
    let Some(media) = text(header::CONTENT_TYPE) else { return false };
    let (essence, parameters) = media.split_once(';').unwrap_or((media, ""));
    let essence = essence.trim().to_ascii_lowercase();
    let json =
        essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json");
    let charset =
        parameters.split(';').filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
            !name.trim().eq_ignore_ascii_case("charset")
                || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        });
    plain && json && charset
}
