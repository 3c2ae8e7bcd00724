//! Details of request fields beyond their types: bounds, which a host may have configured, and examples.
//!
//! A field name means the same in every operation, except for how many people a list may have.

use std::ops::RangeInclusive;

use messenger_core::Limits;
use serde_json::{Value, json};
use utoipa::openapi::{
    RefOr,
    schema::{KnownFormat, Object, Schema, SchemaFormat, SchemaType, Type},
};

/// Fields whose text is only compared with what is stored, so any text may be sent.
const COMPARED: [(&str, &str); 2] = [("LogIn", "password"), ("EraseMe", "password")];

/// The schema of passwords.
const PASSWORD: &str = "Password";

/// Adds the details to the fields of an operation's input.
pub(super) fn complete(operation: &str, input: &mut Object, limits: &Limits) {
    for (name, schema) in &mut input.properties {
        if let RefOr::Ref(reference) = schema
            && reference.ref_location.rsplit('/').next() == Some(PASSWORD)
        {
            *schema = password(&reference.description).into();
        }
        let RefOr::T(schema) = schema else { continue };
        if !COMPARED.contains(&(operation, name.as_str())) {
            bound(schema, operation, name, limits);
        }
        if let (Some(example), Schema::Object(object)) = (example(name), schema) {
            object.examples = vec![example];
        }
    }
}

/// Whether the schema is always inlined, so that nothing refers to it.
pub(super) fn is_in_place(schema: &str) -> bool {
    schema == PASSWORD
}

/// An inlined password: bounds can't be given beside a reference.
fn password(description: &str) -> Schema {
    let mut text = Object::with_type(Type::String);
    text.format = Some(SchemaFormat::KnownFormat(KnownFormat::Password));
    text.description = Some(description.to_owned()).filter(|text| !text.is_empty());
    Schema::Object(text)
}

fn bound(schema: &mut Schema, operation: &str, name: &str, limits: &Limits) {
    match schema {
        Schema::Object(object) if is(object, &Type::String) => {
            if let Some(length) = length(name, limits) {
                object.min_length = Some(*length.start());
                object.max_length = Some(*length.end());
            }
            object.pattern = pattern(name).map(str::to_owned);
        }
        Schema::Object(object) if name == "limit" => {
            object.minimum = Some(1.into());
            object.maximum = Some(limits.page.max.into());
            object.default = Some(limits.page.default.into());
        }
        Schema::Array(array) => {
            array.max_items = most(operation, name, limits);
        }
        _ => {}
    }
}

fn is(object: &Object, kind: &Type) -> bool {
    match &object.schema_type {
        SchemaType::Type(only) => only == kind,
        SchemaType::Array(kinds) => kinds.contains(kind),
        SchemaType::AnyValue => false,
    }
}

/// The bounds on the number of characters.
fn length(name: &str, limits: &Limits) -> Option<RangeInclusive<usize>> {
    Some(match name {
        "username" => limits.username.clone(),
        "password" | "new" => limits.password.clone(),
        "displayName" => limits.display_name.clone(),
        "title" => limits.title.clone(),
        "body" => limits.body.clone(),
        "query" => 1..=*limits.display_name.end(),
        "email" => 3..=254,
        "clientId" => 1..=64,
        "device" => 1..=128,
        "language" => 0..=35,
        "timeZone" => 0..=64,
        _ => return None,
    })
}

fn pattern(name: &str) -> Option<&'static str> {
    match name {
        "username" => Some("^[A-Za-z0-9_.-]+$"),
        "clientId" => Some("^[!-~]+$"),
        _ => None,
    }
}

/// The maximum number of entries.
fn most(operation: &str, name: &str, limits: &Limits) -> Option<usize> {
    match (operation, name) {
        // The creator of the group is a member, too.
        (_, "memberIds") => Some(limits.members.saturating_sub(1)),
        ("GetPresence", "userIds") => Some(limits.presence_users),
        (_, "userIds") => Some(limits.members),
        _ => None,
    }
}

fn example(name: &str) -> Option<Value> {
    Some(match name {
        "username" | "login" | "query" => json!("ada"),
        "email" => json!("ada@example.org"),
        "password" | "current" => json!("correct horse"),
        "new" => json!("battery staple"),
        "displayName" => json!("Ada Lovelace"),
        "device" => json!("Ada's phone"),
        "title" => json!("Tea"),
        "body" => json!("Shall we have tea?"),
        "clientId" => json!("7f9c2ba4-1"),
        "language" => json!("pt-BR"),
        "timeZone" => json!("Europe/Berlin"),
        "limit" => json!(50),
        _ => return None,
    })
}
