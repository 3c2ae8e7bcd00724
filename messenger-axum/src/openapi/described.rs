use std::{any::type_name, borrow::Cow};

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{Object, Ref, Schema},
    },
};

type Named = (String, RefOr<Schema>);

/// The schema of a type, by functions instead of the type, so that types of all kinds fit in one table.
#[derive(Clone, Copy)]
pub(crate) struct Described {
    name: fn() -> Cow<'static, str>,
    /// `ToSchema` gives `Page<User>` and `Page<Chat>` the same name, so they can't be referred to by it.
    generic: bool,
    schema: fn() -> RefOr<Schema>,
    nested: fn(&mut Vec<Named>),
}

impl Described {
    pub(crate) fn of<T: ToSchema>() -> Self {
        Self {
            name: T::name,
            generic: type_name::<T>().contains('<'),
            schema: <T as PartialSchema>::schema,
            nested: T::schemas,
        }
    }

    /// A reference to the schema, which is added to `schemas` with all it refers to; `name` is for one that has no
    /// name of its own.
    pub(super) fn refer(&self, name: &str, schemas: &mut Vec<Named>) -> Ref {
        let name = if self.generic { name.into() } else { (self.name)() };
        (self.nested)(schemas);
        schemas.push((name.to_string(), (self.schema)()));
        Ref::from_schema_name(name)
    }

    /// The schema as an object with fields; what it refers to is added to `schemas`.
    pub(super) fn object(&self, schemas: &mut Vec<Named>) -> Object {
        (self.nested)(schemas);
        match (self.schema)() {
            RefOr::T(Schema::Object(object)) => object,
            _ => Object::new(),
        }
    }
}
