use messenger_core::Page;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{Object, Ref, Schema},
    },
};

pub(super) type Named = (String, RefOr<Schema>);

/// The schema of a type, by functions instead of the type, so that types of all kinds fit in one table.
#[derive(Clone, Copy)]
pub(crate) struct Described {
    name: fn() -> String,
    schema: fn() -> RefOr<Schema>,
    nested: fn(&mut Vec<Named>),
}

impl Described {
    pub(crate) fn of<T: ToSchema>() -> Self {
        Self { name: || T::name().into_owned(), schema: T::schema, nested: T::schemas }
    }

    /// A page of things. `ToSchema` gives all pages the same name, and leaves the things themselves out.
    pub(crate) fn page_of<T: ToSchema>() -> Self {
        Self {
            name: || format!("{}Page", T::name()),
            schema: <Page<T> as PartialSchema>::schema,
            nested: |schemas| {
                schemas.push((T::name().into_owned(), T::schema()));
                Page::<T>::schemas(schemas);
            },
        }
    }

    /// A reference to the schema, which is added to `schemas` with all it refers to.
    pub(super) fn refer(&self, schemas: &mut Vec<Named>) -> Ref {
        let name = (self.name)();
        (self.nested)(schemas);
        schemas.push((name.clone(), (self.schema)()));
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
