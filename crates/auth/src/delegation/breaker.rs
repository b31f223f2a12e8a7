//! After failures in a row nobody is asked for a while; then one call tries, and the others wait for how it goes.

use std::time::Duration;

/// So many failures in a row are no accident.
const FAILURES_MAX: u32 = 5;
/// How long nobody is asked then.
const PAUSE: Duration = Duration::from_secs(5);

/// Whether it is worth asking. Times are the clock's uptime.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    paused_until: Duration,
    trying: bool,
}

impl Breaker {
    /// Whether a call may begin; the first one after a pause is a trial.
    pub(super) fn begin(&mut self, now: Duration) -> bool {
        if self.failures < FAILURES_MAX {
            return true;
        }
        if now < self.paused_until || self.trying {
            return false;
        }
        self.trying = true;
        true
    }

    /// A call has ended: well, badly, or before it began.
    pub(super) fn ended(&mut self, well: Option<bool>, now: Duration) {
        self.trying = false;
        match well {
            Some(true) => self.failures = 0,
            Some(false) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= FAILURES_MAX {
                    self.paused_until = now + PAUSE;
                }
            }
            None => {}
        }
    }

    pub(super) fn paused(&self, now: Duration) -> bool {
        self.failures >= FAILURES_MAX && now < self.paused_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_five_failures_one_call_in_five_seconds_tries() {
        let mut breaker = Breaker::default();
        let second = Duration::from_secs(1);
        for _ in 0..4 {
            assert!(breaker.begin(second));
            breaker.ended(Some(false), second);
        }
        assert!(breaker.begin(second));
        breaker.ended(Some(false), second);
        assert!(!breaker.begin(second * 5) && breaker.paused(second * 5));
        assert!(breaker.begin(second * 6) && !breaker.begin(second * 6), "one tries");
        breaker.ended(Some(false), second * 6);
        assert!(!breaker.begin(second * 10));
        assert!(breaker.begin(second * 11));
        // It did not even get its turn: the next one tries.
        breaker.ended(None, second * 11);
        assert!(breaker.begin(second * 11));
        breaker.ended(Some(true), second * 11);
        assert!(breaker.begin(second * 11) && breaker.begin(second * 11));
    }

    #[test]
    fn a_success_between_failures_begins_anew() {
        let mut breaker = Breaker::default();
        for n in 0..40 {
            assert!(breaker.begin(Duration::ZERO));
            breaker.ended(Some(n % 4 == 0), Duration::ZERO);
        }
    }
}
