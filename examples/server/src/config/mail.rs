use std::{net::SocketAddr, time::Duration};

use messenger_core::{ChatLink, PublicUrl, QuietHours, TimeZone, minute_of_day, notify::NotifySettings};
use messenger_mail::{Composer, ComposerError, MailNotifier, MailUrl};

use super::{
    error::ConfigError,
    parse::{duration, on_or_off},
    secret::Secret,
    store_url::StoreUrl,
    values::Values,
};

/// How people get mail.
#[derive(Debug)]
pub(crate) struct MailConfig {
    pub(crate) url: MailUrl,
    pub(crate) from: String,
    pub(crate) composer: Composer,
    pub(crate) after: Duration,
    pub(crate) texts: bool,
    pub(crate) quiet_hours: Option<QuietHours>,
    pub(crate) time_zone: Option<TimeZone>,
    /// Where the page is for people outside; by default where the server listens.
    pub(crate) public_url: Option<PublicUrl>,
    pub(crate) link: Option<ChatLink>,
    pub(crate) secret: Secret,
}

/// Where the API is below the public address.
pub(crate) const API: &str = "/api/v1";

impl MailConfig {
    /// `None` without a `mail-url`. What is said about mail has to be right all the same.
    pub(super) fn of(values: &Values<'_>, store: &StoreUrl) -> Result<Option<Self>, ConfigError> {
        let url = url(values)?;
        let after = values.read("mail-after", after)?;
        let texts = values.read("mail-content", on_or_off)?;
        let public_url = values.read("public-url", optional(PublicUrl::parse))?;
        let link = values.read("mail-link", optional(ChatLink::parse))?;
        let quiet_hours = values.read("mail-quiet-hours", quiet_hours)?;
        let time_zone = values.read("mail-time-zone", |text| match text {
            "" => Ok(None),
            name => TimeZone::known(name)
                .map(Some)
                .map_err(|_| "is no time zone such as Europe/Berlin".to_owned()),
        })?;
        let secret = Secret::of(values, store)?;
        let Some((setting, url)) = url else { return Ok(None) };
        let from = values.read("mail-from", |text| Ok(sender(text, public_url.as_ref())))?;
        let composer = composer(values, &from)?;
        // A folder is made when the server starts.
        if matches!(url, MailUrl::Smtp(_)) {
            values.read(setting, |_| match MailNotifier::open(url.clone(), composer.clone()) {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("can't be used: {}", with_causes(&error))),
            })?;
        }
        Ok(Some(Self { url, from, composer, after, texts, quiet_hours, time_zone, public_url, link, secret }))
    }

    /// What to tell people with, if this server listens here and its key is this.
    pub(crate) fn settings(
        &self,
        address: SocketAddr,
        keys: messenger_core::LinkKeys,
    ) -> Option<NotifySettings> {
        let page = self.public_url.clone().or_else(|| PublicUrl::parse(&page_at(address)).ok())?;
        let page = page.as_str();
        let link = self.link.clone().or_else(|| ChatLink::parse(&format!("{page}/#/chat/{{chat}}")).ok());
        let api = PublicUrl::parse(&format!("{page}{API}")).ok()?;
        Some(NotifySettings {
            after: self.after,
            texts: self.texts,
            quiet_hours: self.quiet_hours,
            time_zone: self.time_zone.clone(),
            chat_link: link,
            ..NotifySettings::new(keys, api)
        })
    }

    /// For people who check the settings.
    pub(crate) fn summary(&self, listen: &str) -> String {
        let Self { url, from, after, secret, .. } = self;
        let texts = if self.texts { "with" } else { "without" };
        let links = self
            .public_url
            .as_ref()
            .map_or_else(|| format!("http://{listen}"), |url| url.as_str().to_owned());
        format!(
            "Mail about what stays unread for {after:?} goes to {url}, from {from}, {texts} the texts of messages. Links in it lead to \
             {links}, and are signed with {secret}.\n"
        )
    }
}

/// Where somebody on this machine finds the page, if no address for others is known.
fn page_at(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://localhost:{}", address.port())
    } else {
        format!("http://{address}")
    }
}

/// With the name of the setting that has it.
fn url(values: &Values<'_>) -> Result<Option<(&'static str, MailUrl)>, ConfigError> {
    let in_file = values.read("mail-url-file", |path| match path {
        "" => Ok(None),
        path => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("can't be read: {error}"))?;
            parsed(text.trim()).map_err(|reason| format!("holds an address that {reason}"))
        }
    })?;
    values.read("mail-url", |text| match (parsed(text)?, in_file) {
        (Some(_), Some(_)) => Err("is there beside --mail-url-file; give one of them".to_owned()),
        (Some(given), None) => Ok(Some(("mail-url", given))),
        (None, in_file) => Ok(in_file.map(|url| ("mail-url-file", url))),
    })
}

fn parsed(text: &str) -> Result<Option<MailUrl>, String> {
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|error| format!("can't be used: {error}")),
    }
}

/// Of what is not given, nothing; what is wrong with what is.
fn optional<T>(
    parse: impl FnOnce(&str) -> Result<T, messenger_core::InvalidLink>,
) -> impl FnOnce(&str) -> Result<Option<T>, String> {
    move |text| match text {
        "" => Ok(None),
        text => parse(text).map(Some).map_err(|error| format!("can't be used: {error}")),
    }
}

/// More is a slip.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

fn after(text: &str) -> Result<Duration, String> {
    let after = duration(text)?;
    if (Duration::from_secs(1)..=LONGEST).contains(&after) {
        Ok(after)
    } else {
        Err("is not from `1s` to `168h`".to_owned())
    }
}

fn quiet_hours(text: &str) -> Result<Option<QuietHours>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let hours = text
        .split_once('-')
        .and_then(|(from, to)| QuietHours::new(minute_of_day(from.trim())?, minute_of_day(to.trim())?).ok());
    hours.map(Some).ok_or_else(|| "is no time of the day up to another one, such as `22:00-07:00`".to_owned())
}

/// As it is given, or of the host that people know, if that is a name.
fn sender(given: &str, public_url: Option<&PublicUrl>) -> String {
    if !given.is_empty() {
        return given.to_owned();
    }
    let host = public_url.and_then(|url| {
        let authority = url.as_str().split_once("://")?.1.split('/').next()?;
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let is_name =
            host.contains('.') && host.parse::<std::net::IpAddr>().is_err() && !host.starts_with('[');
        is_name.then_some(host)
    });
    format!("Messenger <messenger@{}>", host.unwrap_or("localhost"))
}

/// What is wrong is told of the setting in which it is.
fn composer(values: &Values<'_>, from: &str) -> Result<Composer, ConfigError> {
    // Each has been tried with examples when it is built.
    let with_templates = |folder: &str| match folder {
        "" => Composer::builder(from).build(),
        folder => Composer::builder(from).folder(folder).build(),
    };
    values.read("mail-from", |_| match Composer::builder(from).build() {
        Err(ComposerError::Sender) => Err("is no mail address such as `Chat <chat@example.org>`".to_owned()),
        Err(error) => Err(with_causes(&error)),
        Ok(_) => Ok(()),
    })?;
    values.read("mail-templates", |folder| {
        with_templates(folder).map_err(|error| format!("can't be used: {}", with_causes(&error)))
    })
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sender_is_of_the_host_that_people_know() {
        let of = |url: &str| sender("", PublicUrl::parse(url).ok().as_ref());
        for (url, host) in [
            ("https://chat.example.org", "chat.example.org"),
            ("https://chat.example.org:8443/talk", "chat.example.org"),
            ("http://127.0.0.1:8080", "localhost"),
            ("http://[::1]:8080", "localhost"),
            ("http://chat", "localhost"),
            ("", "localhost"),
        ] {
            assert_eq!(of(url), format!("Messenger <messenger@{host}>"), "{url}");
            assert!(Composer::builder(of(url)).build().is_ok(), "{url}");
        }
        assert_eq!(sender("a@b.c", None), "a@b.c");
    }

    #[test]
    fn times_and_hours() {
        assert_eq!(after("1s"), Ok(Duration::from_secs(1)));
        for bad in ["999ms", "0s", "169h", "5"] {
            assert!(after(bad).is_err(), "{bad}");
        }
        assert_eq!(quiet_hours("22:00-07:30"), Ok(QuietHours::new(22 * 60, 7 * 60 + 30).ok()));
        assert_eq!(quiet_hours(""), Ok(None));
        for bad in ["22:00", "22-7", "22:00-22:00", "22:00-24:00"] {
            assert!(quiet_hours(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn links_lead_to_where_the_page_is() {
        for (address, page) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("0.0.0.0:80", "http://localhost:80"),
            ("[::]:80", "http://localhost:80"),
            ("[::1]:80", "http://[::1]:80"),
        ] {
            assert_eq!(page_at(address.parse().unwrap()), page);
        }
    }
}
