//! Reads the notes of system messages, including truncated ones.

use std::{borrow::Cow, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::{
    domain::{SystemEvent, SystemNote, UserId},
    ports::{Content, StoreError, StoreErrorKind, StoreResult},
    unreadable::Unreadable,
};

pub(super) fn whole(content: &Content) -> StoreResult<SystemNote> {
    serde_json::from_slice(&content.0).map_err(corrupt)
}

/// Reads a truncated note: what happened, and some of the people it happened to.
pub(super) fn beginning(content: &Content) -> StoreResult<SystemNote> {
    let mut read = Beginning::default();
    let mut json = serde_json::Deserializer::from_slice(&content.0);
    match json.deserialize_map(Fields(&mut read)) {
        Err(error) if !error.is_eof() => return Err(corrupt(error)),
        _ => {}
    }
    let event = read.event.ok_or_else(|| corrupt(serde_json::Error::missing_field("event")))?;
    Ok(SystemNote { event, user_ids: read.user_ids, title: None, role: None, retention: None })
}

fn corrupt(error: serde_json::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, Unreadable::from(error))
}

#[derive(Default)]
struct Beginning {
    event: Option<SystemEvent>,
    user_ids: Vec<UserId>,
}

/// Collects the fields read so far, even if the rest can't be read.
struct Fields<'b>(&'b mut Beginning);

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a note")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match &*name {
                "event" => self.0.event = Some(map.next_value()?),
                "userIds" => map.next_value_seed(People(&mut self.0.user_ids))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

struct People<'b>(&'b mut Vec<UserId>);

impl<'de> DeserializeSeed<'de> for People<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for People<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("people")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(user) = seq.next_element()? {
            self.0.push(user);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Title, convert::write_note};

    #[test]
    fn what_can_not_be_read_is_not_quoted() {
        for json in [
            r#"{"event":"hushed"}"#,
            r#"{"event":"created","userIds":["hushed"]}"#,
            r#"{"event":"created","userIds":[],"title":{"hushed":1}}"#,
            r#"{"event":"created","hushed":1}"#,
            r#"["hushed"]"#,
            r#""hushed""#,
            "hushed",
        ] {
            let content = Content(json.into());
            for error in [whole(&content).err(), beginning(&content).err()].into_iter().flatten() {
                let said = format!(
                    "{error} {error:?} {:?}",
                    std::error::Error::source(&error).map(ToString::to_string)
                );
                assert!(said.contains("at byte") && !said.contains("hushed"), "{said}");
            }
        }
    }

    #[test]
    fn a_note_is_read_as_far_as_it_goes() {
        let people: Vec<UserId> = (0..40).map(|n| UserId::from_bytes([n; 16])).collect();
        let title = Some(Title::trusted("Tea \"and\" ☕"));
        let note = SystemNote {
            event: SystemEvent::Created,
            user_ids: people.clone(),
            title,
            role: None,
            retention: None,
        };
        let written = write_note(&note);
        assert_eq!(whole(&written).unwrap(), note);
        let mut seen = 0;
        for length in 0..written.0.len() {
            let read = beginning(&Content(written.0[..length].to_vec()));
            // At least `{"event":"created"` is needed.
            let Ok(read) = read else {
                assert!(length < 18, "{length}");
                continue;
            };
            assert!(length >= 18 && read.event == SystemEvent::Created, "{length}");
            assert!(read.user_ids.len() >= seen && people.starts_with(&read.user_ids), "{length}");
            seen = read.user_ids.len();
        }
        assert_eq!(seen, 40);
        assert!(beginning(&Content::from("hello")).is_err());
    }
}
