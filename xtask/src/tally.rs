//! How many tests passed and failed, read off what test runners print.

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

/// A count of tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Ran and passed.
    pub passed: u64,
    /// Ran and failed, or could not be started.
    pub failed: u64,
    /// Left out, by their authors or because the run was ended early.
    pub skipped: u64,
}

impl Tally {
    /// That many tests passed.
    pub fn of_passed(passed: u64) -> Self {
        Self { passed, ..Self::default() }
    }

    /// Reads a runner's closing line; `None` if the line is another one.
    ///
    /// Cargo: `test result: ok. 3 passed; 0 failed; 1 ignored; …`. Nextest: `Summary [ 1.2s] 9 tests run: 8 passed (1 slow), 1 failed, 2 skipped`.
    pub fn read(line: &str) -> Option<Self> {
        // An indented result is part of a failed test's output, which nextest shows.
        let counts = match (line.strip_prefix("test result:"), line.trim_start().strip_prefix("Summary [")) {
            (Some(rest), _) => rest,
            (None, Some(rest)) => rest.split_once("run:")?.1,
            (None, None) => return None,
        };
        let mut tally = Self::default();
        let words: Vec<&str> = counts.split([' ', ',', ';', '.', '(', ')']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(count) = pair[0].parse::<u64>() else { continue };
            match pair[1] {
                "passed" => tally.passed += count,
                // "timed" goes on with "out".
                "failed" | "timed" => tally.failed += count,
                "ignored" | "skipped" => tally.skipped += count,
                _ => {}
            }
        }
        Some(tally)
    }

    /// The same as cargo's own test runner would close with.
    pub fn closing_line(&self, took: Duration) -> String {
        let verdict = if self.failed == 0 { "ok" } else { "FAILED" };
        let Self { passed, failed, skipped } = self;
        let seconds = took.as_secs_f64();
        format!(
            "test result: {verdict}. {passed} passed; {failed} failed; {skipped} ignored; 0 measured; 0 filtered out; finished in {seconds:.2}s"
        )
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 { write!(f, ", {} skipped", self.skipped) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_read_and_others_are_not() {
        let tally = |passed, failed, skipped| Some(Tally { passed, failed, skipped });
        for (line, expected) in [
            ("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s", tally(3, 0, 1)),
            ("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out", tally(3, 2, 0)),
            ("     Summary [   1.234s] 9 tests run: 8 passed (1 slow), 1 failed, 2 skipped", tally(8, 1, 2)),
            ("     Summary [  61.000s] 3 tests run: 1 passed, 1 failed, 1 timed out, 0 skipped", tally(1, 2, 0)),
            ("     Summary [   0.100s] 5/9 tests run: 4 passed (1 leaky), 1 failed, 0 skipped", tally(4, 1, 0)),
            ("    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 50 filtered out", None),
            ("test tally::tests::x ... ok", None),
            ("running 3 tests", None),
        ] {
            assert_eq!(Tally::read(line), expected, "{line}");
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let tally = Tally { passed: 5, failed: 1, skipped: 2 };
        assert_eq!(Tally::read(&tally.closing_line(Duration::from_secs(3))), Some(tally));
    }
}
