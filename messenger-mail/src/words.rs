use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;

use crate::plural::Plural;

pub(crate) const EN: &str = include_str!("words/en.json");
pub(crate) const RU: &str = include_str!("words/ru.json");

/// The phrases of one language, by key.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    language: Arc<str>,
    phrases: BTreeMap<String, Phrase>,
}

/// With `{name}` in the places of what is put in.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Phrase {
    Text(String),
    /// By number, of which `other` must be there.
    Forms(BTreeMap<String, String>),
}

/// Why a phrase can't be said.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PhraseError {
    #[error("there is no phrase `{0}`")]
    Unknown(String),
    #[error("the phrase `{0}` has no form `other`")]
    NoOther(String),
    #[error("the phrase `{0}` has forms for numbers, and no `n` was given")]
    NoNumber(String),
    #[error("the phrase `{0}` has {{{1}}}, which was not given")]
    NotGiven(String, String),
}

impl Words {
    /// In JSON: `{ "key": "text", "other.key": { "one": "{n} thing", "other": "{n} things" } }`.
    pub(crate) fn parse(language: &str, json: &str) -> Result<Self, serde_json::Error> {
        Ok(Self { language: language.into(), phrases: serde_json::from_str(json)? })
    }

    pub(crate) const fn language(&self) -> &Arc<str> {
        &self.language
    }

    /// Phrases of `other` replace those that are here.
    pub(crate) fn replace(&mut self, other: Self) {
        self.phrases.extend(other.phrases);
    }

    /// The first key of `other` that is not here.
    pub(crate) fn lacks<'a>(&self, other: &'a Self) -> Option<&'a str> {
        other.phrases.keys().find(|key| !self.phrases.contains_key(*key)).map(String::as_str)
    }

    /// The phrase, with what `given` has for each name.
    pub(crate) fn say(
        &self,
        key: &str,
        n: Option<u64>,
        given: impl Fn(&str) -> Option<String>,
    ) -> Result<String, PhraseError> {
        let pattern = self.pattern(key, n)?;
        let mut said = String::with_capacity(pattern.len());
        let mut rest = pattern;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else { break };
            said.push_str(before);
            let value = given(name).ok_or_else(|| PhraseError::NotGiven(key.to_owned(), name.to_owned()))?;
            said.push_str(&value);
            rest = after;
        }
        said.push_str(rest);
        Ok(said)
    }

    fn pattern(&self, key: &str, n: Option<u64>) -> Result<&str, PhraseError> {
        let forms = match self.phrases.get(key) {
            None => return Err(PhraseError::Unknown(key.to_owned())),
            Some(Phrase::Text(text)) => return Ok(text),
            Some(Phrase::Forms(forms)) => forms,
        };
        let n = n.ok_or_else(|| PhraseError::NoNumber(key.to_owned()))?;
        let form = Plural::of(&self.language, n);
        let found = forms.get(form.name()).or_else(|| forms.get(Plural::Other.name()));
        found.map(String::as_str).ok_or_else(|| PhraseError::NoOther(key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        let json = r#"{
            "a": "for {name} and {name}",
            "b": { "one": "{n} день", "few": "{n} дня", "many": "{n} дней", "other": "{n} дня" },
            "c": { "one": "{n} кот" },
            "d": "open { brace"
        }"#;
        Words::parse("ru", json).unwrap()
    }

    fn say(key: &str, n: Option<u64>) -> Result<String, PhraseError> {
        words().say(key, n, |name| match name {
            "name" => Some("{n} Ada".to_owned()),
            "n" => n.map(|n| n.to_string()),
            _ => None,
        })
    }

    #[test]
    fn a_phrase_is_said_with_what_is_given() {
        assert_eq!(say("a", None).unwrap(), "for {n} Ada and {n} Ada", "what is given is no pattern");
        assert_eq!(say("d", None).unwrap(), "open { brace");
        for (n, said) in [(1, "1 день"), (3, "3 дня"), (5, "5 дней"), (21, "21 день")] {
            assert_eq!(say("b", Some(n)).unwrap(), said);
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!(say("x", None).unwrap_err(), PhraseError::Unknown("x".into()));
        assert_eq!(say("b", None).unwrap_err(), PhraseError::NoNumber("b".into()));
        assert_eq!(say("c", Some(2)).unwrap_err(), PhraseError::NoOther("c".into()));
        let error = words().say("a", None, |_| None).unwrap_err();
        assert_eq!(error.to_string(), "the phrase `a` has {name}, which was not given");
    }

    #[test]
    fn each_language_that_ships_has_each_phrase() {
        let [en, ru] = [("en", EN), ("ru", RU)].map(|(language, json)| Words::parse(language, json).unwrap());
        assert_eq!((en.lacks(&ru), ru.lacks(&en)), (None, None));
    }
}
