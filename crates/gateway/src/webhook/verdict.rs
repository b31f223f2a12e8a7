//! What an attempt's outcome means: done, once more and when, or a dead letter. Pure.
//!
//! By the Standard Webhooks specification (1.0.0, "Delivery success and failure"): 2xx is a success, everything else a failure; 410 says
//! that the target wants no more calls at all. How often a failure is repeated depends on who failed: an application that **refuses** (3xx,
//! 4xx) will refuse the same bytes again, one that **fails** (5xx) may be mended, and one that is **away** (no answer, 408, 425, 429, 502,
//! 503, 504) says nothing about the message.

use std::time::Duration;

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered, perhaps with a `Retry-After`.
    Answered(u16, Option<Duration>),
    /// It took too long.
    Timeout,
    /// No connection, or it broke.
    Unreachable,
    /// The target's name leads to addresses that it must not lead to.
    Internal,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is delivered.
    Delivered,
    /// It is tried again, not before this pause. `answered`: the attempt counts against the limit of answered ones.
    Again { after: Duration, answered: bool },
    /// It becomes a dead letter.
    Dead(Reason),
    /// The target wants nothing any more: everything rests until somebody resumes it.
    Gone,
}

/// Why something is a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The application refused it several times.
    Refused,
    /// The application failed too often.
    Failed,
    /// It was tried until it was too old.
    Expired,
    /// Its user had too many waiting already; it was never tried.
    Backlog,
}

/// Calls that an application may refuse: a deployment or a replaced secret can be the reason, so one is not enough.
const REFUSALS_MAX: u32 = 5;
/// The longest pause that a target may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// How long and how often something is tried.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Answered attempts.
    pub attempts_max: u32,
    /// Age.
    pub retry_for: Duration,
    /// Before the second attempt.
    pub delay: Duration,
    /// Before any.
    pub delay_max: Duration,
}

/// How far it got before this attempt's outcome.
#[derive(Debug, Clone, Copy)]
pub struct Tried {
    /// Attempts, this one included.
    pub attempts: u32,
    /// Attempts before it that were answered.
    pub answered: u32,
    /// How old it is.
    pub age: Duration,
}

impl Outcome {
    /// A word for metrics and dead letters.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Answered(200..=299, _) => "delivered",
            Self::Answered(410, _) => "gone",
            Self::Answered(408 | 425 | 429 | 502..=504, _) => "busy",
            Self::Answered(500.., _) => "failed",
            Self::Answered(..) => "refused",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Internal => "internal_address",
        }
    }

    /// The status, if there was one.
    #[must_use]
    pub fn status(self) -> Option<u16> {
        match self {
            Self::Answered(status, _) => Some(status),
            Self::Timeout | Self::Unreachable | Self::Internal => None,
        }
    }
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Refused, Self::Failed, Self::Expired, Self::Backlog];

    /// A word for metrics and dead letters.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Backlog => "backlog",
        }
    }
}

/// Judges an outcome. `random` from 0 to 1 places the next attempt within its pause (full jitter).
#[must_use]
pub fn judge(outcome: Outcome, tried: Tried, patience: &Patience, random: f64) -> Verdict {
    let (most, reason) = match outcome.class() {
        "delivered" => return Verdict::Delivered,
        "gone" => return Verdict::Gone,
        "refused" => (Some(REFUSALS_MAX.min(patience.attempts_max)), Reason::Refused),
        "failed" => (Some(patience.attempts_max), Reason::Failed),
        _ => (None, Reason::Expired),
    };
    if most.is_some_and(|most| tried.answered + 1 >= most) {
        return Verdict::Dead(reason);
    }
    if tried.age >= patience.retry_for {
        return Verdict::Dead(Reason::Expired);
    }
    let asked = match outcome {
        Outcome::Answered(_, Some(asked)) => asked.min(RETRY_AFTER_MAX),
        _ => Duration::ZERO,
    };
    let pause = back_off(tried.attempts, patience).mul_f64(random.clamp(0.0, 1.0));
    // What the target asks for is the least; the jitter on top keeps all users from coming back at one moment.
    Verdict::Again { after: asked + pause, answered: most.is_some() }
}

/// The longest pause after so many attempts: it doubles with each.
fn back_off(attempts: u32, patience: &Patience) -> Duration {
    let doublings = attempts.saturating_sub(1).min(31);
    patience.delay.saturating_mul(1 << doublings).min(patience.delay_max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Patience = Patience {
        attempts_max: 8,
        retry_for: Duration::from_secs(1_000),
        delay: Duration::from_secs(1),
        delay_max: Duration::from_secs(60),
    };

    fn tried(attempts: u32, answered: u32, age: u64) -> Tried {
        Tried { attempts, answered, age: Duration::from_secs(age) }
    }

    fn answer(status: u16) -> Outcome {
        Outcome::Answered(status, None)
    }

    // proves: C9
    #[test]
    fn statuses_are_judged_by_the_specification() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(judge(answer(status), tried(1, 0, 0), &PATIENCE, 0.5), Verdict::Delivered);
        }
        assert_eq!(judge(answer(410), tried(1, 0, 0), &PATIENCE, 0.5), Verdict::Gone);
        // A refusal gets few attempts, whatever else was tried before.
        for status in [300, 301, 302, 307, 308, 400, 401, 403, 404, 409, 413, 415, 422, 451, 199] {
            assert!(
                matches!(judge(answer(status), tried(40, 3, 0), &PATIENCE, 0.5), Verdict::Again { answered: true, .. }),
                "{status}"
            );
            assert_eq!(judge(answer(status), tried(5, 4, 0), &PATIENCE, 0.5), Verdict::Dead(Reason::Refused), "{status}");
        }
        for status in [500, 501, 505, 520, 599] {
            assert!(
                matches!(judge(answer(status), tried(7, 6, 0), &PATIENCE, 0.5), Verdict::Again { answered: true, .. }),
                "{status}"
            );
            assert_eq!(judge(answer(status), tried(8, 7, 0), &PATIENCE, 0.5), Verdict::Dead(Reason::Failed), "{status}");
        }
        // Who is away says nothing about the message: only its age counts.
        let away = [408, 425, 429, 502, 503, 504].map(answer);
        for outcome in away.into_iter().chain([Outcome::Timeout, Outcome::Unreachable, Outcome::Internal]) {
            assert!(
                matches!(judge(outcome, tried(500, 3, 999), &PATIENCE, 0.5), Verdict::Again { answered: false, .. }),
                "{outcome:?}"
            );
            assert_eq!(judge(outcome, tried(1, 0, 1_000), &PATIENCE, 0.5), Verdict::Dead(Reason::Expired), "{outcome:?}");
        }
    }

    #[test]
    fn a_target_may_ask_for_a_longer_pause_within_an_hour() {
        let again =
            |asked, random| judge(Outcome::Answered(503, Some(Duration::from_secs(asked))), tried(1, 0, 0), &PATIENCE, random);
        let after = |ms| Verdict::Again { after: Duration::from_millis(ms), answered: false };
        assert_eq!(again(30, 0.0), after(30_000));
        assert_eq!(again(30, 1.0), after(31_000));
        assert_eq!(again(u64::MAX, 0.0), after(3_600_000));
    }

    proptest! {
        #[test]
        fn the_pause_doubles_up_to_its_most_and_is_anywhere_within(attempts: u32, random: f64) {
            let Verdict::Again { after, .. } = judge(Outcome::Timeout, tried(attempts, 0, 0), &PATIENCE, random) else { panic!() };
            let most = 2_f64.powi(attempts.saturating_sub(1).min(31) as i32).min(60.0);
            prop_assert!(after.as_secs_f64() <= most + 1e-6);
        }
    }
}
