//! Subscribers of one topic and one publisher: every delivery is counted, and checked against the number it must carry next.

use std::time::Duration;

use anyhow::{Result, bail};
use towline_clock::Clock;

use super::{Arrival, Loader, gather};
use crate::payload;
use crate::systems::System;

/// How long a burst may take to reach everybody before it counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(20);

/// How a burst is handed to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// One write per message, as a client library sends them.
    Each,
    /// One write for the burst.
    Together,
}

/// A publisher, its subscribers, and what they have received.
pub struct Audience {
    loader: Loader,
    clock: Clock,
    /// The loader's identities of the subscribers, in the order they joined.
    pub subscribers: Vec<usize>,
    publisher: usize,
    topic: String,
    published: u64,
    tally: Tally,
}

/// What has been received. `next` is indexed by connection; connections that do not count have none.
struct Tally {
    next: Vec<Option<u64>>,
    hint: usize,
    delivered: u64,
    wrong: u64,
    closed: Option<String>,
    refused: Option<String>,
}

impl Audience {
    /// Subscribes `count` connections to one topic, and one to publish.
    pub fn gather(system: &System, clock: &Clock, topic: &str, count: usize) -> Result<Self> {
        let mut loader = Loader::new()?;
        let topics = [topic.to_owned()];
        let joined = gather(&mut loader, clock, system.address, count, |who| system.dialect.subscriber(who, &topics))?;
        let publisher = gather(&mut loader, clock, system.address, 1, |_| system.dialect.publisher(topic))?[0].id;
        let subscribers: Vec<usize> = joined.iter().map(|one| one.id).collect();
        let mut next = vec![None; subscribers.iter().max().map_or(0, |max| max + 1)];
        for id in &subscribers {
            next[*id] = Some(0);
        }
        let tally = Tally { next, hint: 0, delivered: 0, wrong: 0, closed: None, refused: None };
        Ok(Self { loader, clock: clock.clone(), subscribers, publisher, topic: topic.to_owned(), published: 0, tally })
    }

    /// Deliveries so far, right or wrong.
    pub fn delivered(&self) -> u64 {
        self.tally.delivered
    }

    /// Bytes read so far, also those of subscribers that no longer count.
    pub fn received(&self) -> u64 {
        self.loader.received()
    }

    /// Messages published so far; the next one carries this number.
    pub fn published(&self) -> u64 {
        self.published
    }

    /// Stops reading these subscribers for good; their deliveries count no more.
    pub fn stop_reading(&mut self, subscribers: &[usize]) -> Result<()> {
        for id in subscribers {
            self.loader.stop_reading(*id)?;
            self.tally.next[*id] = None;
        }
        Ok(())
    }

    /// Publishes `burst` messages of `size` bytes, with one write for each, or with one for all.
    pub fn publish(&mut self, system: &System, burst: usize, size: usize, writes: Writes) -> Result<()> {
        self.publish_made(system, burst, writes, |number| payload::payload(number, size))
    }

    /// Publishes `burst` messages whose payloads are made so; each must carry its number as those of [`payload`] do.
    pub fn publish_made(&mut self, system: &System, burst: usize, writes: Writes, make: impl Fn(u64) -> Vec<u8>) -> Result<()> {
        let at_once = match writes {
            Writes::Each => 1,
            Writes::Together => burst,
        };
        let until = self.published + burst as u64;
        while self.published < until {
            let (topic, numbers) = (&self.topic, self.published..until.min(self.published + at_once as u64));
            self.published = numbers.end;
            self.loader.send(self.publisher, |outbox| {
                numbers.for_each(|number| system.dialect.publish(topic, &make(number), outbox));
            })?;
        }
        Ok(())
    }

    /// Reads until every counted subscriber has everything that was published; an error says what is missing.
    pub fn await_all(&mut self) -> Result<()> {
        let subscribers = self.tally.next.iter().flatten().count() as u64;
        let missing: u64 = self.tally.next.iter().flatten().map(|next| self.published.saturating_sub(*next)).sum();
        let goal = self.tally.delivered + missing;
        let until = self.clock.uptime() + LOST_AFTER;
        while self.tally.delivered < goal {
            self.listen(Duration::from_millis(100), |_, _| {})?;
            if self.clock.uptime() > until {
                bail!("{} of {} deliveries to {subscribers} subscribers did not arrive", goal - self.tally.delivered, missing);
            }
        }
        match self.tally.wrong {
            0 => Ok(()),
            wrong => bail!("{wrong} deliveries did not carry the number that was due: something was lost, doubled or reordered"),
        }
    }

    /// Reads what has arrived, waiting at most `timeout`; `each` is told subscriber and number of every right delivery.
    pub fn listen(&mut self, timeout: Duration, mut each: impl FnMut(usize, u64)) -> Result<()> {
        let (tally, publisher) = (&mut self.tally, self.publisher);
        self.loader.pump(timeout, |id, arrival, _| match arrival {
            Arrival::Message(message) if id != publisher => tally.take(id, message, &mut each),
            Arrival::Message(_) | Arrival::Line(_) | Arrival::Open => {}
            Arrival::Refused(why) => {
                tally.refused.get_or_insert_with(|| String::from_utf8_lossy(why).into_owned());
            }
            Arrival::Closed(why) => {
                tally.closed.get_or_insert_with(|| why.to_owned());
            }
        })?;
        match (&self.tally.closed, &self.tally.refused) {
            (Some(why), _) => bail!("a connection was lost: {why}"),
            (_, Some(why)) => bail!("the server refused: {why}"),
            _ => Ok(()),
        }
    }
}

impl Tally {
    fn take(&mut self, id: usize, message: &[u8], each: &mut impl FnMut(usize, u64)) {
        let Some(Some(next)) = self.next.get_mut(id) else { return };
        let Some(number) = payload::number_in(message, &mut self.hint) else { return };
        self.delivered += 1;
        if number == *next {
            each(id, number);
        } else {
            self.wrong += 1;
        }
        *next = number + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_a_doubled_and_a_reordered_delivery_are_each_noticed() {
        for (name, numbers, wrong) in
            [("right", vec![0, 1, 2], 0), ("lost", vec![0, 2], 1), ("doubled", vec![0, 0], 1), ("swapped", vec![1, 0], 2)]
        {
            let mut tally = Tally { next: vec![Some(0)], hint: 0, delivered: 0, wrong: 0, closed: None, refused: None };
            for number in numbers {
                tally.take(0, &payload::payload(number, 64), &mut |_, _| {});
            }
            assert_eq!(tally.wrong, wrong, "{name}");
        }
    }
}
