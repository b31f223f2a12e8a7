//! The opening handshake as a table: a good request, and what one change makes of it.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use towline_websocket::handshake::{HandshakeError as E, PROTOCOLS_MAX, accept, accept_key};

type Headers<'a> = &'a [(&'a str, &'a str)];

const GOOD: Headers = &[
    ("host", "example.com"),
    ("connection", "keep-alive, Upgrade"),
    ("upgrade", "WebSocket"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-version", "13"),
];

/// The good request with `changes`: each replaces the header of its name, an empty value removes it, and a name with `+` adds one more.
fn headers(changes: Headers) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in GOOD.iter().chain(changes) {
        let added = name.strip_prefix('+');
        let name: HeaderName = added.unwrap_or(name).parse().expect("a header name");
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
        if value.is_empty() {
            headers.remove(name);
        } else if added.is_some() {
            headers.append(name, value);
        } else {
            headers.insert(name, value);
        }
    }
    headers
}

#[test]
fn the_answer_is_that_of_the_rfc() {
    // Section 1.3.
    assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn good_requests_are_accepted() {
    let cases: &[(Headers, &[&str])] = &[
        (&[], &[]),
        (&[("connection", "upgrade")], &[]),
        (&[("connection", "close"), ("+connection", "UPGRADE")], &[]),
        (&[("upgrade", "h2c, websocket")], &[]),
        (&[("content-length", "0")], &[]),
        (&[("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")], &[]),
        (&[("sec-websocket-protocol", "towline.v1")], &["towline.v1"]),
        (&[("sec-websocket-protocol", "b,a ,\tc"), ("+sec-websocket-protocol", "d")], &["b", "a", "c", "d"]),
        (&[("sec-websocket-protocol", ", a, ,b,")], &["a", "b"]),
        (&[("sec-websocket-protocol", "towline.v1, bearer.eyJh_-.e30.x-y_z")], &["towline.v1", "bearer.eyJh_-.e30.x-y_z"]),
    ];
    for (changes, protocols) in cases {
        let headers = headers(changes);
        let upgrade = accept(&Method::GET, Version::HTTP_11, &headers).unwrap_or_else(|e| panic!("{changes:?}: {e}"));
        assert_eq!(upgrade.key, "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(upgrade.protocols, *protocols, "{changes:?}");
    }
}

#[test]
fn bad_requests_are_refused_with_their_reason() {
    let many: Vec<String> = (0..=PROTOCOLS_MAX).map(|i| format!("p{i}")).collect();
    let (many, most) = (many.join(","), many[..PROTOCOLS_MAX].join(","));
    assert!(accept(&Method::GET, Version::HTTP_11, &headers(&[("sec-websocket-protocol", &most)])).is_ok());
    let cases: &[(Headers, E)] = &[
        (&[("connection", ""), ("upgrade", "")], E::NotAnUpgrade),
        (&[("connection", "keep-alive"), ("upgrade", "h2c")], E::NotAnUpgrade),
        (&[("upgrade", "")], E::UpgradeHeader),
        (&[("upgrade", "websockets")], E::UpgradeHeader),
        (&[("connection", "")], E::ConnectionHeader),
        (&[("connection", "keep-alive")], E::ConnectionHeader),
        (&[("host", "")], E::Host),
        (&[("+host", "other.example")], E::Host),
        (&[("content-length", "5")], E::Body),
        (&[("content-length", "0"), ("+content-length", "7")], E::Body),
        (&[("transfer-encoding", "chunked")], E::Body),
        (&[("sec-websocket-version", "")], E::ProtocolVersion),
        (&[("sec-websocket-version", "8")], E::ProtocolVersion),
        (&[("sec-websocket-version", "13, 8")], E::ProtocolVersion),
        (&[("+sec-websocket-version", "13")], E::ProtocolVersion),
        (&[("sec-websocket-key", "")], E::Key),
        (&[("+sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")], E::Key),
        (&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25j")], E::Key),
        (&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZWRl")], E::Key),
        (&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ")], E::Key),
        (&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ==")], E::Key),
        (&[("sec-websocket-key", "*Ghl*HNhbXBsZSBub25jZQ==")], E::Key),
        (&[("sec-websocket-key", "éGhlIHNhbXBsZSBub25jZQ==")], E::Key),
        (&[("sec-websocket-protocol", ",")], E::Protocols),
        (&[("sec-websocket-protocol", "a b")], E::Protocols),
        (&[("sec-websocket-protocol", "a/b")], E::Protocols),
        (&[("sec-websocket-protocol", "a, a")], E::Protocols),
        (&[("sec-websocket-protocol", "é")], E::Protocols),
        (&[("sec-websocket-protocol", &many)], E::TooManyProtocols),
    ];
    for (changes, error) in cases {
        let headers = headers(changes);
        assert_eq!(accept(&Method::GET, Version::HTTP_11, &headers), Err(*error), "{changes:?}");
    }
    assert_eq!(accept(&Method::POST, Version::HTTP_11, &headers(&[])), Err(E::Method));
    assert_eq!(accept(&Method::GET, Version::HTTP_10, &headers(&[])), Err(E::HttpVersion));
    assert_eq!(accept(&Method::GET, Version::HTTP_2, &headers(&[])), Err(E::HttpVersion));
}

#[test]
fn refusals_carry_the_headers_that_their_status_calls_for() {
    assert_eq!(E::Method.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(E::Method.headers()[0].1, "GET");
    for error in [E::NotAnUpgrade, E::ProtocolVersion] {
        assert_eq!(error.status(), StatusCode::UPGRADE_REQUIRED);
        assert!(error.headers().iter().any(|(name, value)| name == "sec-websocket-version" && value == "13"));
        assert!(error.headers().iter().any(|(name, value)| name == "upgrade" && value == "websocket"));
    }
    assert_eq!(E::Key.status(), StatusCode::BAD_REQUEST);
    assert!(E::Key.headers().is_empty());
}

#[test]
fn a_token_among_the_subprotocols_is_not_printed() {
    let headers = headers(&[("sec-websocket-protocol", "towline.v1, bearer.secret")]);
    let upgrade = accept(&Method::GET, Version::HTTP_11, &headers).unwrap();
    assert!(!format!("{upgrade:?}").contains("secret"));
}
