//! What a commit owes: to followers their records, to publishers their answers, in this order.

use std::sync::Arc;

use tokio::sync::oneshot;
use towline_log::{AppendError, Appended, Follower, Record};
use towline_protocol::Epoch;

/// How a publisher is answered.
type Reply = oneshot::Sender<Result<Vec<Appended>, AppendError>>;

/// What one commit, or two that go out together, owes.
pub(crate) struct Handout {
    pub watched: Vec<Watched>,
    pub answers: Vec<(Reply, Vec<Appended>)>,
}

/// One topic's records for its follower.
pub(crate) struct Watched {
    pub follower: Arc<dyn Follower>,
    /// The topic's number in the index.
    pub topic: usize,
    pub epoch: Epoch,
    pub records: Vec<Record>,
}

impl Handout {
    /// The two as one: a topic that is in both has its records in one piece.
    pub fn joined_by(mut self, later: Self) -> Self {
        for more in later.watched {
            let same = |watched: &&mut Watched| watched.topic == more.topic && Arc::ptr_eq(&watched.follower, &more.follower);
            match self.watched.iter_mut().find(same) {
                Some(watched) if watched.epoch == more.epoch => watched.records.extend(more.records),
                _ => self.watched.push(more),
            }
        }
        self.answers.extend(later.answers);
        self
    }

    /// Followers first: whoever has an answer may rely on it that they have the event.
    pub fn hand_out(self) {
        for watched in self.watched {
            watched.follower.committed(watched.epoch, &watched.records);
        }
        for (reply, answer) in self.answers {
            // Whoever no longer waits does not care.
            let _ = reply.send(Ok(answer));
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use towline_log::Position;
    use towline_log::conformance::{event, topic};

    use super::*;

    #[derive(Default)]
    struct Notebook(Mutex<Vec<Vec<u64>>>);

    impl Follower for Notebook {
        fn committed(&self, _: Epoch, records: &[Record]) {
            self.0.lock().push(records.iter().map(Record::offset).collect());
        }
        fn reset(&self, _: Position) {}
    }

    fn watched(follower: &Arc<Notebook>, topic_number: usize, offsets: std::ops::RangeInclusive<u64>) -> Watched {
        let records = offsets.map(|n| Record::from_event(&event(&topic("t"), n), n, n - 1, 0)).collect();
        Watched { follower: Arc::clone(follower) as Arc<dyn Follower>, topic: topic_number, epoch: Epoch(1), records }
    }

    #[test]
    fn two_commits_go_out_as_one_call_per_topic_and_then_the_answers() {
        let (hot, other) = (Arc::new(Notebook::default()), Arc::new(Notebook::default()));
        let (reply, mut answer) = oneshot::channel();
        let held =
            Handout { watched: vec![watched(&hot, 1, 1..=2), watched(&other, 2, 1..=1)], answers: vec![(reply, Vec::new())] };
        let both = held.joined_by(Handout { watched: vec![watched(&hot, 1, 3..=5)], answers: Vec::new() });
        assert!(answer.try_recv().is_err(), "not before the followers");
        both.hand_out();
        assert_eq!(*hot.0.lock(), [vec![1, 2, 3, 4, 5]]);
        assert_eq!(*other.0.lock(), [vec![1]]);
        assert!(answer.try_recv().is_ok());
    }
}
