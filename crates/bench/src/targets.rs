//! The figures that Towline must reach and those it aims at, and how each follows from what was measured.

use crate::figures::Outcome;

/// One line of the table of targets.
pub struct Target {
    /// The scenario that measures it.
    pub scenario: &'static str,
    /// What it is.
    pub what: &'static str,
    /// The bound that must be kept.
    pub must: Bound,
    /// The bound that is aimed at.
    pub aim: Bound,
    /// The figure, out of its scenario's outcome.
    pub value: fn(&Outcome) -> Option<f64>,
}

/// A bound and its unit.
#[derive(Clone, Copy)]
pub enum Bound {
    /// Not more than this.
    AtMost(f64, &'static str),
    /// Not less than this.
    AtLeast(f64, &'static str),
}

/// How a figure stands to its two bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The aim is reached.
    Aim,
    /// What must be reached is reached.
    Must,
    /// Not even that.
    Missed,
    /// There is no figure.
    NotRun,
}

use Bound::{AtLeast, AtMost};

/// All targets.
pub const TARGETS: [Target; 15] = [
    Target {
        scenario: "idle",
        what: "user memory per idle connection, identity and 4 subscriptions, 15,000 connections",
        must: AtMost(1_536.0, "bytes"),
        aim: AtMost(700.0, "bytes"),
        value: |outcome| outcome.median("bytes per connection", "Towline"),
    },
    Target {
        scenario: "fanout",
        what: "deliveries per server CPU-second, one message at a time, against nchan",
        must: AtLeast(1.0, "x"),
        aim: AtLeast(1.2, "x"),
        value: |outcome| against(outcome, "one message in flight", &["nchan"]),
    },
    Target {
        scenario: "fanout",
        what: "deliveries per server CPU-second, bursts of 32 in one write, against NATS",
        must: AtLeast(3.0, "x"),
        aim: AtLeast(5.0, "x"),
        value: |outcome| against(outcome, "bursts of 32 in one write", &["NATS"]),
    },
    Target {
        scenario: "fanout",
        what: "the same, each message of the burst with a write of its own",
        must: AtLeast(3.0, "x"),
        aim: AtLeast(5.0, "x"),
        value: |outcome| against(outcome, "bursts of 32", &["NATS"]),
    },
    Target {
        scenario: "slow",
        what: "p99 of 500 readers while 500 others never read, against none slow",
        must: AtMost(1.2, "x"),
        aim: AtMost(1.05, "x"),
        value: |outcome| Some(outcome.median("p99", "500 never read")? / outcome.median("p99", "none slow")?),
    },
    // Stricter than what is promised: with the others absent, the loader and the server have only half as much to do.
    Target {
        scenario: "slow",
        what: "the same, against 500 readers and nobody else",
        must: AtMost(1.2, "x"),
        aim: AtMost(1.05, "x"),
        value: |outcome| Some(outcome.median("p99", "500 never read")? / outcome.median("p99", "the other 500 absent")?),
    },
    Target {
        scenario: "append",
        what: "durable appends per server CPU-second, WebSocket, against NATS and Redis (the better)",
        must: AtLeast(1.0, "x"),
        aim: AtLeast(3.0, "x"),
        value: |outcome| better(outcome, "per CPU-second", "Towline, WebSocket", &["NATS", "Redis"]),
    },
    Target {
        scenario: "append",
        what: "durable appends per server CPU-second, HTTP, against NATS and Redis (the better)",
        must: AtLeast(1.0, "x"),
        aim: AtLeast(3.0, "x"),
        value: |outcome| better(outcome, "per CPU-second", "Towline, HTTP", &["NATS", "Redis"]),
    },
    Target {
        scenario: "replay",
        what: "replay of 100,000 events to one client over its socket",
        must: AtLeast(300_000.0, "events/s"),
        aim: AtLeast(1_000_000.0, "events/s"),
        value: |outcome| outcome.median("per second", "Towline"),
    },
    Target {
        scenario: "handshake",
        what: "handshakes per second with JWT validation, RS256, cached key",
        must: AtLeast(5_000.0, "/s"),
        aim: AtLeast(15_000.0, "/s"),
        value: |outcome| outcome.median("per second", "Towline, RS256"),
    },
    Target {
        scenario: "handshake",
        what: "handshakes per second with JWT validation, HS256",
        must: AtLeast(5_000.0, "/s"),
        aim: AtLeast(15_000.0, "/s"),
        value: |outcome| outcome.median("per second", "Towline, HS256"),
    },
    // C12: promised by an earlier system; "beaten by far" is read as ten times.
    Target {
        scenario: "promised",
        what: "C12: time to connect, p99",
        must: AtMost(50.0, "ms"),
        aim: AtMost(5.0, "ms"),
        value: |outcome| outcome.median("connect, p99", "Towline"),
    },
    Target {
        scenario: "promised",
        what: "C12: messages per second to one subscriber",
        must: AtLeast(1_000.0, "/s"),
        aim: AtLeast(10_000.0, "/s"),
        value: |outcome| outcome.median("messages per second", "Towline"),
    },
    Target {
        scenario: "idle",
        what: "C12: memory per connection",
        must: AtMost(5_120.0, "bytes"),
        aim: AtMost(512.0, "bytes"),
        value: |outcome| outcome.median("bytes per connection", "Towline"),
    },
    Target {
        scenario: "promised",
        what: "C12: CPU for 100 quiet connections with heartbeats",
        must: AtMost(1.0, "% of a core"),
        aim: AtMost(0.1, "% of a core"),
        value: |outcome| outcome.median("CPU of 100 quiet connections", "Towline"),
    },
];

impl Target {
    /// How this figure stands.
    pub fn verdict(&self, value: Option<f64>) -> Verdict {
        match value {
            Some(value) if self.aim.holds(value) => Verdict::Aim,
            Some(value) if self.must.holds(value) => Verdict::Must,
            Some(_) => Verdict::Missed,
            None => Verdict::NotRun,
        }
    }
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            AtMost(most, _) => value <= most,
            AtLeast(least, _) => value >= least,
        }
    }

    /// The unit, as it stands behind a number.
    pub fn unit(self) -> &'static str {
        match self {
            AtMost(_, unit) | AtLeast(_, unit) => unit,
        }
    }

    /// The number of the bound.
    pub fn number(self) -> f64 {
        match self {
            AtMost(number, _) | AtLeast(number, _) => number,
        }
    }
}

/// Towline's figure over the best of the peers' best variants. All peers must have been measured.
fn against(outcome: &Outcome, figure: &str, peers: &[&str]) -> Option<f64> {
    better(outcome, figure, "Towline", peers)
}

fn better(outcome: &Outcome, figure: &str, own: &str, peers: &[&str]) -> Option<f64> {
    let own = outcome.median(figure, own)?;
    let peers: Option<Vec<f64>> = peers.iter().map(|peer| outcome.best(figure, peer)).collect();
    Some(own / peers?.into_iter().max_by(f64::total_cmp)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_taken_to_the_best_peer_and_only_when_all_were_measured() {
        let mut outcome = Outcome::new("append", "", &[], &[]);
        outcome.record("f", "Towline", "x", 30.0);
        outcome.record("f", "NATS 1", "x", 10.0);
        outcome.record("f", "NATS 2", "x", 20.0);
        assert_eq!(against(&outcome, "f", &["NATS"]), Some(1.5));
        assert_eq!(against(&outcome, "f", &["NATS", "Redis"]), None);
    }

    #[test]
    fn verdicts_follow_the_bounds() {
        let target = &TARGETS[0];
        let verdicts = [None, Some(2_000.0), Some(1_000.0), Some(600.0)].map(|value| target.verdict(value));
        assert_eq!(verdicts, [Verdict::NotRun, Verdict::Missed, Verdict::Must, Verdict::Aim]);
    }
}
