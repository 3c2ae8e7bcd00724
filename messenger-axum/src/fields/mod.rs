//! The fields of a command or query, from any part of a request.

mod query;
mod text;
mod unique;

use messenger_core::{Error, Result};
use serde::{
    Deserialize as _, Deserializer,
    de::{
        DeserializeOwned, DeserializeSeed, IntoDeserializer as _, MapAccess, Visitor, value::MapDeserializer,
    },
    forward_to_deserialize_any,
};
use serde_json::error::Category;

use text::TextValue;
use unique::Unique;

pub(crate) use query::{DecodedPair, pairs};

/// Longer explanations of a malformed request are cut: they may repeat what was sent.
const DETAIL_CHARS: usize = 300;

/// A name and its text, from a path or query.
pub(crate) type Pair<'a> = (&'a str, &'a str);

/// The fields of one request: those of the path first, then those of the query or of the body.
///
/// They are passed to the command as one map. A derived `Deserialize` with `deny_unknown_fields` refuses a repeated
/// field, so a body can't contradict the path.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'de> {
    path: &'de [Pair<'de>],
    rest: Rest<'de>,
}

#[derive(Clone, Copy)]
enum Rest<'de> {
    Query(&'de [Pair<'de>]),
    Json(&'de [u8]),
}

impl<'de> Fields<'de> {
    pub(crate) const fn of_query(path: &'de [Pair<'de>], query: &'de [Pair<'de>]) -> Self {
        Self { path, rest: Rest::Query(query) }
    }

    /// An empty body has no fields.
    pub(crate) const fn of_json(path: &'de [Pair<'de>], json: &'de [u8]) -> Self {
        if json.is_empty() { Self::of_query(path, &[]) } else { Self { path, rest: Rest::Json(json) } }
    }

    /// Deserialises the command or query, or returns `malformed`.
    pub(crate) fn read<T: DeserializeOwned>(self) -> Result<T> {
        let read = T::deserialize(self).map_err(|_| self.explain::<T>())?;
        if self.has_nested_objects() && Unique::deserialize(self).is_err() {
            return Err(self.explain::<Unique>());
        }
        Ok(read)
    }

    /// Most bodies have no nested objects; a text with a brace in it counts as one, which costs a second pass.
    fn has_nested_objects(self) -> bool {
        matches!(self.rest, Rest::Json(bytes) if bytes.iter().filter(|byte| **byte == b'{').nth(1).is_some())
    }

    /// Reads again to find out which field was wrong; good requests have no cost from this.
    fn explain<T: DeserializeOwned>(self) -> Error {
        let Err(error) = serde_path_to_error::deserialize::<_, T>(self) else {
            return Error::Malformed("The request can't be read.".into());
        };
        let path = error.path().to_string();
        let error = error.into_inner();
        let mut message = error.to_string();
        let detail = match error.classify() {
            Category::Data => {
                // The field's name says where the fault is; a line number would be wrong for a field of the path.
                if let Some(end) = message.rfind(" at line ") {
                    message.truncate(end);
                }
                if path == "." || message.contains("field `") {
                    message
                } else {
                    format!("{path}: {message}")
                }
            }
            Category::Io | Category::Syntax | Category::Eof => {
                format!("The body is not valid JSON: {message}")
            }
        };
        Error::Malformed(detail.chars().take(DETAIL_CHARS).collect())
    }
}

impl<'de> Deserializer<'de> for Fields<'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        let Self { path, rest } = self;
        match rest {
            Rest::Query(query) => {
                let pairs = path.iter().chain(query).map(|&(name, text)| (name, TextValue(text)));
                visitor.visit_map(MapDeserializer::new(pairs))
            }
            Rest::Json(bytes) => {
                let mut json = serde_json::Deserializer::from_slice(bytes);
                let value = json.deserialize_map(Merged { path, visitor })?;
                json.end()?;
                Ok(value)
            }
        }
    }

    /// A command without fields may be a unit struct; any field is then refused.
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}

        let Nothing {} = serde::Deserialize::deserialize(self)?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Visits the map of a JSON body and passes it on with the fields of the path in front.
struct Merged<'de, V> {
    path: &'de [Pair<'de>],
    visitor: V,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Merged<'de, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object with the fields of the request")
    }

    fn visit_map<A: MapAccess<'de>>(self, body: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(PathThenBody { path: self.path, value: None, body })
    }
}

struct PathThenBody<'de, A> {
    path: &'de [Pair<'de>],
    value: Option<&'de str>,
    body: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for PathThenBody<'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some((&(name, text), others)) = self.path.split_first() else {
            return self.body.next_key_seed(seed);
        };
        self.path = others;
        self.value = Some(text);
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        match self.value.take() {
            Some(text) => seed.deserialize(TextValue(text).into_deserializer()),
            None => self.body.next_value_seed(seed),
        }
    }
}

#[cfg(test)]
mod tests;
