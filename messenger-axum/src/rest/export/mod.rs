//! Everything that is held about a person, as a download: made part by part, as the client reads it.

mod archive;
mod feed;
mod parts;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, header};
use messenger_core::{Error, Result};
use tracing::Instrument as _;

use self::{
    feed::{Download, Feed},
    parts::{Parts, Step},
};
use crate::{
    admission::Watch,
    door::{Door, bearer},
    operation::{Call, ExportMe},
    problem::Problem,
};

/// Answers with the download. The first part is made before, so that what is wrong from the beginning is a problem document.
///
/// # Errors
/// `rateLimited` if the person has had some lately, or has one under way; the errors of the query.
pub(super) async fn begin(door: &Door, call: &Call<'_>, headers: &HeaderMap) -> Result<Response> {
    let _: ExportMe = call.fields.read()?;
    let user = call.actor.user()?;
    let token = bearer(headers).ok_or(Error::Unauthenticated)?;
    door.in_time(door.limits.export(user)).await?;
    let begun = first(door, call, token).await;
    if begun.is_err() {
        door.limits.not_exported(user);
    }
    let body = begun?;
    let zip = HeaderValue::from_static("application/zip");
    let name = HeaderValue::from_static("attachment; filename=\"messenger-export.zip\"");
    Ok(([(header::CONTENT_TYPE, zip), (header::CONTENT_DISPOSITION, name)], body).into_response())
}

async fn first(door: &Door, call: &Call<'_>, token: &str) -> Result<Body> {
    let mut place = door.admission.exports.enter(call.client, VecDeque::new())?;
    let mut parts = Parts::new(door, call.client, token)?;
    let step = parts.step().await?;
    let (is_last, waiting) = (step.is_last, step.pieces.len());
    // Nobody has lost it for not reading what was not sent yet, but for the time that it took.
    place.refill(step.pieces).map_err(|_| Error::unavailable())?;
    let watch = place.watch();
    let feed = Feed::new(place, is_last, waiting);
    let making = (!is_last).then(|| {
        let making = make(parts, Arc::clone(&feed), watch);
        tokio::spawn(making.in_current_span())
    });
    Ok(Body::new(Download::new(feed, making)))
}

/// How often in a row a part may fail because of what passes.
const FAILURES: u32 = 5;
/// How long is waited then.
const PAUSE: Duration = Duration::from_secs(2);

/// Makes the parts, each when the one before has been taken; ends when the place is lost, and is ended with the body.
async fn make(mut parts: Parts, feed: Arc<Feed>, watch: Watch) {
    // Also if this panics.
    let feed = feed.broken_off_on_drop();
    let mut failures = 0;
    loop {
        let is_lost = tokio::select! {
            biased;
            _ = watch.lost() => true,
            () = feed.taken() => false,
        };
        if is_lost {
            return;
        }
        match parts.step().await {
            Ok(Step { pieces, is_last }) => {
                failures = 0;
                if feed.fill(pieces, is_last).is_err() || is_last {
                    return;
                }
            }
            // The client can't go on where it was broken off, so what passes is waited for.
            Err(Error::Unavailable(_) | Error::RateLimited(_)) if failures < FAILURES => {
                failures += 1;
                tokio::time::sleep(PAUSE).await;
                if feed.fill(VecDeque::new(), false).is_err() {
                    return;
                }
            }
            Err(error) => {
                // Nobody is answered with it: only its cause is logged.
                drop(Problem::report(&error));
                return;
            }
        }
    }
}
