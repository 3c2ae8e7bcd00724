//! Converts JSON to MessagePack, for checks that compare the two.

use std::fmt;

use rmp::encode;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::{json, payload::EncodeError};

/// The MessagePack of one JSON value.
///
/// Arrays and maps begin with their length, so the text is read twice: to count, and to write.
pub(super) fn to_messagepack(json: &[u8]) -> Result<Vec<u8>, EncodeError> {
    if u32::try_from(json.len()).is_err() {
        return Err(EncodeError::new("too long"));
    }
    let mut out = Vec::with_capacity(json.len());
    let mut lengths = lengths(json).into_iter();
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    Write { out: &mut out, lengths: &mut lengths }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(EncodeError::new)?;
    Ok(out)
}

/// The number of items of each array and object, in the order in which they begin; arbitrary if the text is not JSON.
fn lengths(json: &[u8]) -> Vec<u32> {
    let mut lengths = Vec::new();
    let mut open = Vec::new();
    for byte in json::outside_strings(json).filter(|byte| !byte.is_ascii_whitespace()) {
        if matches!(byte, b']' | b'}') {
            open.pop();
            continue;
        }
        if let Some(length) = open.last().and_then(|at: &usize| lengths.get_mut(*at))
            && (*length == 0 || byte == b',')
        {
            *length += 1;
        }
        if matches!(byte, b'[' | b'{') {
            open.push(lengths.len());
            lengths.push(0);
        }
    }
    lengths
}

struct Write<'w> {
    out: &'w mut Vec<u8>,
    lengths: &'w mut std::vec::IntoIter<u32>,
}

impl Write<'_> {
    const fn inner(&mut self) -> Write<'_> {
        Write { out: self.out, lengths: self.lengths }
    }

    fn length<E: serde::de::Error>(&mut self) -> Result<u32, E> {
        self.lengths.next().ok_or_else(|| E::custom("not JSON"))
    }
}

impl<'de> DeserializeSeed<'de> for Write<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Write<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        encode::write_nil(self.out).map_err(E::custom)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        encode::write_bool(self.out, value).map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        encode::write_uint(self.out, number).map(drop).map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        encode::write_sint(self.out, number).map(drop).map_err(E::custom)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        encode::write_f64(self.out, number).map_err(E::custom)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        encode::write_str(self.out, text).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let length = self.length()?;
        encode::write_array_len(self.out, length).map_err(A::Error::custom)?;
        while items.next_element_seed(self.inner())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let length = self.length()?;
        encode::write_map_len(self.out, length).map_err(A::Error::custom)?;
        while members.next_key_seed(self.inner())?.is_some() {
            members.next_value_seed(self.inner())?;
        }
        Ok(())
    }
}
