//! Times on the wire: Unix seconds in envelopes, ISO 8601 in the feed, either one in requests.

use time::OffsetDateTime;
use time::format_description::well_known::{Iso8601, Rfc3339};

/// A text was not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a time; give ISO 8601 with a zone (2026-01-31T12:00:00Z) or Unix seconds (1769860800, a fraction is allowed)")]
pub struct TimestampError;

/// Reads ISO 8601 or Unix seconds (values of 10^11 and more are taken as milliseconds) into Unix milliseconds.
///
/// # Errors
/// [`TimestampError`] if the text is neither, or lies before 1970 or after the year 9999.
pub fn parse_ms(text: &str) -> Result<u64, TimestampError> {
    // A `+` in a query string arrives as a space where the client did not encode it.
    let text = text.trim();
    if text.len() > 64 {
        return Err(TimestampError);
    }
    if let Ok(number) = text.parse::<f64>() {
        let ms = if number.abs() >= 1e11 { number } else { number * 1000.0 };
        return if (0.0..253_402_300_800_000.0).contains(&ms) { Ok(ms.round() as u64) } else { Err(TimestampError) };
    }
    let repaired = text.replacen(' ', if text.contains('T') { "+" } else { "T" }, 1);
    let at = OffsetDateTime::parse(&repaired, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(&repaired, &Iso8601::DEFAULT))
        .or_else(|_| OffsetDateTime::parse(&format!("{repaired}Z"), &Iso8601::DEFAULT))
        .or_else(|_| OffsetDateTime::parse(&format!("{repaired}T00:00:00Z"), &Iso8601::DEFAULT))
        .map_err(|_| TimestampError)?;
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).map_err(|_| TimestampError)
}

/// Appends Unix seconds with three decimals: `1719958453.042`.
pub fn write_seconds(ms: u64, out: &mut Vec<u8>) {
    write_decimal(ms / 1000, out);
    let rest = (ms % 1000) as u16;
    if rest != 0 {
        out.push(b'.');
        out.push(b'0' + (rest / 100) as u8);
        out.push(b'0' + (rest / 10 % 10) as u8);
        out.push(b'0' + (rest % 10) as u8);
    }
}

/// Appends a decimal number.
pub fn write_decimal(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// ISO 8601 in UTC with milliseconds: `2024-07-02T22:14:13.042Z`.
#[must_use]
pub fn iso(ms: u64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, time) = (at.date(), at.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        for (text, ms) in [
            ("1719958453", 1_719_958_453_000),
            ("1719958453.042", 1_719_958_453_042),
            ("1719958453042", 1_719_958_453_042),
            ("2024-07-02T22:14:13Z", 1_719_958_453_000),
            ("2024-07-02T22:14:13.042+00:00", 1_719_958_453_042),
            ("2024-07-02T22:14:13.042 00:00", 1_719_958_453_042),
            ("2024-07-02T22:14:13", 1_719_958_453_000),
            ("2024-07-02 22:14:13", 1_719_958_453_000),
            ("2024-07-02", 1_719_878_400_000),
            ("0", 0),
        ] {
            assert_eq!(parse_ms(text), Ok(ms), "{text}");
        }
        for bad in ["", "yesterday", "-5", "NaN", "inf", "2024-13-01T00:00:00Z", "1e300", &"1".repeat(100)] {
            assert_eq!(parse_ms(bad), Err(TimestampError), "{bad}");
        }
    }

    #[test]
    fn both_forms_are_written() {
        let mut out = Vec::new();
        for ms in [0, 7, 42_000, 1_719_958_453_042, 1_719_958_453_999] {
            write_seconds(ms, &mut out);
            out.push(b' ');
        }
        assert_eq!(String::from_utf8(out).unwrap(), "0 0.007 42 1719958453.042 1719958453.999 ");
        assert_eq!(iso(1_719_958_453_042), "2024-07-02T22:14:13.042Z");
    }
}
