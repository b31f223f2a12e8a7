//! The headers of a WebSocket handshake.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use towline_websocket::handshake::{HandshakeError, PROTOCOLS_MAX, accept, accept_key};

/// Lines of `name: value`, as many as can be headers. A first line that starts with a `!` makes the request a POST.
pub fn headers(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(100) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let method = if data.starts_with(b"!") { Method::POST } else { Method::GET };
    match accept(&method, Version::HTTP_11, &headers) {
        Ok(upgrade) => {
            assert_eq!((upgrade.key.len(), accept_key(upgrade.key).len()), (24, 28));
            assert!(upgrade.protocols.len() <= PROTOCOLS_MAX);
            for (index, protocol) in upgrade.protocols.iter().enumerate() {
                // What is accepted may be sent back in a header as it is.
                assert!(!protocol.is_empty() && HeaderValue::from_str(protocol).is_ok());
                assert!(!upgrade.protocols[..index].contains(protocol));
            }
        }
        Err(error) => {
            assert!(matches!(error.status().as_u16(), 400 | 405 | 426));
            if !headers.contains_key("upgrade") && !headers.contains_key("connection") && method == Method::GET {
                assert_eq!(error, HandshakeError::NotAnUpgrade);
            }
        }
    }
}
