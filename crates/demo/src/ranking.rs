//! BM25: which sections speak most of what is asked (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009).

use std::collections::{BTreeMap, HashMap};

use crate::documents::Section;
use crate::terms::terms;

/// How soon repeating a word stops helping; the usual value.
const K1: f64 = 1.2;
/// How much long sections are held back; the usual value.
const B: f64 = 0.75;
/// A word of the heading counts like this many of the text.
const HEADING_WEIGHT: usize = 3;

/// Sections, counted for ranking.
#[derive(Debug, Default)]
pub struct Index {
    sections: Vec<Counted>,
    sections_with: HashMap<String, usize>,
    terms_total: usize,
}

#[derive(Debug)]
struct Counted {
    file: String,
    section: Section,
    counts: HashMap<String, usize>,
    terms: usize,
}

/// A section with its rank.
#[derive(Debug, Clone)]
pub struct Ranked<'a> {
    /// The file it stands in.
    pub file: &'a str,
    /// The section.
    pub section: &'a Section,
    /// Its BM25 score: comparable only within one question.
    pub score: f64,
}

impl Index {
    /// Takes a section in.
    pub fn add(&mut self, file: &str, section: Section) {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for term in terms(&section.heading) {
            *counts.entry(term).or_default() += HEADING_WEIGHT;
        }
        for term in section.lines.iter().flat_map(|line| terms(line)) {
            *counts.entry(term).or_default() += 1;
        }
        for term in counts.keys() {
            *self.sections_with.entry(term.clone()).or_default() += 1;
        }
        let terms = counts.values().sum();
        self.terms_total += terms;
        self.sections.push(Counted { file: file.to_owned(), section, counts, terms });
    }

    /// How many sections were taken in.
    pub fn len(&self) -> usize {
        self.sections.len()
    }

    /// How much each of the asked terms tells: rare ones more. Terms that stand nowhere are left out.
    pub fn weights(&self, asked: &[String]) -> BTreeMap<String, f64> {
        let all = self.sections.len() as f64;
        let weight = |with: usize| ((all - with as f64 + 0.5) / (with as f64 + 0.5) + 1.0).ln();
        asked.iter().filter_map(|term| Some((term.clone(), weight(*self.sections_with.get(term)?)))).collect()
    }

    /// The sections that hold an asked term, best first; of equals the first taken in.
    pub fn rank(&self, asked: &[String]) -> Vec<Ranked<'_>> {
        let weights = self.weights(asked);
        let average = (self.terms_total as f64 / self.sections.len().max(1) as f64).max(1.0);
        let mut ranked: Vec<Ranked<'_>> = self
            .sections
            .iter()
            .filter_map(|counted| {
                let length = 1.0 - B + B * counted.terms as f64 / average;
                let score: f64 = weights
                    .iter()
                    .filter_map(|(term, weight)| {
                        let count = *counted.counts.get(term)? as f64;
                        Some(weight * count * (K1 + 1.0) / (count + K1 * length))
                    })
                    .sum();
                (score > 0.0).then_some(Ranked { file: &counted.file, section: &counted.section, score })
            })
            .collect();
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        ranked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(sections: &[(&str, &str)]) -> Index {
        let mut index = Index::default();
        for (heading, text) in sections {
            let lines = text.lines().map(str::to_owned).collect();
            index.add("f.md", Section { heading: (*heading).to_owned(), line: 1, text_line: 2, lines });
        }
        index
    }

    fn best<'a>(index: &'a Index, question: &str) -> Vec<&'a str> {
        index.rank(&terms(question)).into_iter().map(|ranked| ranked.section.heading.as_str()).collect()
    }

    #[test]
    fn rare_words_headings_and_brevity_decide() {
        let index = index(&[
            ("Install", "the server starts and the server listens"),
            ("Epochs", "an epoch is the identity of a history; the server makes it"),
            ("Long", &format!("the server and an epoch {}", "with much else besides ".repeat(100))),
        ]);
        assert_eq!(best(&index, "what is an epoch of the server?")[0], "Epochs");
        assert_eq!(best(&index, "install")[0], "Install");
        assert!(best(&index, "zebra").is_empty() && best(&index, "the of and").is_empty());
    }

    #[test]
    fn an_empty_index_answers_nothing() {
        assert!(best(&Index::default(), "epoch").is_empty());
        assert!(Index::default().weights(&terms("epoch")).is_empty());
    }
}
