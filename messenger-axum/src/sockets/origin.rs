//! Which web pages may open a socket: browsers do not ask for permission for sockets, as they do for other requests.

use http::{HeaderMap, HeaderName, header, request::Parts};
use messenger_core::Error;

use crate::options::Options;

/// Refuses pages of origins other than the API's own and those that are [allowed](Options::allow_origins). A client
/// that sends no origin is not a page.
pub(crate) fn check(parts: &Parts, options: &Options) -> Result<(), Error> {
    let Some(origin) = parts.headers.get(header::ORIGIN) else { return Ok(()) };
    if options.origins.contains(origin) {
        return Ok(());
    }
    let page = origin.to_str().ok().and_then(authority);
    let own = host(&parts.headers, options.trusted_proxies)
        .or_else(|| parts.uri.authority().map(|own| own.as_str()));
    match (page, own) {
        (Some(page), Some(own)) if page.eq_ignore_ascii_case(own) => Ok(()),
        _ => Err(Error::Forbidden("let pages of this origin connect")),
    }
}

/// The client's name for this host; a trusted proxy may have changed it on the way.
fn host(headers: &HeaderMap, trusted_proxies: usize) -> Option<&str> {
    const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-host");
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let forwarded = text(FORWARDED).filter(|_| trusted_proxies > 0);
    forwarded.or_else(|| text(header::HOST))
}

/// The host and port of an origin, as `Host` has them: without the port that the scheme implies.
fn authority(origin: &str) -> Option<&str> {
    let (scheme, authority) = origin.split_once("://")?;
    let implied = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return None,
    };
    Some(authority.strip_suffix(implied).unwrap_or(authority))
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    fn may(origin: &'static str, headers: &[(&'static str, &'static str)], options: &Options) -> bool {
        let mut request = Request::new(());
        request.headers_mut().insert("origin", HeaderValue::from_static(origin));
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_static(value));
        }
        check(&request.into_parts().0, options).is_ok()
    }

    #[test]
    fn pages_of_the_own_origin_and_of_those_allowed_may() {
        let host = [("host", "chat.example.org")];
        let options = Options::new();
        assert!(may("https://chat.example.org", &host, &options));
        assert!(may("https://CHAT.example.org:443", &host, &options));
        assert!(may("http://chat.example.org:8080", &[("host", "chat.example.org:8080")], &options));
        for other in [
            "https://evil.example",
            "https://chat.example.org:444",
            "null",
            "",
            "chat.example.org",
            "ftp://chat.example.org",
        ] {
            assert!(!may(other, &host, &options), "{other}");
        }
        let allows = options.allow_origins([HeaderValue::from_static("https://evil.example")]);
        assert!(may("https://evil.example", &host, &allows));
        assert!(!may("https://evil.example:444", &host, &allows));
    }

    #[test]
    fn a_trusted_proxy_says_which_host_was_meant() {
        let behind = [("host", "10.0.0.7:3000"), ("x-forwarded-host", "chat.example.org")];
        assert!(!may("https://chat.example.org", &behind, &Options::new()));
        assert!(may("https://chat.example.org", &behind, &Options::new().trusted_proxies(1)));
    }

    #[test]
    fn who_says_no_origin_is_no_page() {
        assert!(check(&Request::new(()).into_parts().0, &Options::new()).is_ok());
    }
}
