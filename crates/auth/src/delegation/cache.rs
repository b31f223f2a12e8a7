//! Answers that are kept: a bounded table in two halves. When the young half is full it becomes the old one, and what was not asked for
//! since is forgotten.

use std::time::Duration;

use hashbrown::HashMap;

use super::answer::Answer;

struct Kept {
    answer: Answer,
    until: Duration,
}

/// The table. Times are the clock's uptime.
pub(super) struct Cache {
    half_max: usize,
    young: HashMap<Box<str>, Kept>,
    old: HashMap<Box<str>, Kept>,
}

impl Cache {
    /// A table for at most `answers_max` answers, two at least.
    pub(super) fn new(answers_max: usize) -> Self {
        Self { half_max: (answers_max / 2).max(1), young: HashMap::new(), old: HashMap::new() }
    }

    pub(super) fn get(&mut self, key: &str, now: Duration) -> Option<Answer> {
        if let Some(kept) = self.young.get(key) {
            return (now < kept.until).then(|| kept.answer.clone());
        }
        let (key, kept) = self.old.remove_entry(key)?;
        let answer = (now < kept.until).then(|| kept.answer.clone())?;
        self.insert(key, kept);
        Some(answer)
    }

    pub(super) fn put(&mut self, key: Box<str>, answer: Answer, until: Duration) {
        self.old.remove(&key);
        self.insert(key, Kept { answer, until });
    }

    fn insert(&mut self, key: Box<str>, kept: Kept) {
        if self.young.len() >= self.half_max && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, kept);
    }

    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yes() -> Answer {
        Answer { allow: true, ttl: None, topics: [].into() }
    }

    #[test]
    fn answers_end_and_the_table_is_bounded() {
        let mut cache = Cache::new(10);
        let second = Duration::from_secs(1);
        cache.put("a".into(), yes(), second);
        assert!(cache.get("a", Duration::ZERO).is_some() && cache.get("a", second).is_none() && cache.get("b", second).is_none());
        for n in 0..1_000 {
            cache.put(format!("k{n}").into(), yes(), second * 9);
            // What is asked for all the time is never forgotten.
            if n > 0 {
                assert!(cache.get("k0", second).is_some(), "{n}");
            }
            assert!(cache.len() <= 10, "{}", cache.len());
        }
        assert!(cache.get("k1", second).is_none() && cache.get("k999", second).is_some());
    }
}
