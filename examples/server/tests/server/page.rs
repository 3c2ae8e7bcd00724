use crate::support::Server;

#[test]
fn the_page_and_what_it_loads_are_served_under_a_strict_policy() {
    let server = Server::in_memory([]);
    let page = server.get("/");
    assert_eq!(page.status(), 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");

    let html = page.text();
    let loaded: Vec<_> = html.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert!(!loaded.is_empty(), "{html}");
    for path in loaded {
        let asset = server.get(path);
        assert_eq!(asset.status(), 200, "{path}");
        assert_eq!(asset.header("x-content-type-options"), Some("nosniff"), "{path}");
        let kind = asset.header("content-type").unwrap();
        match path.rsplit('.').next() {
            Some("js") => assert_eq!(kind, "text/javascript; charset=utf-8"),
            Some("css") => assert_eq!(kind, "text/css; charset=utf-8"),
            Some("svg") => assert_eq!(kind, "image/svg+xml"),
            _ => {}
        }
    }
}

#[test]
fn what_a_browser_has_already_is_not_sent_again() {
    let server = Server::in_memory([]);
    let etag = server.get("/").header("etag").unwrap().to_owned();
    for known in [etag.clone(), format!("\"other\", {etag}"), "*".to_owned()] {
        let mut client = server.connect();
        client.send(&format!("GET / HTTP/1.1\r\nHost: test\r\nIf-None-Match: {known}\r\n\r\n"));
        let answer = client.answer();
        assert_eq!((answer.status(), answer.header("etag")), (304, Some(etag.as_str())), "{known}");
    }
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: test\r\nIf-None-Match: \"other\"\r\n\r\n");
    assert_eq!(client.answer().status(), 200);
}

#[test]
fn other_paths_are_not_found() {
    let server = Server::in_memory([]);
    for path in
        ["/nothing", "/assets/nothing.js", "/assets/../Cargo.toml", "/assets/%2e%2e/Cargo.toml", "/assets/"]
    {
        assert_eq!(server.get(path).status(), 404, "{path}");
    }
}

#[test]
fn pages_of_links_in_mails_tell_nobody_where_they_were_opened() {
    let server = Server::in_memory([]);
    for path in ["/api/v1/reset-password?token=AQEB", "/api/v1/confirm-email?token=AQEB"] {
        let page = server.get(path);
        assert_eq!(
            (page.status(), page.header("content-type")),
            (200, Some("text/html; charset=utf-8")),
            "{path}"
        );
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
        let html = page.text();
        assert!(!html.contains("AQEB"), "{html}");
        for path in html.split('"').filter(|part| part.starts_with("/assets/")) {
            assert_eq!(server.get(path).status(), 200, "{path}");
        }
    }
    assert_eq!(server.get("/api/v1/nothing").status(), 404);
    assert_eq!(server.get("/config.json").text(), r#"{"mail":false}"#);
}
