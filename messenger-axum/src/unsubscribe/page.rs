use axum::{
    Extension,
    response::{IntoResponse as _, Response},
};
use http::{HeaderName, StatusCode, header};
use messenger_core::UnsubscribeScope;

use super::words::{Text, Words};
use crate::layers::ForPeople;

/// What a page says.
#[derive(Clone, Copy)]
pub(super) enum Said {
    WouldEnd(UnsubscribeScope),
    Ended(UnsubscribeScope),
    NoLink,
}

const STYLE: &str = include_str!("page.css");

/// Allows the style and the form, and nothing else; another page may not show this one for a click on its button.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'";

pub(super) fn response(status: StatusCode, words: &Words, said: Said) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_LANGUAGE, words.language),
        (header::VARY, "Accept-Language"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // The address has the token in it.
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("x-robots-tag"), "noindex"),
    ];
    (status, headers, Extension(ForPeople), html(words, said)).into_response()
}

fn html(words: &Words, said: Said) -> String {
    let (Text { title, line }, rest) = match said {
        Said::WouldEnd(scope) => (&words.would_end, asked(words, scope)),
        Said::Ended(scope) => {
            let scope = words.of_scope(scope);
            (&words.ended, format!(" {}</p><p>{}</p>", scope.ended, scope.again))
        }
        Said::NoLink => (&words.no_link, "</p>".to_owned()),
    };
    let language = words.language;
    format!(
        "<!doctype html><html lang=\"{language}\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style>\
         <main><h1>{title}</h1><p>{line}{rest}</main></html>\n"
    )
}

/// A form without an address goes to that of the page, with the token.
fn asked(words: &Words, scope: UnsubscribeScope) -> String {
    format!(
        " {}</p><form method=\"post\"><button name=\"List-Unsubscribe\" value=\"One-Click\">{}</button></form>",
        words.of_scope(scope).would_end,
        words.button
    )
}
