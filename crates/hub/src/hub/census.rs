//! Which topics are watched, for people who look: in the order of their names, a page at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Hub;
use crate::topic::Topic;

/// Entries that are looked at under one hold of a shard's lock: subscriptions wait for it.
const STEP: usize = 512;
/// A table that grew or shrank meanwhile is looked at anew, this many times.
const ANEW_MAX: usize = 8;

impl Hub {
    /// The watched topics whose names begin with `prefix` and come after `after`, in the order of their names, at most `most`.
    ///
    /// Looks at all watched topics, a few hundred at a time, and may take 100 ms for a million: not for a thread that serves sockets. Topics that
    /// begin or cease to be watched meanwhile may be in it or not.
    #[must_use]
    pub fn watched(&self, prefix: &str, after: &str, most: usize) -> Vec<Arc<Topic>> {
        let mut found: BTreeMap<Box<str>, Arc<Topic>> = BTreeMap::new();
        for shard in &self.0.shards {
            let (mut at, mut buckets, mut anew) = (0, None, 0);
            loop {
                let table = shard.lock();
                if buckets.is_some_and(|buckets| buckets != table.num_buckets()) && anew < ANEW_MAX {
                    // Entries have moved.
                    (at, anew) = (0, anew + 1);
                }
                buckets = Some(table.num_buckets());
                let end = (at + STEP).min(table.num_buckets());
                for bucket in at..end {
                    let Some(watched) = table.get_bucket(bucket) else { continue };
                    let name = watched.topic.name().as_str();
                    let full = found.len() == most && found.last_key_value().is_none_or(|(last, _)| name >= &**last);
                    if name > after && name.starts_with(prefix) && !full {
                        found.insert(name.into(), Arc::clone(&watched.topic));
                        if found.len() > most {
                            found.pop_last();
                        }
                    }
                }
                at = end;
                if at == table.num_buckets() {
                    break;
                }
            }
        }
        found.into_values().collect()
    }

    /// The topic of this name, if it is watched.
    #[must_use]
    pub fn watched_topic(&self, name: &towline_protocol::TopicName) -> Option<Arc<Topic>> {
        let hash = super::hash(name);
        let shard = self.shard(hash).lock();
        shard.find(hash, |watched| watched.topic.name() == name).map(|watched| Arc::clone(&watched.topic))
    }
}
