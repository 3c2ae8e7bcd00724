use std::{collections::BTreeMap, sync::Arc};

use minijinja::{
    Environment, Error, ErrorKind, HtmlEscape, UndefinedBehavior, Value, syntax::SyntaxConfig, value::Kwargs,
};

use crate::{
    error::ComposerError,
    text,
    words::{EN, PhraseError, RU, Words},
};

/// The language of those who read none that there are words of.
const DEFAULT: &str = "en";

/// The templates, each of which a host can replace.
const SHIPPED: [(&str, &str); 14] = [
    ("layout.html", include_str!("templates/layout.html")),
    ("parts.html", include_str!("templates/parts.html")),
    ("unread.html", include_str!("templates/unread.html")),
    ("unread.txt", include_str!("templates/unread.txt")),
    ("unread.subject.txt", include_str!("templates/unread.subject.txt")),
    ("confirm-address.html", include_str!("templates/confirm-address.html")),
    ("confirm-address.txt", include_str!("templates/confirm-address.txt")),
    ("confirm-address.subject.txt", include_str!("templates/confirm-address.subject.txt")),
    ("address-changed.html", include_str!("templates/address-changed.html")),
    ("address-changed.txt", include_str!("templates/address-changed.txt")),
    ("address-changed.subject.txt", include_str!("templates/address-changed.subject.txt")),
    ("reset-password.html", include_str!("templates/reset-password.html")),
    ("reset-password.txt", include_str!("templates/reset-password.txt")),
    ("reset-password.subject.txt", include_str!("templates/reset-password.subject.txt")),
];

/// What a host has put in the place of what ships.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replacements {
    /// By language, or none for all, and name.
    sources: BTreeMap<(Option<String>, String), String>,
    /// By language, in the order in which they came.
    words: Vec<(String, String)>,
}

impl Replacements {
    /// `name` is one of those that ship, or one of them below a language: `ru/unread.html`.
    pub(crate) fn template(&mut self, name: &str, source: String) -> Result<(), ComposerError> {
        let (language, plain) = match name.split_once('/') {
            Some((language, plain)) => (Some(language.to_ascii_lowercase()), plain),
            None => (None, name),
        };
        if !SHIPPED.iter().any(|(shipped, _)| *shipped == plain) {
            let known = SHIPPED.map(|(name, _)| name).join(", ");
            return Err(ComposerError::UnknownTemplate { name: name.to_owned(), known });
        }
        self.sources.insert((language, plain.to_owned()), source);
        Ok(())
    }

    pub(crate) fn words(&mut self, language: &str, json: String) {
        self.words.push((language.to_ascii_lowercase(), json));
    }

    fn source(&self, language: &str, name: &str) -> Option<&String> {
        let of = |language: Option<&str>| self.sources.get(&(language.map(str::to_owned), name.to_owned()));
        of(Some(language)).or_else(|| of(None))
    }

    /// All languages that there are words of.
    fn all_words(&self) -> Result<Vec<Words>, ComposerError> {
        let parsed = |language: &str, json: &str| {
            Words::parse(language, json).map_err(|source| ComposerError::Words {
                language: language.to_owned(),
                source: source.into(),
            })
        };
        let shipped = parsed(DEFAULT, EN)?;
        let mut all = vec![shipped.clone(), parsed("ru", RU)?];
        for (language, json) in &self.words {
            let words = parsed(language, json)?;
            match all.iter_mut().find(|known| **known.language() == **language) {
                Some(known) => known.replace(words),
                None => all.push(words),
            }
        }
        for words in &all {
            if let Some(key) = words.lacks(&shipped) {
                let source = PhraseError::Unknown(key.to_owned()).into();
                return Err(ComposerError::Words { language: words.language().to_string(), source });
            }
        }
        Ok(all)
    }
}

/// The templates of each language.
#[derive(Debug)]
pub(crate) struct Templates {
    /// The default comes first.
    languages: Vec<Language>,
}

/// The templates of one language, with its words.
#[derive(Debug)]
pub(crate) struct Language {
    pub(crate) tag: Arc<str>,
    pub(crate) is_rtl: bool,
    environment: Environment<'static>,
}

impl Templates {
    pub(crate) fn new(replacements: &Replacements) -> Result<Self, ComposerError> {
        let all = replacements.all_words()?;
        let without_words = |(language, _): &&(Option<String>, String)| {
            language.as_deref().is_some_and(|tag| all.iter().all(|words| **words.language() != *tag))
        };
        if let Some((Some(language), _)) = replacements.sources.keys().find(without_words) {
            return Err(ComposerError::NoWords { language: language.clone() });
        }
        let languages = all.into_iter().map(|words| Language::new(words, replacements));
        Ok(Self { languages: languages.collect::<Result<_, _>>()? })
    }

    pub(crate) fn languages(&self) -> &[Language] {
        &self.languages
    }

    /// The language itself, or without its region and script, or the default.
    pub(crate) fn of(&self, tag: &str) -> Option<&Language> {
        let mut tag = tag;
        loop {
            let found = self.languages.iter().find(|language| language.tag.eq_ignore_ascii_case(tag));
            if found.is_some() {
                return found;
            }
            match tag.rsplit_once('-') {
                Some((shorter, _)) => tag = shorter,
                None => return self.languages.first(),
            }
        }
    }
}

impl Language {
    fn new(words: Words, replacements: &Replacements) -> Result<Self, ComposerError> {
        let tag = Arc::clone(words.language());
        let is_rtl = text::is_rtl_language(&tag);
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(
            SyntaxConfig::builder()
                .trim_blocks(true)
                .lstrip_blocks(true)
                .build()
                .map_err(|source| ComposerError::template(&tag, "", source))?,
        );
        environment.add_filter("isolate", move |text: &str| text::isolate(text, is_rtl));
        environment.add_filter("cut", |text: &str, limit: usize| text::cut(text, limit));
        environment.add_filter("href", href);
        environment.add_function("t", move |key: &str, given: Kwargs| say(&words, is_rtl, key, &given));
        for (name, shipped) in SHIPPED {
            let source = replacements.source(&tag, name).cloned().unwrap_or_else(|| shipped.to_owned());
            environment
                .add_template_owned(name, source)
                .map_err(|source| ComposerError::template(&tag, name, source))?;
        }
        Ok(Self { tag, is_rtl, environment })
    }

    pub(crate) fn render(&self, name: &str, values: &Value) -> Result<String, ComposerError> {
        self.environment
            .get_template(name)
            .and_then(|template| template.render(values.clone()))
            .map_err(|source| ComposerError::template(&self.tag, name, source))
    }
}

/// What `t(key, n=1, name="Ada")` says. Text that may run in another direction is isolated.
fn say(words: &Words, is_rtl: bool, key: &str, given: &Kwargs) -> Result<String, Error> {
    let n: Option<u64> = given.get("n")?;
    let value = |name: &str| {
        let value: Value = given.get(name).ok()?;
        Some(text::isolate(&value.to_string(), is_rtl))
    };
    words
        .say(key, n, value)
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, "a phrase can't be said").with_source(error))
}

/// An address for an attribute of HTML; an error if it is not one of the web, because templates of a host may be given any.
fn href(address: &str) -> Result<Value, Error> {
    if !["https://", "http://", "mailto:"].iter().any(|scheme| address.starts_with(scheme)) {
        return Err(Error::new(ErrorKind::InvalidOperation, "href: an address of the web is expected"));
    }
    // Slashes stay, for people who look at what is behind a link.
    let escaped = HtmlEscape(address).to_string().replace("&#x2f;", "/");
    Ok(Value::from_safe_string(escaped))
}
