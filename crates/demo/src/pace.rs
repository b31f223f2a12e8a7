//! Lengths of time as they are written on a command line.

use std::time::Duration;

/// Reads `300ms`, `2s` or `0`.
///
/// # Errors
/// What was expected.
pub fn parse(text: &str) -> Result<Duration, String> {
    let expected = || "expected a length of time of at most one minute, like 300ms, 2s or 0".to_owned();
    let (number, unit_ms) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 1),
        (None, Some(number)) => (number, 1000),
        (None, None) if text == "0" => ("0", 1),
        (None, None) => return Err(expected()),
    };
    let number: u64 = number.parse().map_err(|_| expected())?;
    number.checked_mul(unit_ms).filter(|ms| *ms <= 60_000).map(Duration::from_millis).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_and_nonsense_is_not() {
        assert_eq!(parse("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(parse("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse("0"), Ok(Duration::ZERO));
        for bad in ["", "5", "s", "-1s", "61s", "99999999999999999999ms", "1h"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
