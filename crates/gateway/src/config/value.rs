//! Values as people write them: `30s`, `128KiB`, `on`. Each type reads text, says what it takes, and writes itself back.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use towline_auth::{NameField, Secret};
use towline_log::Durability;

use super::sections::Environment;
use super::sections::logging::LogFormat;
use super::sections::tls::ClientCertificates;

/// A type that a setting may have.
pub trait Value: Sized {
    /// What is taken, to end the sentence "expected …".
    const EXPECTED: &'static str;

    /// Reads it, or `None` if the text is something else.
    fn read(text: &str) -> Option<Self>;

    /// Writes it so that `read` understands it; secrets say only that they are set.
    fn show(&self) -> String;

    /// Reads a list (from a file's array); only lists take one.
    fn read_list(_: &[String]) -> Option<Self> {
        None
    }
}

const DURATION_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const BYTE_UNITS: [(&str, u64); 7] =
    [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("B", 1)];

impl Value for Duration {
    const EXPECTED: &'static str = "a duration with its unit, such as 500ms, 30s, 5m, 12h or 7d";

    fn read(text: &str) -> Option<Self> {
        let (number, unit) = split_unit(text)?;
        let (_, ms) = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?;
        number.checked_mul(*ms).map(Self::from_millis)
    }

    fn show(&self) -> String {
        let ms = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        let (name, unit) = DURATION_UNITS.iter().rev().find(|(_, unit)| ms % unit == 0 && ms >= *unit).unwrap_or(&("s", 1_000));
        format!("{}{name}", ms / unit)
    }
}

/// A number of bytes: `u64`, `usize` and `u32` settings whose key says bytes are read with units too.
pub fn read_number(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    if unit.is_empty() {
        return Some(number);
    }
    let (_, factor) = BYTE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.checked_mul(*factor)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let number = text[..end].replace('_', "").parse().ok()?;
    Some((number, text[end..].trim()))
}

macro_rules! numbers {
    ($($type:ty),+) => {$(
        impl Value for $type {
            const EXPECTED: &'static str = "a whole number; bytes may have a unit, such as 64KiB or 1MiB";

            fn read(text: &str) -> Option<Self> {
                read_number(text).and_then(|number| Self::try_from(number).ok())
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+};
}
numbers!(u32, u64, usize);

impl Value for bool {
    const EXPECTED: &'static str = "true or false";

    fn read(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    const EXPECTED: &'static str = "a text";

    fn read(text: &str) -> Option<Self> {
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Value for Secret {
    const EXPECTED: &'static str = "a secret";

    fn read(text: &str) -> Option<Self> {
        // A secret is taken as it is, but for the line break that files and shells like to add.
        Some(text.trim_end_matches(['\r', '\n'])).filter(|text| !text.is_empty()).map(Self::new)
    }

    fn show(&self) -> String {
        "[redacted]".to_owned()
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn read(text: &str) -> Option<Self> {
        Some(Self::from(text)).filter(|path| !path.as_os_str().is_empty())
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Value for SocketAddr {
    const EXPECTED: &'static str = "an IP address and a port, such as 127.0.0.1:8080 or [::]:8080";

    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        // Two spellings that people expect to work.
        let text = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}")).unwrap_or_else(|| text.to_owned());
        text.strip_prefix(':').map(|port| format!("0.0.0.0:{port}")).unwrap_or(text).parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl<T: Value> Value for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn read(text: &str) -> Option<Self> {
        if text.trim() == "none" { Some(None) } else { T::read(text).map(Some) }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), T::show)
    }
}

impl<T: Value> Value for Vec<T> {
    const EXPECTED: &'static str = "a list, separated by commas";

    fn read(text: &str) -> Option<Self> {
        if text.trim() == "none" {
            return Some(Self::new());
        }
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(T::read).collect()
    }

    fn read_list(texts: &[String]) -> Option<Self> {
        texts.iter().map(|text| T::read(text)).collect()
    }

    fn show(&self) -> String {
        if self.is_empty() { "none".to_owned() } else { self.iter().map(T::show).collect::<Vec<_>>().join(",") }
    }
}

/// An enumeration whose values have one word each.
macro_rules! words {
    ($type:ty, $expected:literal, $($word:literal $(| $other:literal)* = $value:path),+) => {
        impl Value for $type {
            const EXPECTED: &'static str = $expected;

            fn read(text: &str) -> Option<Self> {
                match text.trim().to_ascii_lowercase().as_str() {
                    $($word $(| $other)* => Some($value),)+
                    _ => None,
                }
            }

            fn show(&self) -> String {
                match self { $($value => $word),+ }.to_owned()
            }
        }
    };
}

words!(
    Environment,
    "development, staging or production",
    "development" | "dev" | "local" | "test" = Environment::Development,
    "staging" | "stage" = Environment::Staging,
    "production" | "prod" = Environment::Production
);
words!(
    Durability,
    "fsync, relaxed or memory",
    "fsync" = Durability::Fsync,
    "relaxed" = Durability::Relaxed,
    "memory" = Durability::Memory
);
words!(LogFormat, "auto, json or text", "auto" = LogFormat::Auto, "json" = LogFormat::Json, "text" = LogFormat::Text);
words!(
    ClientCertificates,
    "optional or required",
    "optional" = ClientCertificates::Optional,
    "required" = ClientCertificates::Required
);
words!(
    NameField,
    "none, dns, uri or common_name",
    "none" = NameField::None,
    "dns" = NameField::Dns,
    "uri" = NameField::Uri,
    "common_name" | "cn" = NameField::CommonName
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_bytes_need_no_table_to_be_read() {
        for (text, ms) in [("500ms", 500), ("30s", 30_000), (" 5 m ", 300_000), ("12h", 43_200_000), ("7d", 604_800_000)] {
            assert_eq!(Duration::read(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "30", "s", "-1s", "1.5s", "1w", "99999999999999999d"] {
            assert_eq!(Duration::read(bad), None, "{bad}");
        }
        for (text, bytes) in
            [("0", 0), ("16384", 16_384), ("16 KiB", 16_384), ("1mib", 1 << 20), ("2MB", 2_000_000), ("1_000", 1_000)]
        {
            assert_eq!(u64::read(text), Some(bytes), "{text}");
        }
        for bad in ["", "KiB", "-1", "1.5", "1TB", "99999999999GiB"] {
            assert_eq!(u64::read(bad), None, "{bad}");
        }
        assert_eq!(u32::read("5GiB"), None, "out of range is refused, not wrapped");
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for duration in [0, 1, 999, 1_000, 61_000, 60_000, 3_600_000, 604_800_000].map(Duration::from_millis) {
            assert_eq!(Duration::read(&duration.show()), Some(duration), "{duration:?}");
        }
        let list = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(Vec::<String>::read(&list.show()), Some(list));
        assert_eq!(Option::<Duration>::read("none"), Some(None));
        assert_eq!(SocketAddr::read("localhost:80"), SocketAddr::read("127.0.0.1:80"));
        assert_eq!(SocketAddr::read(":80"), SocketAddr::read("0.0.0.0:80"));
    }

    #[test]
    fn a_secret_never_shows() {
        let secret = Secret::new("hunter2");
        assert!(!format!("{secret:?} {}", secret.show()).contains("hunter2"));
        assert_eq!(secret.expose(), "hunter2");
    }
}
