//! An extractive answer: sentences of the best passages, each with its place. It writes nothing of its own, so it cannot invent.

use std::collections::{BTreeMap, BTreeSet};

use crate::ranking::Ranked;
use crate::terms::terms;

/// Passages that sentences are taken from.
const PASSAGES_MAX: usize = 5;
/// Sentences of an answer.
const SENTENCES_MAX: usize = 4;
/// A sentence shorter than this is a fragment.
const SENTENCE_CHARS_MIN: usize = 20;
/// A longer one is cut.
const SENTENCE_CHARS_MAX: usize = 400;
/// A further sentence must be worth this share of the first.
const WORTH_MIN: f64 = 0.3;
/// What repeating a word that was said already is worth.
const REPETITION: f64 = 0.25;

/// A sentence of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Sentence {
    /// The words, without markup.
    pub text: String,
    /// The file it stands in.
    pub file: String,
    /// The line on which it begins, from 1.
    pub line: usize,
    /// The heading above it.
    pub heading: String,
}

/// An answer and how far to trust it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The sentences, the most telling first.
    pub sentences: Vec<Sentence>,
    /// From 0 to 1: how much of the question's meaning (by the rarity of its words) the answer speaks of, held back where the best
    /// passage stands out little from chance.
    pub confidence: f64,
    /// The asked terms that the answer speaks of.
    pub covered: Vec<String>,
    /// Those that it does not.
    pub missing: Vec<String>,
}

/// Composes an answer from ranked passages; `None` if no sentence speaks of what was asked.
pub fn compose(asked: &[String], weights: &BTreeMap<String, f64>, ranked: &[Ranked<'_>]) -> Option<Answer> {
    let best_score = ranked.first()?.score;
    let mut candidates: Vec<(Sentence, BTreeSet<String>, f64)> = Vec::new();
    for passage in ranked.iter().take(PASSAGES_MAX) {
        let heading_terms: BTreeSet<String> = terms(&passage.section.heading).into_iter().collect();
        for (line, text) in sentences(passage) {
            let mut known: BTreeSet<String> = terms(&text).into_iter().collect();
            // A sentence speaks of its heading, but must itself hold something that was asked.
            if known.iter().any(|term| weights.contains_key(term)) {
                known.extend(heading_terms.iter().cloned());
                known.retain(|term| weights.contains_key(term));
                let sentence = Sentence { text, file: passage.file.to_owned(), line, heading: passage.section.heading.clone() };
                candidates.push((sentence, known, passage.score / best_score));
            }
        }
    }
    let mut covered = BTreeSet::new();
    let mut chosen = Vec::new();
    let mut first_worth = 0.0;
    while chosen.len() < SENTENCES_MAX && !candidates.is_empty() {
        let worth = |known: &BTreeSet<String>, passage: f64| -> f64 {
            known.iter().map(|term| weights[term] * if covered.contains(term) { REPETITION } else { 1.0 }).sum::<f64>() * passage
        };
        let (at, value) = candidates
            .iter()
            .enumerate()
            .map(|(at, (_, known, passage))| (at, worth(known, *passage)))
            .fold((0, f64::MIN), |best, next| if next.1 > best.1 { next } else { best });
        if chosen.is_empty() {
            first_worth = value;
        } else if value < first_worth * WORTH_MIN {
            break;
        }
        let (sentence, known, _) = candidates.remove(at);
        covered.extend(known);
        candidates.retain(|(other, ..)| other.text != sentence.text);
        chosen.push(sentence);
    }
    if chosen.is_empty() {
        return None;
    }
    // A term that stands nowhere weighs as much as the rarest that does.
    let rarest = weights.values().copied().fold(1.0, f64::max);
    let asked: BTreeSet<&String> = asked.iter().collect();
    let total: f64 = asked.iter().map(|term| weights.get(*term).copied().unwrap_or(rarest)).sum();
    let spoken: f64 = covered.iter().filter_map(|term| weights.get(term)).sum();
    let stands_out = best_score / (best_score + 1.0);
    let missing = asked.into_iter().filter(|term| !covered.contains(*term)).cloned().collect();
    Some(Answer {
        sentences: chosen,
        confidence: (spoken / total * stands_out).clamp(0.0, 1.0),
        covered: covered.into_iter().collect(),
        missing,
    })
}

/// The sentences of a passage with the lines on which they begin: prose of consecutive lines flows together, a list item or a table
/// row stands alone, code is left out.
fn sentences(passage: &Ranked<'_>) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut paragraph = Paragraph::default();
    let mut in_code = false;
    for (index, raw) in passage.section.lines.iter().enumerate() {
        let line = passage.section.text_line + index;
        let text = raw.trim();
        if text.starts_with("```") {
            in_code = !in_code;
            paragraph.end(&mut found);
            continue;
        }
        if in_code {
            continue;
        }
        let starts_anew =
            text.starts_with(['-', '*', '|', '>', '+']) || text.split_once(". ").is_some_and(|(n, _)| n.parse::<u8>().is_ok());
        if text.is_empty() || starts_anew {
            paragraph.end(&mut found);
        }
        if !text.is_empty() && !text.chars().all(|c| matches!(c, '|' | '-' | ':' | ' ' | '=' | '*')) {
            paragraph.add(line, &without_markup(text));
        }
    }
    paragraph.end(&mut found);
    found
}

#[derive(Default)]
struct Paragraph {
    text: String,
    /// Where in the text each line begins, and its number.
    lines: Vec<(usize, usize)>,
}

impl Paragraph {
    fn add(&mut self, line: usize, text: &str) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.lines.push((self.text.len(), line));
        self.text.push_str(text);
    }

    /// Cuts what was gathered into sentences.
    fn end(&mut self, found: &mut Vec<(usize, String)>) {
        let text = std::mem::take(&mut self.text);
        let lines = std::mem::take(&mut self.lines);
        let mut start = 0;
        for end in sentence_ends(&text) {
            let sentence = text[start..end].trim();
            if sentence.chars().count() >= SENTENCE_CHARS_MIN {
                let line = lines.iter().rev().find(|(at, _)| *at <= start).map_or(1, |(_, line)| *line);
                found.push((line, shortened(sentence)));
            }
            start = end;
            start += text[start..].len() - text[start..].trim_start().len();
        }
    }
}

/// Byte positions behind each sentence, the end of the text included.
fn sentence_ends(text: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        let before_upper = || {
            let rest = text[at + c.len_utf8()..].trim_start();
            rest.starts_with(|c: char| c.is_uppercase() || matches!(c, '`' | '"' | '(' | '*'))
        };
        if matches!(c, '.' | '!' | '?') && characters.peek().is_some_and(|(_, next)| next.is_whitespace()) && before_upper() {
            ends.push(at + c.len_utf8());
        }
    }
    ends.push(text.len());
    ends
}

fn without_markup(line: &str) -> String {
    let line = line.trim_start_matches(['-', '*', '>', '+', '|', ' ']).trim_end_matches(['|', ' ']);
    line.replace("**", "").replace('`', "").replace(" | ", ": ")
}

/// At most [`SENTENCE_CHARS_MAX`] characters, with a mark where something was cut.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(SENTENCE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::Section;
    use crate::ranking::Index;

    const TEXT: &str = "An epoch is the identity of one unbroken history. It changes whenever continuity\n\
        cannot be proven. Nobody compares epochs by size.\n\n\
        - A list item about offsets and nothing else at all\n\
        - **Another** item about `retention` in an epoch\n\n\
        ```\nepoch epoch epoch epoch epoch epoch\n```\n\
        | epoch | what a table says about it |\n|---|---|";

    fn answer(question: &str) -> Option<Answer> {
        let mut index = Index::default();
        let lines = TEXT.lines().map(str::to_owned).collect();
        index.add("docs/a.md", Section { heading: "Epochs".into(), line: 9, text_line: 10, lines });
        index.add(
            "docs/b.md",
            Section {
                heading: "Else".into(),
                line: 1,
                text_line: 2,
                lines: vec!["Something quite different stands here.".into()],
            },
        );
        let asked = terms(question);
        compose(&asked, &index.weights(&asked), &index.rank(&asked))
    }

    #[test]
    fn sentences_keep_their_place_and_code_is_no_sentence() {
        let found = answer("When does an epoch change, can continuity be proven?").unwrap();
        let first = &found.sentences[0];
        assert_eq!(first.text, "It changes whenever continuity cannot be proven.");
        assert_eq!((first.file.as_str(), first.line, first.heading.as_str()), ("docs/a.md", 10, "Epochs"));
        assert!(found.sentences.iter().all(|s| !s.text.contains("epoch epoch")));
        assert!((0.0..=1.0).contains(&found.confidence) && found.missing.is_empty(), "{found:?}");
    }

    #[test]
    fn list_items_and_table_rows_stand_alone_without_markup() {
        let retention = answer("retention").unwrap();
        assert_eq!(
            (retention.sentences[0].text.as_str(), retention.sentences[0].line),
            ("Another item about retention in an epoch", 14)
        );
        let table = answer("table").unwrap();
        assert_eq!((table.sentences[0].text.as_str(), table.sentences[0].line), ("epoch: what a table says about it", 19));
    }

    #[test]
    fn unknown_words_lower_the_confidence_and_nothing_gives_nothing() {
        let (known, unknown) = (answer("epoch identity").unwrap(), answer("epoch identity zebra").unwrap());
        assert!(unknown.confidence < known.confidence && unknown.missing == ["zebra"]);
        assert_eq!(answer("zebra"), None);
    }
}
