//! The bounded queue between those who append and the one writer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;
use towline_log::{AppendError, Appended, NewEvent, TopicName};

/// One call of `append`, waiting.
pub(crate) struct Job {
    pub events: Vec<NewEvent>,
    /// Bytes that its records will take.
    pub bytes: usize,
    pub reply: oneshot::Sender<Result<Vec<Appended>, AppendError>>,
}

/// How far [`AppendQueue::holds_any_of`] looks: enough for a burst, little enough to look under the lock.
const LOOK_AHEAD_EVENTS: usize = 64;

/// What the writer finds.
pub(crate) enum Taken {
    /// Work.
    Jobs(Vec<Job>),
    /// Nothing within the time given.
    Idle,
    /// The queue is closed and empty.
    Closed,
}

/// Limits of the queue, in events and bytes of records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueLimits {
    pub events_max: usize,
    pub bytes_max: usize,
}

struct State {
    jobs: VecDeque<Job>,
    events: usize,
    bytes: usize,
    refuse: Option<AppendError>,
}

/// Jobs are taken in the order in which they were pushed.
pub(crate) struct AppendQueue {
    state: Mutex<State>,
    filled: Condvar,
    limits: QueueLimits,
}

impl AppendQueue {
    pub fn new(limits: QueueLimits) -> Self {
        let state = State { jobs: VecDeque::new(), events: 0, bytes: 0, refuse: None };
        Self { state: Mutex::new(state), filled: Condvar::new(), limits }
    }

    /// Takes a job or says why not.
    pub fn push(&self, job: Job) -> Result<(), AppendError> {
        if job.events.len() > self.limits.events_max || job.bytes > self.limits.bytes_max {
            let QueueLimits { events_max, bytes_max } = self.limits;
            return Err(AppendError::Invalid(
                format!("one call may append {events_max} events and {bytes_max} bytes at most: split it").into(),
            ));
        }
        let mut state = self.state.lock();
        if let Some(error) = &state.refuse {
            return Err(error.clone());
        }
        if state.events + job.events.len() > self.limits.events_max || state.bytes + job.bytes > self.limits.bytes_max {
            return Err(AppendError::Busy);
        }
        state.events += job.events.len();
        state.bytes += job.bytes;
        state.jobs.push_back(job);
        // The writer sleeps only on an empty queue.
        let wake = state.jobs.len() == 1;
        drop(state);
        if wake {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Takes all that waits, up to `bytes_max` but at least one job; waits for `patience` (for ever without) if there is none.
    pub fn take(&self, bytes_max: usize, patience: Option<Duration>) -> Taken {
        let mut state = self.state.lock();
        while state.jobs.is_empty() {
            if state.refuse.is_some() {
                return Taken::Closed;
            }
            match patience {
                None => self.filled.wait(&mut state),
                Some(patience) => {
                    if self.filled.wait_for(&mut state, patience).timed_out() && state.jobs.is_empty() && state.refuse.is_none() {
                        return Taken::Idle;
                    }
                }
            }
        }
        let mut bytes = 0;
        let mut count = 0;
        for job in &state.jobs {
            if count > 0 && bytes + job.bytes > bytes_max {
                break;
            }
            bytes += job.bytes;
            count += 1;
        }
        let jobs: Vec<Job> = state.jobs.drain(..count).collect();
        state.bytes -= bytes;
        state.events -= jobs.iter().map(|job| job.events.len()).sum::<usize>();
        Taken::Jobs(jobs)
    }

    /// Whether an event for one of these topics is among the next that wait.
    pub fn holds_any_of(&self, topics: &[TopicName]) -> bool {
        let state = self.state.lock();
        let next = state.jobs.iter().flat_map(|job| &job.events).take(LOOK_AHEAD_EVENTS);
        next.into_iter().any(|event| topics.contains(&event.topic))
    }

    /// Refuses what comes from now on; what is waiting is still taken. The first reason stands.
    pub fn close(&self) {
        self.state.lock().refuse.get_or_insert(AppendError::Closed);
        self.filled.notify_all();
    }

    /// Refuses what comes and what is waiting, for good.
    pub fn fail(&self, why: &Arc<str>) {
        let mut state = self.state.lock();
        let error = AppendError::Failed(why.clone());
        if !matches!(state.refuse, Some(AppendError::Failed(_))) {
            state.refuse = Some(error.clone());
        }
        state.events = 0;
        state.bytes = 0;
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        self.filled.notify_all();
        for job in jobs {
            // Whoever no longer waits does not care.
            let _ = job.reply.send(Err(error.clone()));
        }
    }

    /// Why appends are refused, if they are.
    pub fn refusal(&self) -> Option<AppendError> {
        self.state.lock().refuse.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_log::conformance::{event, topic};

    type Answer = oneshot::Receiver<Result<Vec<Appended>, AppendError>>;

    fn job(events: u64, bytes: usize) -> (Job, Answer) {
        let (reply, answer) = oneshot::channel();
        (Job { events: (0..events).map(|n| event(&topic("t"), n)).collect(), bytes, reply }, answer)
    }

    fn taken(queue: &AppendQueue, bytes_max: usize) -> Vec<usize> {
        match queue.take(bytes_max, Some(Duration::ZERO)) {
            Taken::Jobs(jobs) => jobs.iter().map(|job| job.bytes).collect(),
            Taken::Idle | Taken::Closed => Vec::new(),
        }
    }

    #[test]
    fn the_queue_is_bounded_in_events_and_bytes_and_frees_what_is_taken() {
        let queue = AppendQueue::new(QueueLimits { events_max: 10, bytes_max: 100 });
        assert!(matches!(queue.push(job(11, 1).0), Err(AppendError::Invalid(_))), "it would never fit");
        assert!(matches!(queue.push(job(1, 101).0), Err(AppendError::Invalid(_))));
        assert!(queue.push(job(6, 10).0).is_ok());
        assert!(matches!(queue.push(job(5, 10).0), Err(AppendError::Busy)));
        assert!(queue.push(job(1, 90).0).is_ok());
        assert!(matches!(queue.push(job(1, 1).0), Err(AppendError::Busy)));
        assert_eq!(taken(&queue, 99), [10], "in order, and no more than asked for");
        assert_eq!(taken(&queue, 1), [90], "but at least one");
        assert!(queue.push(job(10, 100).0).is_ok());
    }

    #[test]
    fn closing_leaves_what_waits_and_failing_answers_it() {
        let limits = QueueLimits { events_max: 10, bytes_max: 100 };
        let queue = AppendQueue::new(limits);
        queue.push(job(1, 7).0).unwrap();
        queue.close();
        assert!(matches!(queue.push(job(1, 1).0), Err(AppendError::Closed)));
        assert_eq!(taken(&queue, 100), [7]);
        assert!(matches!(queue.take(100, None), Taken::Closed));

        let queue = AppendQueue::new(limits);
        let (waiting, mut answer) = job(1, 7);
        queue.push(waiting).unwrap();
        queue.fail(&"gone".into());
        queue.close();
        assert!(matches!(answer.try_recv(), Ok(Err(AppendError::Failed(_)))));
        assert!(matches!(queue.push(job(1, 1).0), Err(AppendError::Failed(_))), "the failure stands");
    }
}
