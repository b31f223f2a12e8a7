//! An origin: scheme, host and port (RFC 6454, and <https://html.spec.whatwg.org/#origin>).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Where a page comes from, in one spelling: lower case, no default port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub(super) scheme: Box<str>,
    pub(super) host: Host,
    pub(super) port: Option<u16>,
}

/// Whom an origin names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// A name in ASCII: labels of letters, digits, `-` and `_`, without a dot at the end.
    Name(Box<str>),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

/// Why a text is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnOrigin {
    /// `null`: a page in a sandbox, in a file, or one that hides where it comes from.
    #[error("`null` names no page: sandboxed frames, files and redirects all call themselves that")]
    Null,
    /// No `://`.
    #[error("it must begin with a scheme, as in https://app.example.com")]
    NoScheme,
    /// The scheme has other characters.
    #[error("its scheme may have letters, digits, `+`, `-` and `.` only")]
    BadScheme,
    /// There is an `@`.
    #[error("it must not have a user or password")]
    User,
    /// Something follows the host.
    #[error("it is scheme, host and port only: leave out the path, also a `/` at the end")]
    Path,
    /// The port is no number from 1 to 65535.
    #[error("its port must be a number from 1 to 65535")]
    BadPort,
    /// Letters beyond ASCII.
    #[error("its host must be written in ASCII, as browsers send it (xn--…)")]
    NotAscii,
    /// No name and no address.
    #[error("its host is neither a name nor an address; a name has no dot at the end and no empty part")]
    BadHost,
}

/// The longest host name (RFC 1035 section 2.3.4) and label.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

impl Origin {
    /// Reads an origin as a browser sends it. Upper case and a default port are read as what they mean.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, NotAnOrigin> {
        let (scheme, host, port) = split(text)?;
        let host = Host::parse(host)?;
        let port = port.filter(|port| default_port(&scheme) != Some(*port));
        Ok(Self { scheme, host, port })
    }

    /// Whether it is a page that this machine serves to itself.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let local = match &self.host {
            Host::Name(name) => &**name == "localhost" || name.ends_with(".localhost"),
            Host::V4(address) => address.is_loopback(),
            Host::V6(address) => address.is_loopback(),
        };
        local && matches!(&*self.scheme, "http" | "https")
    }

    /// Whether what the page loads can be read and changed on its way: not HTTPS, and not on this machine.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        &*self.scheme == "http" && !self.is_local()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        match &self.host {
            Host::Name(name) => write!(f, "{name}")?,
            Host::V4(address) => write!(f, "{address}")?,
            Host::V6(address) => write!(f, "[{address}]")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Takes scheme, host and port apart. The host is not looked at yet.
pub(super) fn split(text: &str) -> Result<(Box<str>, &str, Option<u16>), NotAnOrigin> {
    if text.trim() == "null" {
        return Err(NotAnOrigin::Null);
    }
    if !text.is_ascii() {
        return Err(NotAnOrigin::NotAscii);
    }
    let (scheme, authority) = text.split_once("://").ok_or(NotAnOrigin::NoScheme)?;
    let mut letters = scheme.bytes();
    let begins_well = letters.next().is_some_and(|byte| byte.is_ascii_alphabetic());
    if !begins_well || !letters.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')) {
        return Err(NotAnOrigin::BadScheme);
    }
    if authority.contains('@') {
        return Err(NotAnOrigin::User);
    }
    if authority.contains(['/', '?', '#', '\\']) {
        return Err(NotAnOrigin::Path);
    }
    // An IPv6 address has colons of its own, within its brackets.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port_number(port)?)),
        _ => (authority, None),
    };
    Ok((scheme.to_ascii_lowercase().into(), host, port))
}

fn port_number(text: &str) -> Result<u16, NotAnOrigin> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0).ok_or(NotAnOrigin::BadPort)
}

pub(super) fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

impl Host {
    pub(super) fn parse(text: &str) -> Result<Self, NotAnOrigin> {
        if let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            return address.parse().map(Self::V6).map_err(|_| NotAnOrigin::BadHost);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::V4(address));
        }
        let labels_are_good = text.split('.').all(|label| {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(good)
        });
        // What ends in a number is an address to a browser: `0x7f.1` or `127.1` never come from one, and would be 127.0.0.1 to it.
        let last = text.rsplit('.').next().unwrap_or_default();
        let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
        let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
            || hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if !labels_are_good || is_number || text.len() > NAME_BYTES_MAX {
            return Err(NotAnOrigin::BadHost);
        }
        Ok(Self::Name(text.to_ascii_lowercase().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_origin_has_one_spelling() {
        for (text, canonical) in [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.Example.COM", "https://app.example.com"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("https://app.example.com:00443", "https://app.example.com"),
            ("http://app.example.com:80", "http://app.example.com"),
            ("http://app.example.com:443", "http://app.example.com:443"),
            ("https://app.example.com:8443", "https://app.example.com:8443"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("http://[0:0:0:0:0:0:0:1]", "http://[::1]"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
        ] {
            let origin = Origin::parse(text).unwrap();
            assert_eq!(origin.to_string(), canonical);
            assert_eq!(Origin::parse(canonical), Ok(origin));
        }
    }

    // proves: C5
    #[test]
    fn what_is_no_origin_says_why() {
        use NotAnOrigin::{BadHost, BadPort, BadScheme, NoScheme, NotAscii, Null, Path, User};
        for (text, why) in [
            ("null", Null),
            (" null ", Null),
            ("", NoScheme),
            ("example.com", NoScheme),
            ("//example.com", NoScheme),
            ("https:/example.com", NoScheme),
            ("*", NoScheme),
            ("://example.com", BadScheme),
            ("ht tp://example.com", BadScheme),
            ("1http://example.com", BadScheme),
            ("https://user@example.com", User),
            ("https://example.com@evil.example", User),
            ("https://example.com:x@evil.example", User),
            ("https://example.com/", Path),
            ("https://example.com/path", Path),
            ("https://example.com\\evil.example", Path),
            ("https://example.com?x", Path),
            ("https://example.com#x", Path),
            ("https://example.com:0", BadPort),
            ("https://example.com:65536", BadPort),
            ("https://example.com:", BadPort),
            ("https://example.com:+80", BadPort),
            ("https://example.com:80:80", BadHost),
            ("https://bücher.example", NotAscii),
            ("https://ехample.com", NotAscii),
            ("https://example.com.", BadHost),
            ("https://.example.com", BadHost),
            ("https://example..com", BadHost),
            ("https://", BadHost),
            ("https://:443", BadHost),
            ("file://", BadHost),
            ("https://exa mple.com", BadHost),
            ("https://a.com, https://b.com", Path),
            ("https://a.com https", BadHost),
            ("https://*.example.com", BadHost),
            ("https://example.com%2eevil.example", BadHost),
            ("https://[::1", BadHost),
            ("https://::1", BadHost),
            ("https://[example.com]", BadHost),
            ("https://127.1", BadHost),
            ("https://2130706433", BadHost),
            ("https://0x7f.1", BadHost),
            ("https://x.0x7f", BadHost),
            ("https://256.1.1.1", BadHost),
            ("https://a\tb", BadHost),
            ("https://a\0b", BadHost),
        ] {
            assert_eq!(Origin::parse(text), Err(why), "{text}");
        }
        assert_eq!(Origin::parse(&format!("https://{}.com", "a".repeat(64))), Err(BadHost));
        assert_eq!(Origin::parse(&format!("https://{}com", "a.".repeat(126))), Err(BadHost));
    }

    #[test]
    fn local_is_this_machine() {
        for text in ["http://localhost:3000", "https://app.localhost", "http://127.9.9.9", "http://[::1]:1"] {
            assert!(Origin::parse(text).unwrap().is_local(), "{text}");
        }
        for text in
            ["http://localhost.evil.example", "http://evil-localhost", "http://10.0.0.1", "http://[::2]", "capacitor://localhost"]
        {
            assert!(!Origin::parse(text).unwrap().is_local(), "{text}");
        }
    }
}
