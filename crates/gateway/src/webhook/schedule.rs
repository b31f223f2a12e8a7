//! Whose message is delivered next. Pure: no clock, no log, no network.
//!
//! One **line** per user who has something waiting. Only the head of a line is ever under way, so a user's messages are delivered in the
//! order of the log; lines know nothing of each other, so users do not wait for each other. What a line costs is bounded: a message is two
//! numbers here, its body stays in the log.
//!
//! Fairness: heads that are tried for the first time and heads that failed before stand in two queues, and those that failed get at most
//! half of the places. So however many users' calls hang until their time-out, first attempts of others go on.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use towline_protocol::Offset;

/// Something to deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// The message at this offset of `inbox:*`.
    Message(Offset),
    /// The dead letter at this offset of `dead-letter:webhook`, once more.
    Letter(Offset),
}

/// How much may wait and be under way.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of all users.
    pub waiting_max: usize,
    /// Of one user.
    pub waiting_per_user_max: usize,
    /// At once; at least two.
    pub concurrency_max: usize,
}

/// A call that should be made now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Whose.
    pub user: Arc<str>,
    /// What.
    pub work: Work,
    /// Since when (Unix milliseconds) its delivery is tried, for its age.
    pub since_ms: u64,
    /// Which attempt this is; the first is 1.
    pub attempt: u32,
    /// How many of the attempts before were answered with a refusal or a failure.
    pub answered: u32,
}

/// All that waits.
#[derive(Debug)]
pub struct Schedule {
    limits: Limits,
    lines: HashMap<Arc<str>, Line>,
    /// Users whose head was never tried.
    fresh: VecDeque<Arc<str>>,
    /// Users whose head failed and may be tried again.
    again: VecDeque<Arc<str>>,
    /// Users whose head may be tried again at that time (uptime). One entry per line at most.
    resting: BTreeSet<(Duration, Arc<str>)>,
    waiting: usize,
    under_way: usize,
    repetitions: usize,
}

#[derive(Debug)]
struct Line {
    waiting: VecDeque<(Work, u64)>,
    attempts: u32,
    answered: u32,
    /// The head's place among those under way.
    under_way: Option<Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    First,
    Repetition,
}

impl Schedule {
    /// Nothing waits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            lines: HashMap::new(),
            fresh: VecDeque::new(),
            again: VecDeque::new(),
            resting: BTreeSet::new(),
            waiting: 0,
            under_way: 0,
            repetitions: 0,
        }
    }

    /// How many more may wait.
    #[must_use]
    pub fn room(&self) -> usize {
        self.limits.waiting_max.saturating_sub(self.waiting)
    }

    /// How many are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// Whether this user may have one more waiting.
    #[must_use]
    pub fn takes(&self, user: &str) -> bool {
        self.lines.get(user).is_none_or(|line| line.waiting.len() < self.limits.waiting_per_user_max)
    }

    /// Puts something at the end of its user's line. Ask [`Schedule::room`] and [`Schedule::takes`] before.
    pub fn offer(&mut self, user: &str, work: Work, since_ms: u64) {
        self.waiting += 1;
        if let Some(line) = self.lines.get_mut(user) {
            line.waiting.push_back((work, since_ms));
            return;
        }
        let user: Arc<str> = user.into();
        let line = Line { waiting: VecDeque::from([(work, since_ms)]), attempts: 0, answered: 0, under_way: None };
        self.lines.insert(Arc::clone(&user), line);
        self.fresh.push_back(user);
    }

    /// The next call to make at `now` (uptime), if there is a place for it. Ends with [`Schedule::finished`], [`Schedule::failed`] or
    /// [`Schedule::given_back`].
    pub fn next(&mut self, now: Duration) -> Option<Turn> {
        while let Some((at, _)) = self.resting.first()
            && *at <= now
            && let Some((_, user)) = self.resting.pop_first()
        {
            self.again.push_back(user);
        }
        if self.under_way >= self.limits.concurrency_max {
            return None;
        }
        let repetitions_max = (self.limits.concurrency_max / 2).max(1);
        let repeated = if self.repetitions < repetitions_max { self.again.pop_front() } else { None };
        let kind = if repeated.is_some() { Kind::Repetition } else { Kind::First };
        let user = repeated.or_else(|| self.fresh.pop_front())?;
        let line = self.lines.get_mut(&user)?;
        let &(work, since_ms) = line.waiting.front()?;
        line.under_way = Some(kind);
        line.attempts = line.attempts.saturating_add(1);
        self.under_way += 1;
        self.repetitions += usize::from(kind == Kind::Repetition);
        Some(Turn { attempt: line.attempts, answered: line.answered, user, work, since_ms })
    }

    /// When the next one that failed may be tried again.
    #[must_use]
    pub fn wake_at(&self) -> Option<Duration> {
        self.resting.first().map(|(at, _)| *at)
    }

    /// The head failed and may be tried again from `until` (uptime) on.
    pub fn failed(&mut self, user: &Arc<str>, answered: bool, until: Duration) {
        self.leave(user);
        if let Some(line) = self.lines.get_mut(user) {
            line.answered += u32::from(answered);
            self.resting.insert((until, Arc::clone(user)));
        }
    }

    /// The head is no longer under way, but its line waits until [`Schedule::finished`]: it is being written down as a dead letter.
    pub fn leave(&mut self, user: &Arc<str>) {
        if let Some(kind) = self.lines.get_mut(user).and_then(|line| line.under_way.take()) {
            self.under_way -= 1;
            self.repetitions -= usize::from(kind == Kind::Repetition);
        }
    }

    /// The head is done: the user's next one may go.
    pub fn finished(&mut self, user: &Arc<str>) {
        self.leave(user);
        let Some(line) = self.lines.get_mut(user) else { return };
        self.waiting -= usize::from(line.waiting.pop_front().is_some());
        (line.attempts, line.answered) = (0, 0);
        if line.waiting.is_empty() {
            self.lines.remove(user);
        } else {
            self.fresh.push_back(Arc::clone(user));
        }
    }

    /// The call was not made after all: it may be made at once, and does not count.
    pub fn given_back(&mut self, user: &Arc<str>) {
        self.leave(user);
        if let Some(line) = self.lines.get_mut(user) {
            line.attempts = line.attempts.saturating_sub(1);
            let queue = if line.attempts == 0 { &mut self.fresh } else { &mut self.again };
            queue.push_front(Arc::clone(user));
        }
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
