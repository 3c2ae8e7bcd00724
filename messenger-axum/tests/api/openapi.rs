//! The OpenAPI document and its page.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::Api;

fn document() -> Value {
    serde_json::from_slice(&messenger_axum::openapi(&messenger_core::Limits::default())).unwrap()
}

/// Each operation with its name, method and path.
fn operations(document: &Value) -> Vec<(&str, &str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().iter();
            methods.map(move |(method, operation)| {
                (operation["operationId"].as_str().unwrap(), method.as_str(), path.as_str(), operation)
            })
        })
        .collect()
}

#[test]
fn every_route_of_the_contract_is_there() {
    let contract = "
        RegisterUser    post   /auth/register
        LogIn           post   /auth/login
        LogOut          post   /auth/logout
        ListSessions    get    /auth/sessions
        RevokeSession   delete /auth/sessions/{sessionId}
        ChangePassword  put    /auth/password
        RequestPasswordReset     post /auth/password/reset
        ResetPassword            put  /auth/password/reset
        ConfirmEmail             post /auth/email/confirm
        RequestEmailConfirmation post /users/me/email/confirmation
        GetMe           get    /users/me
        UpdateProfile   patch  /users/me
        EraseMe         delete /users/me
        ExportMe        get    /users/me/export
        FindUsers       get    /users
        GetUser         get    /users/{userId}
        OpenDirectChat  post   /chats/direct
        CreateGroupChat post   /chats/group
        ListChats       get    /chats
        GetChat         get    /chats/{chatId}
        UpdateChat      patch  /chats/{chatId}
        ListMembers     get    /chats/{chatId}/members
        AddMembers      post   /chats/{chatId}/members
        RemoveMember    delete /chats/{chatId}/members/{userId}
        LeaveChat       post   /chats/{chatId}/leave
        SetRole         put    /chats/{chatId}/members/{userId}/role
        SendMessage     post   /chats/{chatId}/messages
        GetHistory      get    /chats/{chatId}/messages
        GetMessage      get    /chats/{chatId}/messages/{messageId}
        EditMessage     patch  /chats/{chatId}/messages/{messageId}
        DeleteMessage   delete /chats/{chatId}/messages/{messageId}
        MarkRead        put    /chats/{chatId}/read
        MarkDelivered   put    /chats/{chatId}/delivered
        SetMute         put    /chats/{chatId}/mute
        SetNotifications put   /chats/{chatId}/notifications
        SetRetention    put    /chats/{chatId}/retention
        SetTyping       post   /chats/{chatId}/typing
        GetPresence     post   /presence/query
        Sync            post   /sync
        AskToUnsubscribe get   /unsubscribe
        Unsubscribe     post   /unsubscribe
        Live            get    /health/live
        Ready           get    /health/ready
    ";
    let contract: BTreeSet<Vec<&str>> =
        contract.trim().lines().map(|line| line.split_whitespace().collect()).collect();
    let document = document();
    let described: BTreeSet<Vec<&str>> =
        operations(&document).iter().map(|&(name, method, path, _)| vec![name, method, path]).collect();
    assert_eq!(described, contract);
}

#[test]
fn what_is_referred_to_is_there() {
    fn references<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|field| references(field, found));
            }
            _ => {}
        }
    }
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 30);
    for reference in &found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    for (name, _) in document["components"]["schemas"].as_object().unwrap() {
        assert!(found.contains(format!("#/components/schemas/{name}").as_str()), "{name} is not used");
    }
}

#[test]
fn operations_are_whole() {
    let document = document();
    let tags: BTreeSet<&str> =
        document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    for (name, method, path, operation) in operations(&document) {
        let summary = operation["summary"].as_str().unwrap_or_default();
        assert!((3..150).contains(&summary.len()) && !summary.contains('\n'), "{name}: {summary}");
        assert!(tags.contains(operation["tags"][0].as_str().unwrap()), "{name}");

        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let in_path: BTreeSet<String> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| format!("{{{}}}", parameter["name"].as_str().unwrap()))
            .collect();
        let wanted = path.split('/').filter(|segment| segment.starts_with('{')).map(str::to_owned).collect();
        assert_eq!(in_path, wanted, "{name}");
        for parameter in &parameters {
            assert!(
                parameter["schema"].is_object() && parameter["description"].is_string(),
                "{name}: {parameter}"
            );
            assert!(!parameter["schema"].to_string().contains("null"), "{name}: {parameter}");
        }
        assert!(
            method == "get"
                || path == "/unsubscribe"
                || !parameters.iter().any(|parameter| parameter["in"] == "query"),
            "{name}"
        );
        assert!(method != "get" || operation.get("requestBody").is_none(), "{name}");

        let statuses: Vec<&String> = operation["responses"].as_object().unwrap().keys().collect();
        assert!(statuses.iter().any(|status| status.starts_with('2')), "{name}");
        assert!(path.starts_with("/health") || statuses.iter().any(|status| *status == "429"), "{name}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let is_download = path == "/users/me/export";
            let kind = if is_download { "zip" } else { "json" };
            let schema = response.pointer(&format!("/content/application~1{kind}/schema"));
            if status.starts_with('2') && !path.starts_with("/health") && path != "/unsubscribe" {
                let has_content = !["202", "204"].contains(&&**status);
                assert_eq!(schema.is_some_and(Value::is_object), has_content, "{name}: {response}");
            }
        }
    }
}

#[test]
fn only_registering_logging_in_links_in_mails_and_health_need_no_session() {
    let document = document();
    let open: Vec<&str> = operations(&document)
        .iter()
        .filter(|(_, _, _, operation)| operation["security"] == json!([]))
        .map(|&(name, ..)| name)
        .collect();
    let of_links = ["ConfirmEmail", "RequestPasswordReset", "ResetPassword"];
    let (links, others): (Vec<&str>, Vec<&str>) = open.into_iter().partition(|name| of_links.contains(name));
    assert_eq!(links, of_links);
    assert_eq!(others, ["LogIn", "RegisterUser", "Live", "Ready", "AskToUnsubscribe", "Unsubscribe"]);
    assert_eq!(document["security"], json!([{"sessionToken": []}]));
    assert_eq!(document["components"]["securitySchemes"]["sessionToken"]["scheme"], "bearer");
}

/// The codes of problems, by operation.
fn codes(document: &Value, name: &str) -> Vec<String> {
    let operations = operations(document);
    let (.., operation) = operations.iter().find(|(other, ..)| *other == name).unwrap();
    let responses = operation["responses"].as_object().unwrap().iter();
    let problems = responses.filter(|(status, _)| !status.starts_with('2'));
    let texts: Vec<&str> = problems.map(|(_, response)| response["description"].as_str().unwrap()).collect();
    texts
        .join(" ")
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| *word != "errors")
        .map(str::to_owned)
        .collect()
}

#[test]
fn an_operation_has_the_errors_that_its_command_declares() {
    let document = document();
    let of_all = [
        "malformed",
        "unauthenticated",
        "tooSlow",
        "tooLarge",
        "invalid",
        "rateLimited",
        "internal",
        "unavailable",
    ];
    assert_eq!(codes(&document, "ListChats"), of_all);
    let sync = codes(&document, "Sync");
    assert!(sync.iter().any(|code| code == "unsupportedMediaType"), "{sync:?}");
    assert!(!sync.iter().any(|code| code == "conflict" || code == "notFound"), "{sync:?}");
    assert!(codes(&document, "LogOut").iter().any(|code| code == "forbidden"));
    assert!(codes(&document, "SendMessage").iter().any(|code| code == "clientIdReused"));
    let log_in = codes(&document, "LogIn");
    assert!(log_in.iter().any(|code| code == "invalidCredentials"), "{log_in:?}");
    assert!(!log_in.iter().any(|code| code == "unauthenticated"), "{log_in:?}");
}

#[tokio::test]
async fn bounds_are_those_of_the_service() {
    use messenger_core::{Limits, Messenger, memory::MemoryStore};
    let limits = Limits { body: 2..=500, members: 10, presence_users: 7, ..Limits::default() };
    let messenger = Messenger::builder(std::sync::Arc::new(MemoryStore::new())).limits(limits.clone());
    let api = Api::of(messenger.build().unwrap(), messenger_axum::Options::new());
    let served = api.get("/openapi.json", "").await.is(200);
    assert_eq!(served, serde_json::from_slice::<Value>(&messenger_axum::openapi(&limits)).unwrap());
    let field = |operation: &str, field: &str| {
        served["components"]["schemas"][operation]["properties"][field].clone()
    };
    let body = field("SendMessage", "body");
    assert_eq!((&body["minLength"], &body["maxLength"]), (&json!(2), &json!(500)));
    assert_eq!(field("CreateGroupChat", "memberIds")["maxItems"], 9);
    assert_eq!(field("AddMembers", "userIds")["maxItems"], 10);
    assert_eq!(field("GetPresence", "userIds")["maxItems"], 7);
    assert_eq!(field("SendMessage", "clientId")["pattern"], "^[!-~]+$");
    // Whatever is sent is only compared with what is stored.
    assert!(field("LogIn", "password").get("minLength").is_none());
    assert_eq!(field("ChangePassword", "new")["minLength"], 8);
}

#[test]
fn a_service_in_which_nobody_may_be_a_member_is_described_all_the_same() {
    let limits = messenger_core::Limits { members: 0, ..Default::default() };
    let document: Value = serde_json::from_slice(&messenger_axum::openapi(&limits)).unwrap();
    assert_eq!(
        document["components"]["schemas"]["CreateGroupChat"]["properties"]["memberIds"]["maxItems"],
        0
    );
}

#[test]
fn what_is_absent_from_an_answer_is_not_null() {
    let document = document();
    let message = &document["components"]["schemas"]["Message"]["properties"];
    for field in ["body", "clientId", "replyTo", "editedAt", "deletedAt", "system"] {
        assert!(!message[field].to_string().contains("null"), "{field}: {}", message[field]);
    }
    let code = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    assert!(code.as_array().unwrap().contains(&json!("clientIdReused")), "{code}");
}

#[test]
fn some_of_it_in_full() {
    let document = document();
    let mut parts = BTreeMap::new();
    for pointer in [
        "/paths/~1chats~1{chatId}~1messages/get",
        "/paths/~1chats~1{chatId}~1messages/post",
        "/components/schemas/SendMessage",
        "/components/schemas/UserPage",
        "/components/schemas/Problem",
    ] {
        parts.insert(pointer, document.pointer(pointer).unwrap());
    }
    insta::assert_json_snapshot!(parts);
}

#[tokio::test]
async fn it_is_served() {
    let reply = Api::new().get("/openapi.json", "").await;
    assert_eq!(reply.is(200), document());
}

#[tokio::test]
async fn it_is_not_served_if_the_host_does_not_want_that() {
    let api = Api::with(messenger_axum::Options::new().docs(false));
    for path in ["/openapi.json", "/docs", "/docs/page.js"] {
        api.get(path, "").await.is_problem(404, "notFound");
    }
}

#[cfg(feature = "docs")]
#[tokio::test]
async fn the_page_has_all_it_loads() {
    let api = Api::new();
    let page = api.get("/docs", "").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; script-src 'self';"));
    let html = String::from_utf8(page.bytes).unwrap();
    let links: Vec<&str> =
        html.split(['"']).skip(1).step_by(2).filter(|text| text.starts_with("docs/")).collect();
    assert_eq!(links.len(), 4);
    assert!(!html.contains("//"), "something is loaded from elsewhere");
    for link in links {
        let file = api.get(&format!("/{link}"), "").await;
        assert_eq!(file.status, 200, "{link}");
        assert!(file.bytes.len() > 100, "{link}");
    }
    assert_eq!(api.get("/docs/", "").await.header("location"), "../docs");
    for other in ["/docs/index.html", "/docs/..%2fopenapi.json", "/docs/swagger-ui.js"] {
        api.get(other, "").await.is_problem(404, "notFound");
    }
}
