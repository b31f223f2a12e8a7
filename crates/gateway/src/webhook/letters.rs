//! Which dead letters are open: a fold over `dead-letter:webhook`, bounded.

use std::collections::BTreeMap;
use std::sync::Arc;

use towline_log::Record;
use towline_protocol::{Epoch, Offset, Position};

use super::Which;
use super::letter::{LETTER, Letter, Mark, REDELIVERED, REDRIVEN};

/// Open letters that are known at most, about 150 bytes each. The oldest are forgotten first; they stay in the topic until it is trimmed.
pub const LETTERS_MAX: usize = 200_000;

/// An open letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The message's `webhook-id`.
    pub webhook_id: Box<str>,
    /// Who sent it.
    pub user: Arc<str>,
    /// Since when (Unix milliseconds) it is being delivered once more.
    pub redriven_ms: Option<u64>,
}

/// Letters to deliver once more.
#[derive(Debug, PartialEq, Eq)]
pub struct Choice {
    /// Their offsets and `webhook-id`s.
    pub letters: Vec<(Offset, Box<str>)>,
    /// Ids that were asked for and are not among them.
    pub skipped: Vec<String>,
    /// Open letters that are neither among them nor being delivered once more.
    pub remaining: usize,
}

/// All open letters, by their offset in the topic.
#[derive(Debug, Default)]
pub struct Letters {
    /// The topic's epoch, once something of it was seen.
    pub epoch: Option<Epoch>,
    open: BTreeMap<Offset, Open>,
}

impl Letters {
    /// Takes the next record of the topic into account.
    pub fn apply(&mut self, record: &Record) {
        match record.kind() {
            LETTER => {
                if let Ok(letter) = serde_json::from_slice::<Letter>(record.data()) {
                    let open = Open { webhook_id: letter.webhook_id.into(), user: letter.user_id.into(), redriven_ms: None };
                    self.add(record.offset(), open, letter.replaces);
                }
            }
            REDRIVEN => {
                if let Some(letter) = marked(record) {
                    self.redriven(letter, record.ts_ms());
                }
            }
            REDELIVERED => {
                if let Some(letter) = marked(record) {
                    self.close(letter);
                }
            }
            _ => {}
        }
    }

    /// A letter was written, perhaps in the place of a former one.
    pub fn add(&mut self, offset: Offset, letter: Open, replaces: Option<Offset>) {
        if let Some(former) = replaces {
            self.open.remove(&former);
        }
        self.open.insert(offset, letter);
        if self.open.len() > LETTERS_MAX {
            self.open.pop_first();
            tracing::error!(most = LETTERS_MAX, "too many dead letters of the webhook: the oldest is no longer listed");
        }
    }

    /// A letter is being delivered once more.
    pub fn redriven(&mut self, offset: Offset, now_ms: u64) {
        if let Some(letter) = self.open.get_mut(&offset) {
            letter.redriven_ms = Some(now_ms);
        }
    }

    /// A letter was delivered after all, or its record is gone.
    pub fn close(&mut self, offset: Offset) {
        self.open.remove(&offset);
    }

    /// How many are open, those being delivered once more included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Open letters after an offset, oldest first.
    pub fn after(&self, offset: Offset) -> impl Iterator<Item = (Offset, &Open)> {
        self.open.range(offset + 1..).map(|(offset, letter)| (*offset, letter))
    }

    /// Where to read in order to get the letter at an offset.
    #[must_use]
    pub fn before(&self, offset: Offset) -> Position {
        // Without an epoch there is no letter.
        Position { epoch: self.epoch.unwrap_or(Epoch(0)), offset: offset.saturating_sub(1) }
    }

    /// Which of those asked for can be delivered once more: at most `most`, oldest first, and never one that already is.
    #[must_use]
    pub fn choose(&self, which: &Which, most: usize) -> Choice {
        let idle = self.open.iter().filter(|(_, open)| open.redriven_ms.is_none());
        let letters: Vec<(Offset, Box<str>)> = idle
            .clone()
            .filter(|(_, open)| match which {
                Which::All => true,
                Which::Ids(ids) => ids.iter().any(|id| **id == *open.webhook_id),
            })
            .map(|(offset, open)| (*offset, open.webhook_id.clone()))
            .take(most)
            .collect();
        let skipped = match which {
            Which::All => Vec::new(),
            Which::Ids(ids) => ids.iter().filter(|id| letters.iter().all(|(_, chosen)| **chosen != ***id)).cloned().collect(),
        };
        Choice { skipped, remaining: idle.count() - letters.len(), letters }
    }
}

fn marked(record: &Record) -> Option<Offset> {
    serde_json::from_slice::<Mark>(record.data()).ok().map(|mark| mark.letter)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::webhook::letter::{letter, mark};
    use crate::webhook::message::Message;
    use crate::webhook::verdict::{Outcome, Reason};

    fn message(id: &str, round: u32) -> Message {
        let body = Bytes::from_static(br#"{"type":"user_message","data":{}}"#);
        let position = Position { epoch: Epoch(1), offset: 9 };
        Message { id: id.into(), kind: "user_message".into(), user: "alice".into(), position, taken_ms: 5, round, body }
    }

    fn states(letters: &Letters) -> Vec<(Offset, &str, Option<u64>)> {
        letters.after(0).map(|(offset, open)| (offset, &*open.webhook_id, open.redriven_ms)).collect()
    }

    #[test]
    fn a_letter_is_open_until_it_is_delivered_or_takes_another_place() {
        let refused = Some(Outcome::Answered(400, None));
        let events = [
            letter(&message("a", 0), Reason::Refused, 5, refused, None),
            letter(&message("b", 0), Reason::Expired, 9, None, None),
            mark(REDRIVEN, 1, "a"),
            mark(REDRIVEN, 2, "b"),
            mark(REDELIVERED, 2, "b"),
        ];
        let mut letters = Letters::default();
        for (offset, event) in (1..).zip(&events) {
            letters.apply(&Record::from_event(event, offset, offset - 1, offset * 100));
        }
        assert_eq!(states(&letters), [(1, "a", Some(300))]);
        let ids = Which::Ids(vec!["a".to_owned(), "x".to_owned()]);
        let nothing = Choice { letters: vec![], skipped: vec!["a".to_owned(), "x".to_owned()], remaining: 0 };
        assert_eq!(letters.choose(&ids, 9), nothing, "never twice at once");
        let again = letter(&message("a", 1), Reason::Refused, 5, refused, Some(1));
        letters.apply(&Record::from_event(&again, 6, 5, 600));
        assert_eq!(states(&letters), [(6, "a", None)], "it failed again and can be redriven again");
        assert_eq!(letters.choose(&Which::All, 9).letters, [(6, "a".into())]);
        assert_eq!(letters.choose(&Which::All, 0).remaining, 1);
    }

    #[test]
    fn a_letter_holds_all_that_it_takes_to_deliver_it_again() {
        let event = letter(&message("a", 2), Reason::Failed, 15, Some(Outcome::Answered(500, None)), None);
        let again = Message::of_letter(&Record::from_event(&event, 1, 0, 1)).unwrap();
        assert_eq!((&*again.id, again.round, &again.body), ("a", 3, &message("a", 2).body));
        assert_eq!(&*event.id, "a.2");
    }
}
