//! Events about which the application has yet to be asked. Until it says yes they may not be published: [`super::store`] refuses what is
//! still undecided.

use towline_log::NewEvent;
use towline_protocol::{ErrorCode, Refusal, TopicName};

use super::{Prepared, refuse};

impl Prepared {
    /// The topics about which the application is to be asked, each once.
    #[must_use]
    pub fn undecided(&self) -> Vec<TopicName> {
        let mut topics: Vec<TopicName> = Vec::new();
        for NewEvent { topic, .. } in self.undecided.iter().filter_map(|at| self.events.get(*at)) {
            if !topics.contains(topic) {
                topics.push(topic.clone());
            }
        }
        topics
    }

    /// Says of each undecided event's topic whether it may be published. Those that may not become refusals in their places.
    pub fn decide(&mut self, verdict: impl Fn(&TopicName) -> Result<(), Refusal>) {
        let undecided = std::mem::take(&mut self.undecided);
        let asked = |at: usize| Some((at, verdict(&self.events.get(at)?.topic).err()?));
        let refused: Vec<(usize, Refusal)> = undecided.into_iter().filter_map(asked).collect();
        if refused.is_empty() {
            return;
        }
        let places: Vec<usize> = refused.iter().map(|(at, _)| *at).collect();
        refuse(&mut self.slots, refused);
        let mut place = 0;
        self.events.retain(|_| {
            place += 1;
            places.binary_search(&(place - 1)).is_err()
        });
        self.tags.retain(|tag| places.binary_search(&tag.at).is_err());
        for tag in &mut self.tags {
            tag.at -= places.partition_point(|place| *place < tag.at);
        }
    }

    /// What nobody decided is not published.
    pub(super) fn refuse_undecided(&mut self) {
        self.decide(|_| Err(Refusal::new(ErrorCode::Unavailable, "nobody said whether this is allowed; try again later")));
    }
}
