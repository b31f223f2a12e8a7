//! The negotiation of permessage-deflate (RFC 7692 section 7.1) as a function of a request's `Sec-WebSocket-Extensions`.

use http::header::SEC_WEBSOCKET_EXTENSIONS;
use http::{HeaderMap, HeaderValue};

use crate::deflate::Window;
use crate::handshake::{HandshakeError, is_token_byte};

/// What was agreed upon: each side compresses every message by itself, and the server refers back no further than the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deflate {
    /// For [`deflate`](crate::deflate()).
    pub window: Window,
    /// The client asked for a bound of the window, so the answer has to name one.
    bound: bool,
}

impl Deflate {
    /// The value of `Sec-WebSocket-Extensions` in the answer.
    #[must_use]
    pub fn answer(self) -> HeaderValue {
        HeaderValue::from_static(match (self.bound, self.window) {
            (false, _) => "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            (true, Window::Full) => {
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15"
            }
            (true, Window::Small) => {
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9"
            }
        })
    }
}

/// Chooses the first offer of permessage-deflate that can be met; `None` if there is none. Other extensions, and offers with parameters that
/// are unknown, repeated or out of range, are passed over, as section 7.1 demands.
///
/// # Errors
/// The header does not keep to the grammar of RFC 6455 section 9.1: the handshake must fail.
pub fn negotiate(headers: &HeaderMap) -> Result<Option<Deflate>, HandshakeError> {
    let mut chosen = None;
    for value in headers.get_all(SEC_WEBSOCKET_EXTENSIONS) {
        let value = value.to_str().map_err(|_| HandshakeError::Extensions)?;
        // Items may be empty (RFC 9110 section 5.6.1.2). No value of a known parameter holds a comma or semicolon, not even in quotes.
        for offer in value.split(',').map(blank_trimmed).filter(|offer| !offer.is_empty()) {
            let mut parts = offer.split(';').map(blank_trimmed);
            let name = parts.next().filter(|name| is_token(name)).ok_or(HandshakeError::Extensions)?;
            let parameters = parts.map(parameter).collect::<Result<Vec<_>, _>>()?;
            if chosen.is_none() && name.eq_ignore_ascii_case("permessage-deflate") {
                chosen = acceptable(&parameters);
            }
        }
    }
    Ok(chosen)
}

/// An offer as this server meets it. `server_no_context_takeover` and `client_no_context_takeover` ask for what is done anyway, and
/// `client_max_window_bits` allows to ask for less than is needed.
fn acceptable(parameters: &[(&str, Option<&str>)]) -> Option<Deflate> {
    let mut agreed = Deflate { window: Window::Full, bound: false };
    for (at, (name, value)) in parameters.iter().enumerate() {
        if parameters[..at].iter().any(|(before, _)| before == name) {
            return None;
        }
        match (*name, value) {
            ("server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits", None) => {}
            ("client_max_window_bits", Some(bits)) => {
                window_bits(bits)?;
            }
            ("server_max_window_bits", Some(bits)) => {
                agreed.bound = true;
                agreed.window = match window_bits(bits)? {
                    15 => Window::Full,
                    9..15 => Window::Small,
                    // 256 bytes are less than the compressor can do with.
                    _ => return None,
                };
            }
            _ => return None,
        }
    }
    Some(agreed)
}

/// 8 to 15, without leading zeros (section 7.1.2).
fn window_bits(text: &str) -> Option<u8> {
    let bits = text.parse().ok()?;
    ((8..=15).contains(&bits) && !text.starts_with(['0', '+'])).then_some(bits)
}

/// A parameter's name and value. A value in quotes must be a token all the same (RFC 6455 section 9.1).
fn parameter(text: &str) -> Result<(&str, Option<&str>), HandshakeError> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (blank_trimmed(name), Some(unquoted(blank_trimmed(value)))),
        None => (text, None),
    };
    let sound = is_token(name) && value.is_none_or(is_token);
    if sound { Ok((name, value)) } else { Err(HandshakeError::Extensions) }
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

fn blank_trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(offers: &[&str]) -> Result<Option<String>, HandshakeError> {
        let mut headers = HeaderMap::new();
        for offer in offers {
            headers.append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_str(offer).unwrap());
        }
        Ok(negotiate(&headers)?.map(|agreed| agreed.answer().to_str().unwrap().to_owned()))
    }

    const BOTH: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    #[test]
    fn the_first_offer_that_can_be_met_is_answered() {
        let bound = |bits: u8| format!("{BOTH}; server_max_window_bits={bits}");
        for (offers, expected) in [
            (&["permessage-deflate"][..], BOTH.to_owned()),
            // What browsers send.
            (&["permessage-deflate; client_max_window_bits"], BOTH.to_owned()),
            (&["Permessage-Deflate;client_no_context_takeover ; server_no_context_takeover"], BOTH.to_owned()),
            (&["permessage-deflate; client_max_window_bits=8"], BOTH.to_owned()),
            (&["permessage-deflate; client_max_window_bits=\"15\""], BOTH.to_owned()),
            (&["permessage-deflate; server_max_window_bits=15"], bound(15)),
            (&["permessage-deflate; server_max_window_bits=14"], bound(9)),
            (&["permessage-deflate; server_max_window_bits=9; client_max_window_bits"], bound(9)),
            (&["permessage-deflate; server_max_window_bits=8, permessage-deflate"], BOTH.to_owned()),
            (&["x-webkit-deflate-frame, , permessage-bzip2; level=9", "permessage-deflate"], BOTH.to_owned()),
        ] {
            assert_eq!(answer(offers), Ok(Some(expected)), "{offers:?}");
        }
    }

    #[test]
    fn offers_that_cannot_be_met_are_passed_over() {
        for offer in [
            "",
            "deflate-frame",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=010",
            "permessage-deflate; server_max_window_bits=+9",
            "permessage-deflate; server_max_window_bits=nine",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; client_max_window_bits=9; client_max_window_bits=9",
            "permessage-deflate; turbo",
        ] {
            assert_eq!(answer(&[offer]), Ok(None), "{offer}");
        }
    }

    #[test]
    fn what_breaks_the_grammar_fails_the_handshake() {
        for offer in [
            "permessage deflate",
            "permessage-deflate;",
            "permessage-deflate; =9",
            "permessage-deflate; server_max_window_bits=",
            "permessage-deflate; server_max_window_bits=\"9",
            "permessage-deflate; server_max_window_bits=1 5",
            "permessage-deflate, (x)",
        ] {
            assert_eq!(answer(&[offer]), Err(HandshakeError::Extensions), "{offer}");
        }
    }
}
