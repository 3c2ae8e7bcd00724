use messenger_core::Page;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{Object, Ref, Schema, SchemaType, Type},
    },
};

pub(super) type Named = (String, RefOr<Schema>);

/// The schema of a type, as functions instead of a type parameter, so that types of all kinds fit in one table.
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

    /// A page of items. `ToSchema` gives all pages the same name, and leaves out the schema of the items.
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

    /// A reference to the schema, which is added to `schemas` with everything it refers to.
    pub(super) fn refer(&self, schemas: &mut Vec<Named>) -> Ref {
        let name = (self.name)();
        (self.nested)(schemas);
        schemas.push((name.clone(), (self.schema)()));
        Ref::from_schema_name(name)
    }

    /// The same for a type used only in answers: there, an optional field is never `null`.
    pub(super) fn refer_answer(&self, schemas: &mut Vec<Named>) -> Ref {
        let mut answered = Vec::new();
        let reference = self.refer(&mut answered);
        answered.iter_mut().for_each(|(_, schema)| absent_is_not_null(schema));
        schemas.append(&mut answered);
        reference
    }

    /// The schema as an object with fields; the schemas it refers to are added to `schemas`.
    pub(super) fn object(&self, schemas: &mut Vec<Named>) -> Object {
        (self.nested)(schemas);
        match (self.schema)() {
            RefOr::T(Schema::Object(object)) => object,
            _ => Object::new(),
        }
    }
}

/// Removes `null` from the types of optional fields.
fn absent_is_not_null(schema: &mut RefOr<Schema>) {
    let RefOr::T(Schema::Object(object)) = schema else { return };
    let Object { properties, required, .. } = object;
    for (name, field) in properties {
        if !required.contains(name) {
            *field = without_null(field.clone());
        }
    }
}

/// The schema without `null` among its types. If only a reference is left, it is returned with its description.
pub(super) fn without_null(schema: RefOr<Schema>) -> RefOr<Schema> {
    match schema {
        RefOr::T(Schema::Object(mut object)) => {
            if let SchemaType::Array(types) = &object.schema_type {
                let mut others = types.iter().filter(|kind| **kind != Type::Null);
                if let (Some(only), None) = (others.next().cloned(), others.next()) {
                    object.schema_type = SchemaType::Type(only);
                }
            }
            Schema::Object(object).into()
        }
        RefOr::T(Schema::Array(mut array)) => {
            if let SchemaType::Array(_) = &array.schema_type {
                array.schema_type = SchemaType::Type(Type::Array);
            }
            Schema::Array(array).into()
        }
        RefOr::T(Schema::OneOf(mut one_of)) => {
            one_of.items.retain(|item| !is_null(item));
            let description = one_of.description.take();
            match (one_of.items.len(), one_of.items.pop()) {
                (1, Some(RefOr::Ref(mut reference))) => {
                    if let Some(text) = description {
                        reference.description = text;
                    }
                    reference.into()
                }
                (1, Some(only)) => only,
                (_, last) => {
                    one_of.items.extend(last);
                    one_of.description = description;
                    Schema::OneOf(one_of).into()
                }
            }
        }
        other => other,
    }
}

fn is_null(schema: &RefOr<Schema>) -> bool {
    matches!(schema, RefOr::T(Schema::Object(object)) if object.schema_type == SchemaType::Type(Type::Null))
}
