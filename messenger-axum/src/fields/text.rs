//! A value written as plain text, in a path or a query.

use std::marker::PhantomData;

use serde::{
    Deserializer,
    de::{self, IntoDeserializer, Visitor, value::StrDeserializer},
    forward_to_deserialize_any,
};

/// Text that is converted to the type of the field: an id, a number, `true` or `false`, a name of an enum, or text.
#[derive(Clone, Copy)]
pub(super) struct TextValue<'de>(pub(super) &'de str);

impl<'de, E: de::Error> IntoDeserializer<'de, E> for TextValue<'de> {
    type Deserializer = TextDeserializer<'de, E>;

    fn into_deserializer(self) -> Self::Deserializer {
        TextDeserializer { text: self.0, error: PhantomData }
    }
}

pub(super) struct TextDeserializer<'de, E> {
    text: &'de str,
    error: PhantomData<fn() -> E>,
}

impl<E: de::Error> TextDeserializer<'_, E> {
    fn parse<T: std::str::FromStr>(&self, expected: &str) -> Result<T, E> {
        self.text.parse().map_err(|_| E::custom(format_args!("{expected} is expected")))
    }
}

/// Numbers are parsed as the widest type of their kind: the visitor refuses one that is too great for the field, with
/// the field's own bounds in the message.
macro_rules! parsed {
    ($($deserialize:ident $visit:ident $expected:literal)*) => {$(
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
            visitor.$visit(self.parse($expected)?)
        }
    )*};
}

impl<'de, E: de::Error> Deserializer<'de> for TextDeserializer<'de, E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_borrowed_str(self.text)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, E> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, E> {
        visitor.visit_enum(StrDeserializer::new(self.text))
    }

    parsed! {
        deserialize_bool visit_bool "true or false"
        deserialize_i8 visit_i64 "a whole number"
        deserialize_i16 visit_i64 "a whole number"
        deserialize_i32 visit_i64 "a whole number"
        deserialize_i64 visit_i64 "a whole number"
        deserialize_u8 visit_u64 "a whole number that is not negative"
        deserialize_u16 visit_u64 "a whole number that is not negative"
        deserialize_u32 visit_u64 "a whole number that is not negative"
        deserialize_u64 visit_u64 "a whole number that is not negative"
        deserialize_f32 visit_f64 "a number"
        deserialize_f64 visit_f64 "a number"
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}
