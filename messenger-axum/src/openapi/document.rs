//! Builds the OpenAPI document.

use http::Method;
use messenger_core::Limits;
use utoipa::openapi::{
    Components, ComponentsBuilder, Content, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required,
    ResponseBuilder, SecurityRequirement, Server, Tag,
    path::{
        HttpMethod, Operation as PathOperation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
        Paths,
    },
    request_body::RequestBodyBuilder,
    schema::{KnownFormat, Object, Schema, SchemaFormat, Type},
    security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    tag::TagBuilder,
};

use super::{
    described::{Described, Named, without_null},
    fields, problems,
};
use crate::{
    operation::{Access, Operation, operations},
    problem::{Problem, status},
    unsubscribe,
};

const BEARER: &str = "sessionToken";
const DESCRIPTION: &str = include_str!("description.md");

/// Groups of operations; an operation belongs to the group that its path names last.
const TAGS: [(&str, &str); 9] = [
    ("auth", "Accounts and sessions"),
    ("users", "People"),
    ("chats", "Chats"),
    ("members", "Members of a chat"),
    ("messages", "Messages of a chat"),
    ("presence", "Who is online"),
    ("sync", "What was missed"),
    ("mail", "Links in mails"),
    ("health", "For orchestrators"),
];

/// Builds the document for a service with these limits.
pub(super) fn document(limits: &Limits) -> OpenApi {
    let mut schemas: Vec<Named> = Vec::new();
    let mut paths = Paths::new();
    for operation in operations() {
        let described = describe(operation, limits, &mut schemas);
        paths.add_path_operation(operation.path, vec![http_method(&operation.method)], described);
    }
    for (method, described) in unsubscribe() {
        paths.add_path_operation(unsubscribe::PATH, vec![method], described);
    }
    for (path, described) in health() {
        paths.add_path_operation(path, vec![HttpMethod::Get], described);
    }
    let mut info = InfoBuilder::new()
        .title("Messenger")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .build();
    info.license = None;
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([Server::new(".")]))
        .tags(Some(TAGS.map(|(name, text)| tag(name, text))))
        .paths(paths)
        .components(Some(components(schemas)))
        .security(Some([SecurityRequirement::new(BEARER, [] as [&str; 0])]))
        .build()
}

fn describe(operation: &Operation, limits: &Limits, schemas: &mut Vec<Named>) -> PathOperation {
    let mut input = operation.input.object(schemas);
    fields::complete(operation.name, &mut input, limits);
    let text = input.description.take().unwrap_or_default();
    let (summary, description) = sentence(before_examples(&text));
    let mut builder = OperationBuilder::new()
        .operation_id(Some(operation.name))
        .summary(Some(summary.replace('\n', " ")))
        .description((!description.is_empty()).then_some(description))
        .tag(tag_of(operation.path));
    for name in path_parameters(operation.path) {
        builder = builder.parameter(parameter(name, ParameterIn::Path, &mut input));
    }
    if operation.method == Method::GET {
        for name in input.properties.keys().cloned().collect::<Vec<_>>() {
            builder = builder.parameter(parameter(&name, ParameterIn::Query, &mut input));
        }
    } else if !input.properties.is_empty() {
        let required = if input.required.is_empty() { Required::False } else { Required::True };
        schemas.push((operation.name.to_owned(), Schema::Object(input).into()));
        let content = Content::new(Some(Ref::from_schema_name(operation.name)));
        let body = RequestBodyBuilder::new().content("application/json", content).required(Some(required));
        builder = builder.request_body(Some(body.build()));
    }
    if operation.access != Access::Session {
        builder = builder.securities(Some([]));
    }
    respond(operation, builder, schemas)
}

fn respond(operation: &Operation, mut builder: OperationBuilder, schemas: &mut Vec<Named>) -> PathOperation {
    let (made, found) = status::of_success(operation.success);
    let output = operation.output.map(|output| output.refer_answer(schemas));
    let response = |description: &str| {
        let response = ResponseBuilder::new().description(description);
        match output.clone() {
            _ if operation.is_download() => response.content("application/zip", Content::new(Some(file()))),
            Some(output) => response.content("application/json", Content::new(Some(output))),
            None => response,
        }
    };
    builder = builder.response(made.as_str(), response("Done.").build());
    if let Some(found) = found {
        builder = builder.response(found.as_str(), response("It had been done before; this is it.").build());
    }
    for (status, problem) in problems::of_operation(operation) {
        builder = builder.response(status.as_str(), problem);
    }
    builder.build()
}

/// Bytes that are no text.
fn file() -> Object {
    let mut file = Object::with_type(Type::String);
    file.format = Some(SchemaFormat::KnownFormat(KnownFormat::Binary));
    file
}

/// Moves the field out of `input`.
fn parameter(name: &str, place: ParameterIn, input: &mut Object) -> Parameter {
    let schema = input.properties.remove(name);
    let required = input.required.iter().position(|required| required == name);
    if let Some(at) = required {
        input.required.remove(at);
    }
    let (description, schema) = schema.map(described_apart).unwrap_or_default();
    let required =
        if required.is_some() || place == ParameterIn::Path { Required::True } else { Required::False };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(description)
        .schema(schema)
        .build()
}

/// Moves the description of a field to the parameter. `null` can't be written in a path or query.
fn described_apart(schema: RefOr<Schema>) -> (Option<String>, Option<RefOr<Schema>>) {
    let mut schema = without_null(schema);
    let description = match &mut schema {
        RefOr::T(Schema::Object(object)) => object.description.take(),
        RefOr::T(Schema::OneOf(one_of)) => one_of.description.take(),
        RefOr::Ref(reference) => {
            Some(std::mem::take(&mut reference.description)).filter(|text| !text.is_empty())
        }
        _ => None,
    };
    (description, Some(schema))
}

/// Splits a text into the first sentence without its full stop, and the rest.
fn sentence(text: &str) -> (&str, &str) {
    let end = text.match_indices('.').find(|(at, _)| text[at + 1..].starts_with(char::is_whitespace));
    let (first, rest) = end.map_or((text, ""), |(at, _)| text.split_at(at));
    (first.trim_end_matches('.'), rest.trim_start_matches('.').trim())
}

/// The types' documentation has examples in Rust, which are of no use here.
fn before_examples(text: &str) -> &str {
    text.split_once("```").map_or(text, |(before, _)| before.trim_end())
}

fn leave_examples_out(schema: &mut RefOr<Schema>) {
    let description = match schema {
        RefOr::T(Schema::Object(object)) => &mut object.description,
        RefOr::T(Schema::AllOf(all)) => &mut all.description,
        RefOr::T(Schema::OneOf(one)) => &mut one.description,
        _ => return,
    };
    if let Some(text) = description {
        *text = before_examples(text).to_owned();
    }
}

fn components(mut schemas: Vec<Named>) -> Components {
    Described::of::<Problem>().refer(&mut schemas);
    schemas.retain(|(name, _)| !fields::is_in_place(name));
    schemas.iter_mut().for_each(|(_, schema)| leave_examples_out(schema));
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The `token` that registering or logging in answered with."))
        .build();
    ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme(BEARER, SecurityScheme::Http(bearer))
        .build()
}

fn health() -> [(&'static str, PathOperation); 2] {
    let operation = |name: &str, summary: &str| {
        let text = Content::new(Some(Object::with_type(Type::String)));
        OperationBuilder::new()
            .operation_id(Some(name))
            .summary(Some(summary))
            .tag("health")
            .securities(Some([]))
            .response("200", ResponseBuilder::new().description("Yes.").content("text/plain", text))
    };
    let (status, unavailable) = problems::unavailable();
    [
        ("/health/live", operation("Live", "Whether the process answers").build()),
        (
            "/health/ready",
            operation("Ready", "Whether the store can be reached")
                .response(status.as_str(), unavailable)
                .build(),
        ),
    ]
}

/// The pages that links in mails lead to.
fn unsubscribe() -> [(HttpMethod, PathOperation); 2] {
    let operation = |name: &str, summary: &str, text: &str| {
        let page = |description: &str| {
            let html = Content::new(Some(Object::with_type(Type::String)));
            ResponseBuilder::new().description(description).content("text/html", html)
        };
        let token = ParameterBuilder::new()
            .name("token")
            .parameter_in(ParameterIn::Query)
            .required(Required::True)
            .description(Some("What the link of the mail has."))
            .schema(Some(Object::with_type(Type::String)));
        let operation = OperationBuilder::new()
            .operation_id(Some(name))
            .summary(Some(summary))
            .description(Some(text))
            .tag("mail")
            .securities(Some([]))
            .parameter(token)
            .response("200", page("A page that says so."))
            .response("400", page("A page that says that the link is not valid."));
        problems::of_page()
            .fold(operation, |operation, (status, problem)| operation.response(status.as_str(), problem))
    };
    [
        (
            HttpMethod::Get,
            operation(
                "AskToUnsubscribe",
                "What a link in a mail would end",
                "A page for people, with a button, that works without script. Nothing is changed. Only where people are told by mail.",
            )
            .build(),
        ),
        (
            HttpMethod::Post,
            operation(
                "Unsubscribe",
                "Ends mail about unread messages, all of it or that of one chat",
                "One click as RFC 8058 has it: neither a log-in nor a cookie is asked for, and the body is not read. Doing it again is \
                 no error. Only where people are told by mail.",
            )
            .build(),
        ),
    ]
}

fn tag(name: &str, text: &str) -> Tag {
    TagBuilder::new().name(name).description(Some(text)).build()
}

fn tag_of(path: &str) -> &str {
    path.rsplit('/').find(|segment| TAGS.iter().any(|(tag, _)| tag == segment)).unwrap_or("chats")
}

/// The names in braces.
pub(super) fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

fn http_method(method: &Method) -> HttpMethod {
    match *method {
        Method::POST => HttpMethod::Post,
        Method::PUT => HttpMethod::Put,
        Method::PATCH => HttpMethod::Patch,
        Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}
