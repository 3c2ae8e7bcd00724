use serde_json::Value;

use crate::support::Server;

/// A route, as the OpenAPI document has it.
pub(super) struct Route {
    pub(super) name: String,
    pub(super) method: String,
    pub(super) path: String,
}

/// All there are, by the documents of the API.
pub(super) struct Operations {
    routes: Vec<Route>,
    methods: Vec<String>,
}

impl Operations {
    pub(super) fn of(server: &Server) -> Self {
        let openapi = server.get("/api/v1/openapi.json").json();
        let asyncapi: Value =
            serde_saphyr::from_str(include_str!("../../../../../docs/asyncapi.yaml")).unwrap();
        let sent = asyncapi["operations"].as_object().unwrap().iter();
        let methods =
            sent.filter(|(_, operation)| operation["action"] == "receive").map(|(name, _)| name.clone());
        let operations = Self { routes: routes(&openapi), methods: methods.collect() };
        assert!(operations.routes.len() > 30 && operations.methods.len() > 30);
        operations
    }

    /// Those of REST.
    pub(super) fn of_rest(&self) -> Vec<&str> {
        self.routes.iter().map(|route| route.name.as_str()).collect()
    }

    /// Those of sockets.
    pub(super) fn of_sockets(&self) -> Vec<&str> {
        self.methods.iter().map(String::as_str).collect()
    }

    pub(super) fn route(&self, name: &str) -> Option<&Route> {
        self.routes.iter().find(|route| route.name == name)
    }
}

fn routes(openapi: &Value) -> Vec<Route> {
    let mut routes = Vec::new();
    for (path, methods) in openapi["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap().to_owned();
            routes.push(Route { name, method: method.to_uppercase(), path: path.clone() });
        }
    }
    routes
}

impl Route {
    /// The path for these fields, and those of them that are not in it.
    pub(super) fn filled(&self, fields: &Value) -> (String, Value) {
        let mut rest = fields.as_object().cloned().unwrap_or_default();
        let mut place =
            |segment: &str| match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some(name) => escaped(&rest.remove(name).unwrap_or_default()),
                None => segment.to_owned(),
            };
        let path: Vec<_> = self.path.split('/').map(&mut place).collect();
        let mut path = path.join("/");
        let is_in_query = self.method == "GET" || self.path == "/unsubscribe";
        if is_in_query && !rest.is_empty() {
            let pairs = std::mem::take(&mut rest).into_iter();
            let pairs: Vec<_> =
                pairs.map(|(name, value)| format!("{}={}", escaped(&name.into()), escaped(&value))).collect();
            path = format!("{path}?{}", pairs.join("&"));
        }
        (path, Value::Object(rest))
    }
}

/// In an address, whatever it is.
fn escaped(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}
