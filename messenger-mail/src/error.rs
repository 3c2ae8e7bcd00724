use std::{io, path::PathBuf};

use messenger_core::ports::{NotifyError, Refusal, Refused};

/// Why a [`Composer`](crate::Composer) can't be made, or why a mail can't. It shows no text and no address of a person.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComposerError {
    /// What mail is said to be from is not an address.
    #[error("the sender is not a mail address such as `Chat <chat@example.org>`")]
    Sender,
    /// The name of a list has letters that a header does not take.
    #[error(
        "the name of the list is not one of letters, digits, `-` and `.`, such as unread.chat.example.org"
    )]
    ListId,
    /// There is no template of this name to be replaced.
    #[error(
        "there is no template `{name}`; there are {known}, each also below a language as in `ru/unread.html`"
    )]
    UnknownTemplate {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A template can't be understood, or fails with an example of what it is given.
    #[error("the template `{name}` ({language}) can't be used")]
    Template {
        /// The language.
        language: String,
        /// The name.
        name: String,
        /// What is wrong with it, with its line.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The phrases of a language can't be understood, or not all of them are there.
    #[error("the words of the language `{language}` can't be used")]
    Words {
        /// The language.
        language: String,
        /// What is wrong with them.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is a template of a language that there are no phrases of.
    #[error("there are templates of the language `{language}`, and no words of it")]
    NoWords {
        /// The language.
        language: String,
    },
    /// A folder with templates can't be read.
    #[error("the folder of templates {} can't be read", path.display())]
    Folder {
        /// The folder, or the file in it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The person's address is none that mail can be sent to.
    #[error("the address is not one that mail can be sent to")]
    Recipient,
    /// This release has no mail for a notice of this kind.
    #[error("there is no mail for a notice of the kind `{kind}`")]
    Kind {
        /// The kind.
        kind: &'static str,
    },
    /// The parts of a mail don't make one.
    #[error("the mail can't be put together")]
    Mail(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ComposerError {
    pub(crate) fn template(language: &str, name: &str, source: minijinja::Error) -> Self {
        Self::Template { language: language.to_owned(), name: name.to_owned(), source: source.into() }
    }
}

/// A mail that can't be made can't be made the next time either.
impl From<ComposerError> for NotifyError {
    fn from(error: ComposerError) -> Self {
        let what = match error {
            ComposerError::Recipient => Refused::Address,
            _ => Refused::Content,
        };
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        Refusal { what, code: None, text }.into()
    }
}
