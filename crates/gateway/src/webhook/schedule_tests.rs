//! The order of deliveries, under random failures and restarts, with a clock that the test turns.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::webhook::progress::Progress;
use towline_protocol::{Epoch, Position};

const LIMITS: Limits = Limits { waiting_max: 100, waiting_per_user_max: 50, concurrency_max: 4 };

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn turns(schedule: &mut Schedule, now: Duration) -> Vec<(String, Work)> {
    std::iter::from_fn(|| schedule.next(now)).map(|turn| (turn.user.to_string(), turn.work)).collect()
}

fn user(name: &str) -> Arc<str> {
    name.into()
}

#[test]
fn one_message_of_a_user_at_a_time_and_users_side_by_side() {
    let mut schedule = Schedule::new(LIMITS);
    for (name, offset) in [("a", 1), ("a", 2), ("b", 3), ("a", 4)] {
        schedule.offer(name, Work::Message(offset), 0);
    }
    assert_eq!(turns(&mut schedule, secs(0)), [("a".to_owned(), Work::Message(1)), ("b".to_owned(), Work::Message(3))]);
    schedule.failed(&user("a"), false, secs(10));
    schedule.finished(&user("b"));
    assert_eq!(turns(&mut schedule, secs(9)), [], "a user who rests holds only themself");
    assert_eq!(schedule.wake_at(), Some(secs(10)));
    let turn = schedule.next(secs(10)).unwrap();
    assert_eq!((&*turn.user, turn.work, turn.attempt), ("a", Work::Message(1), 2));
    schedule.finished(&turn.user);
    assert_eq!(turns(&mut schedule, secs(10)), [("a".to_owned(), Work::Message(2))]);
    schedule.leave(&user("a"));
    assert_eq!(turns(&mut schedule, secs(99)), [], "the next one waits until the dead letter is written down");
    schedule.finished(&user("a"));
    assert_eq!(turns(&mut schedule, secs(99)), [("a".to_owned(), Work::Message(4))]);
    schedule.finished(&user("a"));
    assert_eq!((schedule.waiting, schedule.under_way(), schedule.lines.len()), (0, 0, 0), "nothing is left behind");
}

// proves: C9
#[test]
fn however_many_users_fail_first_attempts_of_others_have_half_of_the_places() {
    let mut schedule = Schedule::new(LIMITS);
    for n in 0..20 {
        schedule.offer(&format!("failing-{n}"), Work::Message(n), 0);
    }
    for _ in 0..20 {
        let turn = schedule.next(secs(0)).unwrap();
        schedule.failed(&turn.user, false, secs(1));
    }
    schedule.offer("healthy", Work::Message(99), 0);
    let now = turns(&mut schedule, secs(1));
    assert_eq!(now.len(), 3, "two repetitions and the first attempt: {now:?}");
    assert_eq!(now[2].0, "healthy");
    schedule.finished(&user("healthy"));
    assert_eq!(turns(&mut schedule, secs(1)), [], "the other half waits for those who come");
}

#[test]
fn a_users_line_and_all_lines_are_bounded() {
    let mut schedule = Schedule::new(LIMITS);
    for n in 0..50 {
        assert!(schedule.takes("a"));
        schedule.offer("a", Work::Message(n), 0);
    }
    assert!(!schedule.takes("a") && schedule.takes("b"));
    assert_eq!(schedule.room(), 50);
}

/// What a run does next.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Somebody (0 to 4) sends a message.
    Send(u8),
    /// As many calls as possible begin.
    Begin,
    /// One of the calls under way ends.
    End { which: u8, how: u8 },
    /// Time passes.
    Wait(u8),
    /// What is done is written down.
    Save,
    /// The process is killed and comes back with what was written down.
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_u8..5).prop_map(Step::Send),
        4 => Just(Step::Begin),
        6 => (any::<u8>(), any::<u8>()).prop_map(|(which, how)| Step::End { which, how }),
        2 => (0_u8..40).prop_map(Step::Wait),
        2 => Just(Step::Save),
        1 => Just(Step::Kill),
    ]
}

/// The log, the schedule and the record of progress together, with a receiver that notes what it gets.
struct World {
    now: Duration,
    log: Vec<u8>,
    schedule: Schedule,
    progress: Progress,
    saved: crate::webhook::progress::Saved,
    under_way: Vec<Turn>,
    /// Per user the offsets in the order in which they were delivered, repetitions included.
    delivered: BTreeMap<u8, Vec<Offset>>,
    /// Dead letters, which are written down in one piece with the progress.
    dead: BTreeSet<Offset>,
}

impl World {
    fn new() -> Self {
        let progress = Progress::starting_after(Position::start_of(Epoch(1)));
        Self {
            now: Duration::ZERO,
            log: Vec::new(),
            schedule: Schedule::new(Limits { waiting_max: 7, waiting_per_user_max: 50, concurrency_max: 3 }),
            saved: progress.saved(),
            progress,
            under_way: Vec::new(),
            delivered: BTreeMap::new(),
            dead: BTreeSet::new(),
        }
    }

    fn read(&mut self) {
        while self.schedule.room() > 0
            && let offset = self.progress.read_position().offset + 1
            && let Some(&user) = self.log.get(offset as usize - 1)
        {
            if self.progress.read(offset, offset) {
                self.schedule.offer(&user.to_string(), Work::Message(offset), offset);
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send(user) => self.log.push(user),
            Step::Begin => {
                self.read();
                while let Some(turn) = self.schedule.next(self.now) {
                    assert!(self.under_way.iter().all(|other| other.user != turn.user), "two calls of one user");
                    self.under_way.push(turn);
                    assert!(self.under_way.len() <= 3);
                }
            }
            Step::End { which, how } => {
                if self.under_way.is_empty() {
                    return;
                }
                let turn = self.under_way.remove(usize::from(which) % self.under_way.len());
                let Work::Message(offset) = turn.work else { unreachable!() };
                match how % 8 {
                    // It arrived, and the answer came back; or it arrived and the answer was lost.
                    0..=3 => {
                        self.deliver(&turn.user, offset);
                        self.progress.finish(offset);
                        self.schedule.finished(&turn.user);
                    }
                    4 => {
                        self.deliver(&turn.user, offset);
                        self.schedule.failed(&turn.user, false, self.now + secs(u64::from(how)));
                    }
                    5 => {
                        self.schedule.leave(&turn.user);
                        self.progress.finish(offset);
                        self.dead.insert(offset);
                        self.saved = self.progress.saved();
                        self.schedule.finished(&turn.user);
                    }
                    6 => self.schedule.given_back(&turn.user),
                    _ => self.schedule.failed(&turn.user, true, self.now + secs(u64::from(how))),
                }
            }
            Step::Wait(seconds) => self.now += secs(u64::from(seconds)),
            Step::Save => self.saved = self.progress.saved(),
            Step::Kill => {
                self.schedule = Schedule::new(self.schedule.limits);
                self.progress = Progress::resuming(self.saved.clone());
                self.under_way.clear();
            }
        }
    }

    fn deliver(&mut self, user: &str, offset: Offset) {
        self.delivered.entry(user.parse().unwrap()).or_default().push(offset);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Random failures and kills never reorder a user's messages, never lose one, and deliver each at least once.
    // proves: C9
    #[test]
    fn every_message_arrives_in_its_users_order(steps in prop::collection::vec(step(), 1..250)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        // The receiver recovers; whatever is left arrives.
        let rounds = world.log.len() * 2 + 300;
        for _ in 0..rounds {
            world.step(Step::Wait(255));
            world.step(Step::Begin);
            while !world.under_way.is_empty() {
                world.step(Step::End { which: 0, how: 0 });
            }
        }
        prop_assert_eq!(world.schedule.waiting, 0);
        prop_assert_eq!(world.progress.saved().committed.offset, world.log.len() as u64);
        for user in 0..5_u8 {
            let sent: Vec<Offset> = (1..).zip(&world.log).filter(|(_, by)| **by == user).map(|(offset, _)| offset).collect();
            let mut got = world.delivered.remove(&user).unwrap_or_default();
            // First arrivals are in order. (Repetitions after a kill begin further back and are in order again.)
            let mut seen = BTreeSet::new();
            got.retain(|offset| seen.insert(*offset));
            prop_assert!(got.windows(2).all(|two| two[0] < two[1]), "user {} got {:?}", user, got);
            for offset in sent {
                prop_assert!(seen.contains(&offset) || world.dead.contains(&offset), "{} of user {} is lost", offset, user);
            }
        }
    }
}
