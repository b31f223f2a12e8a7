//! The headers in which requests say where they come from.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use towline::origins::{Origin, OriginPattern};
use towline::peers::{ForwardedHeader, Networks, TrustedProxies};

/// An origin, read and compared as the URL standard does it.
pub fn origin(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(origin) = Origin::parse(text) else { return };
    let shown = origin.to_string();
    assert_eq!(Origin::parse(&shown).as_ref(), Ok(&origin), "{shown} is not what was read");
    let Ok(browser) = url::Url::parse(text) else {
        // The rules of Punycode are not looked at: such a name comes from no browser, and equals nothing else.
        return assert!(shown.contains("xn--"), "{text:?} is no URL");
    };
    if matches!(browser.scheme(), "http" | "https") {
        assert_eq!(browser.origin().ascii_serialization(), shown, "a browser reads {text:?} otherwise");
    }
    let wildcard = OriginPattern::parse("https://*.example.com").expect("a pattern");
    if wildcard.matches(&origin) {
        let label = browser.host_str().and_then(|host| host.strip_suffix(".example.com"));
        assert!(label.is_some_and(|label| !label.is_empty() && !label.contains('.')), "{text:?} is not below example.com");
        assert_eq!((browser.scheme(), browser.port()), ("https", None));
    }
}

/// What an operator writes.
pub fn origin_pattern(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(pattern) = OriginPattern::parse(text) else { return };
    for stranger in ["https://evil.test", "http://127.0.0.1", "https://com", "https://a.b.evil.test"] {
        let origin = Origin::parse(stranger).expect("an origin");
        let meant = text.trim().to_ascii_lowercase();
        let host = stranger.rsplit('/').next().unwrap_or_default();
        let above = host.split_once('.').map_or(host, |(_, above)| above);
        assert!(!pattern.matches(&origin) || meant.contains(host) || meant.contains(above), "{text:?} lets {stranger} in");
    }
}

/// Lines of a header that a proxy may have written: the first byte says which. Whatever stands in front of what the last proxy wrote
/// changes nothing.
pub fn forwarded(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let (header, name) = match kind & 1 {
        0 => (ForwardedHeader::XForwardedFor, "x-forwarded-for"),
        _ => (ForwardedHeader::Forwarded, "forwarded"),
    };
    let networks: Networks = "10.0.0.0/8".parse().expect("a network");
    let proxies = TrustedProxies::new(networks, header);
    let (proxy, stranger, client) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([192, 0, 2, 1]), IpAddr::from([198, 51, 100, 7]));
    let headers = |lines: &[&[u8]]| -> HeaderMap {
        let values = lines.iter().filter_map(|line| HeaderValue::from_bytes(line).ok());
        values.map(|value| (HeaderName::from_static(name), value)).collect()
    };
    let lines: Vec<&[u8]> = rest.split(|byte| *byte == b'\n').take(100).collect();
    let said = headers(&lines);
    assert_eq!(proxies.client_address(stranger, &said), stranger);
    let _whoever = proxies.client_address(proxy, &said);
    let appended: &[u8] = if *kind & 1 == 0 { b"198.51.100.7" } else { b"for=198.51.100.7;proto=https" };
    // As a line of its own, and behind what the client sent.
    let mut separate = lines.clone();
    separate.push(appended);
    assert_eq!(proxies.client_address(proxy, &headers(&separate)), client);
    if let Some(last) = lines.last() {
        let joined = [last, &b", "[..], appended].concat();
        if HeaderValue::from_bytes(&joined).is_ok() {
            assert_eq!(proxies.client_address(proxy, &headers(&[&joined])), client);
        }
    }
}
