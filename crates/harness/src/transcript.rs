//! What went over a connection, in both directions and with times: printed whole when an expectation fails.

use std::fmt;
use std::time::Duration;

use towline_clock::Clock;

/// Longer texts are cut in print; their length is said.
const SHOWN_BYTES_MAX: usize = 1_000;

/// The record of one connection.
pub struct Transcript {
    name: String,
    clock: Clock,
    lines: Vec<Line>,
}

struct Line {
    at: Duration,
    direction: Direction,
    text: String,
}

#[derive(Clone, Copy)]
enum Direction {
    Sent,
    Received,
    Remark,
}

impl Transcript {
    /// An empty transcript; times count from now.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), clock: Clock::system(), lines: Vec::new() }
    }

    /// Notes what this side sent.
    pub fn sent(&mut self, text: impl Into<String>) {
        self.add(Direction::Sent, text.into());
    }

    /// Notes what came.
    pub fn received(&mut self, text: impl Into<String>) {
        self.add(Direction::Received, text.into());
    }

    /// Notes something that went over no wire.
    pub fn remark(&mut self, text: impl Into<String>) {
        self.add(Direction::Remark, text.into());
    }

    /// Ends the test with what was expected and everything that happened.
    pub fn fail(&self, what: impl fmt::Display) -> ! {
        panic!("{what}\n{self}")
    }

    fn add(&mut self, direction: Direction, mut text: String) {
        let length = text.len();
        if length > SHOWN_BYTES_MAX {
            let mut end = SHOWN_BYTES_MAX;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            text.push_str(&format!("… ({length} bytes)"));
        }
        self.lines.push(Line { at: self.clock.uptime(), direction, text });
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "--- transcript of {} ---", self.name)?;
        for Line { at, direction, text } in &self.lines {
            let arrow = match direction {
                Direction::Sent => "->",
                Direction::Received => "<-",
                Direction::Remark => "  ",
            };
            writeln!(f, "{:9.3} s {arrow} {text}", at.as_secs_f64())?;
        }
        write!(f, "{:9.3} s    (now)", self.clock.uptime().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves: B7
    #[test]
    fn a_failure_shows_both_directions_in_order() {
        let mut transcript = Transcript::new("alice on /ws");
        transcript.sent("hello");
        transcript.received("x".repeat(2_000));
        transcript.remark("closed 1000");
        let text = transcript.to_string();
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} is missing in {text}"));
        assert!(at("alice on /ws") < at("-> hello") && at("-> hello") < at("<- xxx"));
        assert!(at("(2000 bytes)") < at("closed 1000"));
    }
}
