//! What a webhook's target says in its answers.

use std::time::Duration;

use towline::webhook::retry_after::{http_date_ms, pause};

/// `Retry-After`: digits are seconds, a date is a time, everything else is nothing.
pub fn retry_after(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let now_ms = 1_700_000_000_000;
    let pause = pause(text, now_ms);
    if let Some(at) = http_date_ms(text) {
        assert_eq!(pause, Some(Duration::from_millis(at.saturating_sub(now_ms))), "{text:?}");
        // HTTP's dates have four digits for the year.
        assert!(at < 253_402_300_800_000, "{text:?}");
    } else if pause.is_some() {
        assert!(text.trim().bytes().all(|byte| byte.is_ascii_digit()), "{text:?}");
    }
}
