//! The headers in which proxies name their clients, read from the right.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

use crate::config::Value;

/// Which header the trusted proxies write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For: client, proxy`, which almost all proxies write.
    #[default]
    XForwardedFor,
    /// `Forwarded: for=client, for=proxy` (RFC 7239).
    Forwarded,
}

impl ForwardedHeader {
    /// Its addresses, the last one first; `None` for an entry that names none.
    pub(super) fn backwards(self, headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
        let name = match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        };
        headers.get_all(name).iter().rev().flat_map(move |line| {
            let bytes = line.as_bytes();
            let mut rest = Some(bytes);
            std::iter::from_fn(move || {
                let (before, entry) = last_entry(rest?, self == Self::Forwarded);
                rest = before;
                Some(entry)
            })
            .filter(|entry| !entry.is_empty())
            .map(move |entry| {
                let entry = std::str::from_utf8(entry).ok()?;
                match self {
                    Self::XForwardedFor => address(entry),
                    Self::Forwarded => for_parameter(entry).and_then(address),
                }
            })
        })
    }
}

impl Value for ForwardedHeader {
    const EXPECTED: &'static str = "x-forwarded-for or forwarded";

    fn read(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "x-forwarded-for" => Some(Self::XForwardedFor),
            "forwarded" => Some(Self::Forwarded),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
        .to_owned()
    }
}

/// The last entry of a list separated by commas, without its white space, and what is before it. A comma between quotes separates
/// nothing where `quotes` have a meaning; they are counted from the right as well, because on the left may stand anything.
fn last_entry(list: &[u8], quotes: bool) -> (Option<&[u8]>, &[u8]) {
    let mut quoted = false;
    let comma = list.iter().rposition(|byte| {
        quoted ^= quotes && *byte == b'"';
        *byte == b',' && !quoted
    });
    match comma {
        Some(at) => (Some(&list[..at]), list[at + 1..].trim_ascii()),
        None => (None, list.trim_ascii()),
    }
}

/// The value of `for` in an element of `Forwarded`, without its quotes. `None` if it is not there exactly once.
fn for_parameter(element: &str) -> Option<&str> {
    let mut found = None;
    for pair in element.split(';') {
        let (name, value) = pair.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("for") && found.replace(value.trim()).is_some() {
            return None;
        }
    }
    let value = found?;
    match value.strip_prefix('"') {
        Some(value) => value.strip_suffix('"'),
        None => Some(value),
    }
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}
