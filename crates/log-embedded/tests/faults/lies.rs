//! The conformance suite tried on engines that lie: each lie must be found out, or the suite proves nothing.

use std::sync::Arc;

use towline_clock::Clock;
use towline_log::conformance::{Store, run_all, sequences};
use towline_log::{
    AppendError, Appended, Bounds, Direction, Epoch, EventLog, Follower, Health, LogFuture, LogStats, NewEvent, Page, Policies,
    Position, Read, ReadError, Record, Start, TopicName,
};
use towline_log_embedded::SimulatedFiles;

use super::OnSimulatedFiles;

/// What an engine gets wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    HidesGaps,
    SkipsARecord,
    RepeatsARecord,
    SaysCompleteTooEarly,
    HidesDuplicates,
    IgnoresTheTime,
    ServesTheFollowerTwice,
    ForgetsTheFollower,
    CountsTrimmedEvents,
    GoesBackwardForward,
    TakesAfterClose,
}

const LIES: [Lie; 11] = [
    Lie::HidesGaps,
    Lie::SkipsARecord,
    Lie::RepeatsARecord,
    Lie::SaysCompleteTooEarly,
    Lie::HidesDuplicates,
    Lie::IgnoresTheTime,
    Lie::ServesTheFollowerTwice,
    Lie::ForgetsTheFollower,
    Lie::CountsTrimmedEvents,
    Lie::GoesBackwardForward,
    Lie::TakesAfterClose,
];

struct LyingStore {
    honest: OnSimulatedFiles,
    lie: Lie,
}

struct Liar {
    honest: Arc<dyn EventLog>,
    lie: Lie,
}

struct LyingFollower {
    honest: Arc<dyn Follower>,
    lie: Lie,
}

impl Store for LyingStore {
    fn open(&self, policies: Policies, clock: Clock) -> LogFuture<Arc<dyn EventLog>> {
        let (honest, lie) = (self.honest.open(policies, clock), self.lie);
        Box::pin(async move { Arc::new(Liar { honest: honest.await, lie }) as Arc<dyn EventLog> })
    }

    fn keeps_events(&self) -> bool {
        true
    }

    fn retain(&self) -> LogFuture<()> {
        self.honest.retain()
    }
}

impl EventLog for Liar {
    fn append(&self, events: Vec<NewEvent>) -> LogFuture<Result<Vec<Appended>, AppendError>> {
        let (answer, lie) = (self.honest.append(events), self.lie);
        Box::pin(async move {
            match answer.await {
                Ok(mut answers) => {
                    if lie == Lie::HidesDuplicates {
                        answers.iter_mut().for_each(|answer| answer.duplicate = false);
                    }
                    Ok(answers)
                }
                Err(AppendError::Closed) if lie == Lie::TakesAfterClose => Ok(Vec::new()),
                Err(error) => Err(error),
            }
        })
    }

    fn read(&self, mut read: Read) -> LogFuture<Result<Page, ReadError>> {
        let lie = self.lie;
        if lie == Lie::IgnoresTheTime && matches!(read.start, Start::Time(_)) {
            read.start = Start::Earliest;
        }
        if lie == Lie::GoesBackwardForward && matches!(read.start, Start::At(_)) {
            read.direction = Direction::Forward;
        }
        let page = self.honest.read(read);
        Box::pin(async move {
            let mut page = page.await?;
            match lie {
                Lie::HidesGaps => page.gap = None,
                Lie::SkipsARecord if page.records.len() > 5 => drop(page.records.remove(3)),
                Lie::RepeatsARecord if page.records.len() > 5 => page.records[3] = page.records[2].clone(),
                Lie::SaysCompleteTooEarly => page.complete |= page.records.len() > 5,
                _ => {}
            }
            Ok(page)
        })
    }

    fn bounds(&self, topic: &TopicName) -> LogFuture<Result<Bounds, ReadError>> {
        let (bounds, lie) = (self.honest.bounds(topic), self.lie);
        Box::pin(async move {
            let mut bounds = bounds.await?;
            if lie == Lie::CountsTrimmedEvents {
                bounds.events = bounds.head;
            }
            Ok(bounds)
        })
    }

    fn follow(&self, topic: &TopicName, follower: Arc<dyn Follower>) -> LogFuture<Result<Position, ReadError>> {
        self.honest.follow(topic, Arc::new(LyingFollower { honest: follower, lie: self.lie }))
    }

    fn unfollow(&self, topic: &TopicName) {
        self.honest.unfollow(topic);
    }

    fn health(&self) -> Health {
        self.honest.health()
    }

    fn stats(&self) -> LogStats {
        self.honest.stats()
    }

    fn close(&self) -> LogFuture<()> {
        self.honest.close()
    }
}

impl Follower for LyingFollower {
    fn committed(&self, epoch: Epoch, records: &[Record]) {
        match self.lie {
            Lie::ForgetsTheFollower if records[0].offset() > 10 => {}
            Lie::ServesTheFollowerTwice => {
                self.honest.committed(epoch, records);
                self.honest.committed(epoch, records);
            }
            _ => self.honest.committed(epoch, records),
        }
    }

    fn reset(&self, head: Position) {
        self.honest.reset(head);
    }
}

fn fresh(lie: Lie) -> Arc<dyn Store> {
    Arc::new(LyingStore { honest: OnSimulatedFiles::new(SimulatedFiles::new(1)), lie })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_finds_every_lie() {
    for lie in LIES {
        let run = tokio::spawn(async move { run_all(&|| fresh(lie)).await });
        assert!(run.await.is_err_and(|error| error.is_panic()), "{lie:?} was not found out");
    }
}

/// Random lives look at pages, bounds and answers: what these can show, they find too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_lives_find_lies_about_pages() {
    for lie in [
        Lie::HidesGaps,
        Lie::SkipsARecord,
        Lie::RepeatsARecord,
        Lie::HidesDuplicates,
        Lie::IgnoresTheTime,
        Lie::CountsTrimmedEvents,
    ] {
        let run = tokio::spawn(async move {
            for seed in 0..30 {
                sequences::a_random_life_is_as_the_model_says(fresh(lie), seed).await;
            }
        });
        assert!(run.await.is_err_and(|error| error.is_panic()), "{lie:?} was not found out");
    }
}
