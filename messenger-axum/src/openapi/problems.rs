//! The problems that an operation may answer with.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use messenger_core::ErrorCode;
use serde_json::json;
use utoipa::{
    ToSchema as _,
    openapi::{
        Content, ContentBuilder, Header, Ref, Response, ResponseBuilder,
        schema::{Object, Type},
    },
};

use crate::{
    operation::{Access, Operation},
    problem::{self, Code, Problem, status},
};

/// The responses of an operation, one for each status that is a problem.
pub(super) fn of_operation(operation: &Operation) -> impl Iterator<Item = (StatusCode, Response)> + use<> {
    let mut by_status: BTreeMap<StatusCode, Vec<Code>> = BTreeMap::new();
    for code in Code::all().filter(|code| may_answer(operation, *code)) {
        by_status.entry(status::of_code(code)).or_default().push(code);
    }
    by_status.into_iter().map(|(status, codes)| (status, response(status, &codes)))
}

/// The responses of a page without a log-in that are no pages.
pub(super) fn of_page() -> impl Iterator<Item = (StatusCode, Response)> {
    [ErrorCode::NotFound, ErrorCode::RateLimited, ErrorCode::Internal, ErrorCode::Unavailable]
        .into_iter()
        .map(|code| {
            let code = Code::Core(code);
            let status = status::of_code(code);
            (status, response(status, &[code]))
        })
}

/// The response if the store can't be reached.
pub(super) fn unavailable() -> (StatusCode, Response) {
    let code = Code::Core(ErrorCode::Unavailable);
    let status = status::of_code(code);
    (status, response(status, &[code]))
}

fn may_answer(operation: &Operation, code: Code) -> bool {
    match code {
        Code::Core(
            ErrorCode::Malformed | ErrorCode::RateLimited | ErrorCode::Unavailable | ErrorCode::Internal,
        ) => true,
        Code::Core(ErrorCode::Unauthenticated) => operation.access == Access::Session,
        Code::Core(code) => operation.errors.contains(&code),
        // Clients may send a body even with a request that only reads.
        Code::TooLarge | Code::TooSlow => true,
        Code::UnsupportedMediaType => operation.method != Method::GET,
        // Another method is another operation.
        Code::MethodNotAllowed => false,
    }
}

fn response(status: StatusCode, codes: &[Code]) -> Response {
    let meanings: Vec<String> =
        codes.iter().map(|code| format!("`{}`: {}.", code.as_str(), code.meaning())).collect();
    let builder =
        ResponseBuilder::new().description(meanings.join(" ")).content(problem::MEDIA_TYPE, content(codes));
    if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
        let mut header = Header::new(Object::with_type(Type::Integer));
        header.description = Some("Seconds to wait.".into());
        builder.header("Retry-After", header).build()
    } else {
        builder.build()
    }
}

fn content(codes: &[Code]) -> Content {
    let schema = Ref::from_schema_name(Problem::name());
    let example = codes.first().map(|code| Problem::example(*code));
    ContentBuilder::new().schema(Some(schema)).example(example.map(|problem| json!(problem))).build()
}
