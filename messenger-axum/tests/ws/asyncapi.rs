//! docs/asyncapi.yaml: every frame that the tests here get from a server, and every request that is done, is what it says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use jsonschema::Validator;
use messenger_core::Limits;
use serde_json::{Map, Value, json};

use crate::methods::{OWN, operations};

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    serde_saphyr::from_str(include_str!("../../../docs/asyncapi.yaml")).expect("the document is YAML")
});

/// What each message is held to, by its name.
static MESSAGES: LazyLock<BTreeMap<String, Validator>> = LazyLock::new(|| {
    let messages = DOCUMENT["components"]["messages"].as_object().unwrap();
    messages.keys().map(|name| (name.clone(), validator(name))).collect()
});

fn validator(message: &str) -> Validator {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": format!("#/components/messages/{message}/payload"),
        "components": DOCUMENT["components"],
    });
    jsonschema::options().should_validate_formats(true).build(&schema).expect("the schemas are valid")
}

#[track_caller]
fn check(message: &str, frame: &Value) {
    let validator = MESSAGES.get(message).unwrap_or_else(|| panic!("no message {message} for {frame}"));
    let faults: Vec<String> = validator.iter_errors(frame).map(|error| error.to_string()).collect();
    assert!(faults.is_empty(), "{frame} is no {message}: {faults:?}");
}

/// An event, or the refusal of a request, alone or in a batch; results are looked at with their requests.
#[track_caller]
pub(crate) fn check_frame(text: &str) {
    // What is no JSON fails its test elsewhere.
    let Ok(frame) = serde_json::from_str::<Value>(text) else { return };
    let frames = if let Value::Array(frames) = &frame { frames.iter().collect() } else { vec![&frame] };
    for frame in frames {
        if let Some(event) = frame["method"].as_str() {
            check(event, frame);
        } else if frame.get("error").is_some() {
            check("Refusal", frame);
        }
    }
}

/// A request that was done, and its result. In requests null counts as absent, of a field as of all of them.
#[track_caller]
pub(crate) fn check_answer(request: &Value, answer: &Value) {
    if answer.get("result").is_none() {
        return;
    }
    let name = request["method"].as_str().unwrap();
    let operations = DOCUMENT["operations"].as_object().unwrap();
    let known = operations.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let (name, operation) = known.unwrap_or_else(|| panic!("there is no operation {name}"));
    let mut request = request.clone();
    request["method"] = json!(name);
    if request["params"].is_null() {
        request["params"] = json!({});
    }
    if let Some(fields) = request["params"].as_object_mut() {
        fields.retain(|field, value| !value.is_null() || field == "position");
    }
    check(name, &request);
    let result = operation["reply"]["messages"][0]["$ref"].as_str().unwrap();
    check(result.rsplit('/').next().unwrap(), answer);
}

/// Events that a server may send.
const EVENTS: [&str; 12] = [
    "caughtUp",
    "chatAdded",
    "chatRemoved",
    "chatReset",
    "chatUpdated",
    "deliveredMoved",
    "messageCreated",
    "messageDeleted",
    "messageEdited",
    "presenceChanged",
    "readMoved",
    "typing",
];

fn operations_that(action: &str) -> BTreeMap<&'static str, &'static Value> {
    let operations = DOCUMENT["operations"].as_object().unwrap().iter();
    operations
        .filter(|(_, operation)| operation["action"] == action)
        .map(|(name, it)| (&**name, it))
        .collect()
}

#[test]
fn it_has_every_method_and_every_event() {
    let methods: BTreeSet<String> = operations().into_iter().chain(OWN.map(String::from)).collect();
    let described = operations_that("receive").into_keys().map(str::to_owned).collect();
    assert_eq!(methods, described);
    let sent = operations_that("send");
    let events = sent.values().flat_map(|operation| operation["messages"].as_array().unwrap());
    let events: BTreeSet<&str> =
        events.map(|event| event["$ref"].as_str().unwrap().rsplit('/').next().unwrap()).collect();
    assert_eq!(events, EVENTS.into());
}

/// Where a schema only refers to another one, that one.
fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    let reference = schema["$ref"].as_str().or_else(|| {
        let mut one_of = schema["oneOf"].as_array()?.iter();
        one_of.find_map(|item| item["$ref"].as_str())
    });
    reference.map_or(schema, |reference| document.pointer(reference.trim_start_matches('#')).unwrap())
}

/// The fields of each request, by its name.
fn described_fields() -> BTreeMap<&'static str, Map<String, Value>> {
    let fields_of = |name: &str| {
        let parts = DOCUMENT["components"]["messages"][name]["payload"]["allOf"].as_array().unwrap();
        let fields = parts.iter().find_map(|part| part["properties"]["params"]["properties"].as_object());
        fields.cloned().unwrap_or_default()
    };
    operations_that("receive").into_keys().map(|name| (name, fields_of(name))).collect()
}

#[test]
fn fields_have_the_bounds_of_the_routes() {
    const BOUNDS: [&str; 7] =
        ["minLength", "maxLength", "pattern", "minimum", "maximum", "maxItems", "default"];
    let routes: Value = serde_json::from_slice(&messenger_axum::openapi(&Limits::default())).unwrap();
    let described = described_fields();
    let mut compared = 0;
    for methods in routes["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            let name = operation["operationId"].as_str().unwrap();
            let Some(fields) = described.get(name) else { continue };
            let body = &routes["components"]["schemas"][name]["properties"];
            let in_body = body.as_object().into_iter().flatten();
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let parameters = parameters.map(|one| (one["name"].as_str().unwrap(), &one["schema"]));
            for (field, schema) in in_body.map(|(field, schema)| (&**field, schema)).chain(parameters) {
                let here = fields.get(field).unwrap_or_else(|| panic!("{name} has no {field}"));
                let (here, there) = (resolved(&DOCUMENT, here), resolved(&routes, schema));
                for bound in BOUNDS {
                    assert_eq!(here.get(bound), there.get(bound), "{bound} of {field} of {name}");
                    compared += usize::from(here.get(bound).is_some());
                }
            }
        }
    }
    assert!(compared > 40, "{compared}");
}

#[test]
fn problems_have_the_same_codes() {
    let routes: Value = serde_json::from_slice(&messenger_axum::openapi(&Limits::default())).unwrap();
    let problem = |document: &Value| document["components"]["schemas"]["Problem"]["properties"].clone();
    let (here, there) = (problem(&DOCUMENT), problem(&routes));
    assert_eq!(here["code"]["enum"], there["code"]["enum"]);
    let names = |fields: &Value| fields.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&here), names(&there));
}

/// The objects with fields that may have others, too.
fn open(path: &str, schema: &Value, found: &mut Vec<String>) {
    let Value::Object(fields) = schema else { return };
    let is_object = fields.get("type") == Some(&json!("object")) && fields.contains_key("properties");
    if is_object && !fields.contains_key("additionalProperties") {
        found.push(path.to_owned());
    }
    for (name, field) in fields {
        open(&format!("{path}/{name}"), field, found);
    }
}

/// Otherwise what a server sends besides would be found by nobody.
#[test]
fn what_is_described_is_all_there_is() {
    // They are made whole by the messages.
    const FRAMES: [&str; 3] = ["Request", "Answer", "Notification"];
    let mut found = Vec::new();
    for (name, schema) in DOCUMENT["components"]["schemas"].as_object().unwrap() {
        if !FRAMES.contains(&&**name) {
            open(name, schema, &mut found);
        }
    }
    assert_eq!(found, [] as [String; 0]);
}

#[test]
fn a_frame_that_is_not_as_described_is_found() {
    let id = crate::support::ID;
    let params = json!({"chatId": id, "userId": id, "typing": true, "expiresInMs": 6000});
    let seen = json!({"jsonrpc": "2.0", "method": "typing", "params": params});
    check("typing", &seen);
    for (parent, field, value) in [
        ("/params", "typing", json!("yes")),
        ("/params", "chatId", json!("seven")),
        ("/params", "more", json!(1)),
        ("/params", "expiresInMs", json!(-1)),
        ("", "method", json!("typed")),
        ("", "jsonrpc", json!("1.0")),
    ] {
        let mut frame = seen.clone();
        frame.pointer_mut(parent).unwrap()[field] = value;
        assert!(!MESSAGES["typing"].is_valid(&frame), "{parent}/{field}");
    }
}
