//! `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date of HTTP.

use std::time::Duration;

/// The pause that a header asks for at `now_ms` (Unix milliseconds); none if it is neither form. A date in the past asks for none.
#[must_use]
pub fn pause(header: &str, now_ms: u64) -> Option<Duration> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds mean for ever.
        return Some(Duration::from_secs(header.parse().unwrap_or(u64::MAX)));
    }
    http_date_ms(header).map(|at| Duration::from_millis(at.saturating_sub(now_ms)))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7) in Unix milliseconds.
#[must_use]
pub fn http_date_ms(text: &str) -> Option<u64> {
    // The longest of its forms has 33 characters; the parser need not see more.
    let text = text.trim().strip_suffix("GMT").filter(|text| text.len() <= 40)?;
    let at = time::OffsetDateTime::parse(&format!("{text}+0000"), &time::format_description::well_known::Rfc2822).ok()?;
    u64::try_from(at.unix_timestamp()).ok()?.checked_mul(1000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_forms_are_read() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(http_date_ms(date), Some(784_111_777_000));
        assert_eq!(http_date_ms("yesterday"), None);
        assert_eq!(pause(date, 784_111_770_000), Some(Duration::from_secs(7)));
        assert_eq!(pause(date, 884_111_770_000), Some(Duration::ZERO));
        assert_eq!(pause(" 120 ", 0), Some(Duration::from_secs(120)));
        assert_eq!(pause(&"9".repeat(400), 0), Some(Duration::from_secs(u64::MAX)));
        for bad in ["", "-1", "1.5", "soon", "+3", "１２"] {
            assert_eq!(pause(bad, 0), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}", now: u64) {
            let _ = pause(&text, now);
            let _ = pause(&format!("{text}GMT"), now);
        }
    }
}
