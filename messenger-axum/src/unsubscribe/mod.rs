//! `/unsubscribe`: the links in mails that end them, for people and, by RFC 8058, for their mail programs.

mod page;
mod words;

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{StatusCode, request::Parts};
use messenger_core::{Actor, Error, Result, UnsubscribeScope, commands::EndMail, queries::CheckEndMail};

use self::{page::Said, words::Words};
use crate::{door::Door, fields, operation::Access, problem::Problem};

/// Below the router's mount point.
pub(crate) const PATH: &str = "/unsubscribe";

pub(crate) fn routes() -> Router<Door> {
    Router::new().route(PATH, get(ask).post(end))
}

/// Says what would end, and changes nothing: whatever looks into links before a person does may come here.
async fn ask(State(door): State<Door>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let asked = door.in_time(async {
        let (actor, token) = admitted(&door, &parts).await?;
        door.messenger.query(&actor, CheckEndMail { token }).await
    });
    answer(&parts, asked.await, Said::WouldEnd)
}

/// Ends it at once. Mail programs send a form of one field, and have neither cookies nor the origin of this server; what is in
/// the body changes nothing, so it is not read.
async fn end(State(door): State<Door>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let ended = door.in_time(async {
        let (actor, token) = admitted(&door, &parts).await?;
        let _turn = door.admission.work.take(door.client(&parts), 0).await?;
        door.messenger.execute(&actor, EndMail { token }).await
    });
    answer(&parts, ended.await, Said::Ended)
}

async fn admitted(door: &Door, parts: &Parts) -> Result<(Actor, String)> {
    let actor = door.admit(Access::Anyone, parts).await?;
    let fields = fields::pairs(parts.uri.query().unwrap_or_default())?;
    // Others may add fields of their own to links in mails.
    let token = fields.into_iter().find(|(name, _)| name == "token").map(|(_, token)| token.into_owned());
    Ok((actor, token.unwrap_or_default()))
}

fn answer(parts: &Parts, answer: Result<UnsubscribeScope>, said: fn(UnsubscribeScope) -> Said) -> Response {
    let words = Words::of(&parts.headers);
    match answer {
        Ok(scope) => page::response(StatusCode::OK, words, said(scope)),
        Err(Error::Invalid(_) | Error::Malformed(_)) => {
            page::response(StatusCode::BAD_REQUEST, words, Said::NoLink)
        }
        Err(error) => Problem::report(&error).into_response(),
    }
}
