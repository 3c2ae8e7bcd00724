use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use lettre::{
    Address, Message,
    message::{Mailbox, MultiPart, MultiPartKind, SinglePart},
};
use messenger_core::ports::{Notice, Notification};
use minijinja::{Value, value::Serde};

use crate::{
    error::ComposerError,
    folder_of_templates, headers,
    mail::Mail,
    samples,
    templates::{Language, Replacements, Templates},
    text::{self, one_line},
    view::View,
};

/// Graphemes of a subject.
const SUBJECT: usize = 150;

/// Makes mails of notifications, in the language of the person, from templates.
///
/// ```
/// use messenger_mail::Composer;
///
/// let composer = Composer::builder("Engine room <chat@example.org>")
///     .template("ru/unread.subject.txt", "Пишут вам: {{ chats[0].name }}")
///     .words("en", r#"{ "unread.open": "Go to the chat" }"#)
///     .build()?;
/// # Ok::<(), messenger_mail::ComposerError>(())
/// ```
#[derive(Clone)]
pub struct Composer {
    inner: Arc<Inner>,
}

struct Inner {
    sender: Mailbox,
    reply_to: Option<Mailbox>,
    /// The part of Message-IDs after the `@`.
    domain: String,
    list_id: String,
    product: String,
    texts: bool,
    templates: Templates,
}

/// Made by [`Composer::builder`].
#[derive(Debug, Clone)]
pub struct ComposerBuilder {
    sender: String,
    reply_to: Option<String>,
    list_id: Option<String>,
    product: Option<String>,
    texts: bool,
    folder: Option<PathBuf>,
    templates: Vec<(String, String)>,
    words: Vec<(String, String)>,
}

impl Composer {
    /// Mail from this address: `chat@example.org` or `Chat <chat@example.org>`.
    pub fn builder(sender: impl Into<String>) -> ComposerBuilder {
        ComposerBuilder {
            sender: sender.into(),
            reply_to: None,
            list_id: None,
            product: None,
            texts: true,
            folder: None,
            templates: Vec::new(),
            words: Vec::new(),
        }
    }

    /// Makes the mail, the same bytes each time.
    ///
    /// # Errors
    /// [`ComposerError::Recipient`] if no mail can be sent to the person's address, [`ComposerError::Template`] if a template of the host fails,
    /// and [`ComposerError::Kind`] for a notice that this release does not know.
    pub fn compose(&self, notification: &Notification) -> Result<Mail, ComposerError> {
        let inner = &*self.inner;
        let to = recipient(notification)?;
        let written = inner.write(notification)?;
        let message_id = format!("<{}@{}>", notification.claim, inner.domain);
        let message = inner.message(notification, to, &message_id, &written)?;
        let (envelope, bytes) = (message.envelope().clone(), message.formatted());
        let Written { subject, text, html } = written;
        Ok(Mail { message_id, subject, text, html, envelope, bytes })
    }
}

impl ComposerBuilder {
    /// Where answers go. Default: none, so that they go to the sender.
    pub fn reply_to(mut self, address: impl Into<String>) -> Self {
        self.reply_to = Some(address.into());
        self
    }

    /// The `List-Id` (RFC 2919) of mail about unread messages, without angle brackets, by which people sort it. Default: `unread.` and
    /// the domain of the sender.
    pub fn list_id(mut self, name: impl Into<String>) -> Self {
        self.list_id = Some(name.into());
        self
    }

    /// What the service is called in texts. Default: the name of the sender, or the domain of its address.
    pub fn product(mut self, name: impl Into<String>) -> Self {
        self.product = Some(name.into());
        self
    }

    /// Whether mails have the texts of messages in them, if the notifications do. Default: yes.
    pub const fn message_text(mut self, yes: bool) -> Self {
        self.texts = yes;
        self
    }

    /// Puts a template in the place of the one of this name, for all languages, or for one if the name is such as `ru/unread.html`.
    pub fn template(mut self, name: impl Into<String>, source: impl Into<String>) -> Self {
        self.templates.push((name.into(), source.into()));
        self
    }

    /// Puts phrases in the place of those of a language, by key, as JSON. A language that does not ship needs all of them.
    pub fn words(mut self, language: impl Into<String>, json: impl Into<String>) -> Self {
        self.words.push((language.into(), json.into()));
        self
    }

    /// Takes templates and phrases of this folder when it is built: files such as `unread.html`, `ru/unread.html` and `ru/words.json`. What
    /// [`template`](Self::template) and [`words`](Self::words) are given goes before.
    pub fn folder(mut self, path: impl AsRef<Path>) -> Self {
        self.folder = Some(path.as_ref().to_owned());
        self
    }

    /// Checks the sender, and each template in each language with examples.
    ///
    /// # Errors
    /// [`ComposerError`] says what can't be used.
    pub fn build(self) -> Result<Composer, ComposerError> {
        let sender = mailbox(&self.sender).ok_or(ComposerError::Sender)?;
        let domain = sender.email.domain().to_owned();
        let list_id = self.list_id.unwrap_or_else(|| format!("unread.{domain}"));
        if !headers::is_list_id(&list_id) {
            return Err(ComposerError::ListId);
        }
        let product = self.product.or_else(|| sender.name.clone()).unwrap_or_else(|| domain.clone());
        let mut replacements = Replacements::default();
        if let Some(folder) = &self.folder {
            folder_of_templates::read(folder, &mut replacements)?;
        }
        for (name, source) in self.templates {
            replacements.template(&name, source)?;
        }
        for (language, json) in self.words {
            replacements.words(&language, json);
        }
        let reply_to = match self.reply_to {
            Some(address) => Some(mailbox(&address).ok_or(ComposerError::Sender)?),
            None => None,
        };
        let inner = Inner {
            reply_to,
            product: one_line(&product, 80),
            templates: Templates::new(&replacements)?,
            texts: self.texts,
            sender,
            domain,
            list_id,
        };
        inner.try_all()?;
        Ok(Composer { inner: Arc::new(inner) })
    }
}

/// What the templates have made.
struct Written {
    subject: String,
    text: String,
    html: String,
}

impl Inner {
    fn write(&self, notification: &Notification) -> Result<Written, ComposerError> {
        let language = self.templates.of(notification.to.language.as_str());
        let language = language.ok_or_else(|| ComposerError::NoWords { language: String::new() })?;
        self.write_in(notification, language, self.texts)
    }

    fn write_in(
        &self,
        notification: &Notification,
        language: &Language,
        texts: bool,
    ) -> Result<Written, ComposerError> {
        let mut view = View::new(notification, (&language.tag, language.is_rtl), &self.product, texts)?;
        let name = template(&notification.notice)?;
        let subject = language.render(&format!("{name}.subject.txt"), &Value::from(Serde(&view)))?;
        view.subject = text::subject(&subject, SUBJECT);
        let values = Value::from(Serde(&view));
        let text = format!("{}\n", language.render(&format!("{name}.txt"), &values)?.trim());
        let html = language.render(&format!("{name}.html"), &values)?;
        Ok(Written { subject: view.subject, text, html })
    }

    /// A template that fails should do so when the service starts.
    fn try_all(&self) -> Result<(), ComposerError> {
        for language in self.templates.languages() {
            for notification in samples::all() {
                self.write_in(&notification, language, true)?;
                self.write_in(&notification, language, false)?;
            }
        }
        Ok(())
    }

    fn message(
        &self,
        notification: &Notification,
        to: Mailbox,
        message_id: &str,
        written: &Written,
    ) -> Result<Message, ComposerError> {
        let mut message = Message::builder()
            .from(self.sender.clone())
            .to(to)
            .date(SystemTime::UNIX_EPOCH + Duration::from_micros(notification.at.as_micros().unsigned_abs()))
            .message_id(Some(message_id.to_owned()))
            .subject(written.subject.clone());
        if let Some(reply_to) = &self.reply_to {
            message = message.reply_to(reply_to.clone());
        }
        for header in headers::of(notification, &self.domain, &self.list_id) {
            message = message.raw_header(header);
        }
        // A boundary that is made of the claim is the same each time, and nobody who writes a message knows it.
        let boundary = format!("=_{}", notification.claim.as_uuid().simple());
        let parts = MultiPart::builder()
            .kind(MultiPartKind::Alternative)
            .boundary(boundary)
            .singlepart(SinglePart::plain(written.text.clone()))
            .singlepart(SinglePart::html(written.html.clone()));
        message.multipart(parts).map_err(|error| ComposerError::Mail(error.into()))
    }
}

/// The name of the templates for a notice, without their endings.
const fn template(notice: &Notice) -> Result<&'static str, ComposerError> {
    match notice {
        Notice::Unread(_) => Ok("unread"),
        Notice::ConfirmAddress(_) => Ok("confirm-address"),
        Notice::AddressChanged(_) => Ok("address-changed"),
        Notice::ResetPassword(_) => Ok("reset-password"),
        other => Err(ComposerError::Kind { kind: other.kind() }),
    }
}

fn recipient(notification: &Notification) -> Result<Mailbox, ComposerError> {
    let (local, domain) = notification.to.email.as_str().rsplit_once('@').ok_or(ComposerError::Recipient)?;
    let domain = ascii(domain).ok_or(ComposerError::Recipient)?;
    let address = Address::new(local, domain).map_err(|_| ComposerError::Recipient)?;
    let name = one_line(notification.to.display_name.as_str(), 80);
    Ok(Mailbox::new(Some(name).filter(|name| !name.is_empty()), address))
}

/// An address of the host's, with a name if it has one.
fn mailbox(text: &str) -> Option<Mailbox> {
    let Mailbox { name, email } = text.parse().ok()?;
    let email = Address::new(email.user(), ascii(email.domain())?).ok()?;
    Some(Mailbox::new(name.map(|name| one_line(&name, 80)), email))
}

/// A domain as the protocol has it (RFC 5890): not every server takes another.
fn ascii(domain: &str) -> Option<String> {
    if domain.starts_with('[') {
        return domain.is_ascii().then(|| domain.to_owned());
    }
    ::url::Host::parse(domain).ok().map(|host| host.to_string())
}

impl fmt::Debug for Composer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Composer").field("domain", &self.inner.domain).finish_non_exhaustive()
    }
}
