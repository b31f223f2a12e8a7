//! The work on one question, step by step: each step does its part and says what it found. It knows no network and no clock, so the
//! caller decides when the next step is due.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};
use towline_client::Severity;

use crate::answer::{Answer, compose};
use crate::documents;
use crate::ranking::{Index, Ranked};
use crate::terms::terms;

/// Passages that are shown.
const PASSAGES_MAX: usize = 3;
/// Files that are told one by one; the others are read together.
const FILES_TOLD_MAX: usize = 20;
/// Characters of a passage that are shown.
const EXCERPT_CHARS_MAX: usize = 280;

/// Something that happened in the work.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The event's type.
    pub kind: &'static str,
    /// One line for people.
    pub title: String,
    /// How much a person should care.
    pub severity: Severity,
    /// What was found.
    pub data: Value,
}

/// The work on one question.
#[derive(Debug)]
pub struct Research {
    question: String,
    asked: Vec<String>,
    roots: Vec<PathBuf>,
    files: Vec<PathBuf>,
    index: Index,
    unread: usize,
    answer: Option<Answer>,
    phase: Phase,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Begin,
    Find,
    Read(usize),
    Rank,
    Passage(usize),
    Compose,
    Sentence(usize),
    End,
    Over,
}

impl Research {
    /// Work on `question` with the documents in `roots`.
    pub fn new(question: &str, roots: Vec<PathBuf>) -> Self {
        Self {
            question: question.to_owned(),
            asked: terms(question),
            roots,
            files: Vec::new(),
            index: Index::default(),
            unread: 0,
            answer: None,
            phase: Phase::Begin,
        }
    }

    /// Does the next part of the work; `None` when it is over. Reads files: not for a thread that others wait for.
    pub fn step(&mut self) -> Option<Step> {
        match self.phase {
            Phase::Begin => {
                if self.asked.is_empty() {
                    return Some(
                        self.nothing("The question has no word that could be searched for: ask with a few telling words."),
                    );
                }
                self.phase = Phase::Find;
                Some(step(
                    "agent.started",
                    format!("Looking for an answer to “{}”", brief(&self.question)),
                    json!({
                        "question": self.question, "terms": self.distinct(),
                    }),
                ))
            }
            Phase::Find => {
                self.files = documents::find(&self.roots);
                if self.files.is_empty() {
                    return Some(
                        self.nothing("There is no document to search in: start the agent with --docs and a folder of texts."),
                    );
                }
                self.phase = Phase::Read(0);
                let names: Vec<_> = self.files.iter().take(FILES_TOLD_MAX).map(|file| documents::shown(file)).collect();
                Some(step(
                    "tool_executing",
                    format!("Found {}", counted(self.files.len(), "document")),
                    json!({
                        "tool": "list_files", "files": self.files.len(), "names": names,
                    }),
                ))
            }
            Phase::Read(at) => Some(self.read(at)),
            Phase::Rank => {
                let found = self.index.rank(&self.asked).len();
                if found == 0 {
                    let words = self.distinct().join(", ");
                    return Some(self.nothing(&format!("None of the documents speaks of: {words}.")));
                }
                self.phase = Phase::Passage(0);
                let weights = self.index.weights(&self.asked);
                Some(step(
                    "agent.step_completed",
                    format!("{found} of {} speak of it", counted(self.index.len(), "section")),
                    json!({
                        "step": "rank", "sections": self.index.len(), "matching": found, "weights": weights, "files_unread": self.unread,
                    }),
                ))
            }
            Phase::Passage(at) => {
                let (step, more) = {
                    let ranked = self.index.rank(&self.asked);
                    (ranked.get(at).map(|passage| shown_passage(passage, at)), ranked.len() > at + 1 && at + 1 < PASSAGES_MAX)
                };
                self.phase = if more { Phase::Passage(at + 1) } else { Phase::Compose };
                step
            }
            Phase::Compose => {
                self.answer = {
                    let weights = self.index.weights(&self.asked);
                    compose(&self.asked, &weights, &self.index.rank(&self.asked))
                };
                let Some(answer) = &self.answer else {
                    return Some(self.nothing("The words stand in headings or code only, and no sentence speaks of them."));
                };
                self.phase = Phase::Sentence(0);
                Some(step(
                    "agent.step_completed",
                    format!("Composing {}", counted(answer.sentences.len(), "sentence")),
                    json!({
                        "step": "compose", "sentences": answer.sentences.len(), "covered": answer.covered, "missing": answer.missing,
                    }),
                ))
            }
            Phase::Sentence(at) => {
                let sentences = self.answer.as_ref().map(|answer| answer.sentences.as_slice()).unwrap_or_default();
                self.phase = if at + 1 < sentences.len() { Phase::Sentence(at + 1) } else { Phase::End };
                let sentence = sentences.get(at)?;
                let so_far: Vec<_> = sentences[..=at].iter().map(|sentence| sentence.text.as_str()).collect();
                Some(step(
                    "partial_result",
                    sentence.text.clone(),
                    json!({
                        "kind": "sentence", "number": at + 1, "of": sentences.len(), "text": sentence.text, "file": sentence.file,
                        "line": sentence.line, "heading": sentence.heading, "answer": so_far.join(" "),
                    }),
                ))
            }
            Phase::End => {
                self.phase = Phase::Over;
                self.answer.as_ref().map(|answer| self.completed(answer))
            }
            Phase::Over => None,
        }
    }

    /// Reads one file, or all that are left once enough were told.
    fn read(&mut self, at: usize) -> Step {
        let end = if at >= FILES_TOLD_MAX { self.files.len() } else { at + 1 };
        let before = self.index.len();
        for file in &self.files[at..end] {
            match documents::read(file) {
                Ok(sections) => {
                    let name = documents::shown(file);
                    sections.into_iter().for_each(|section| self.index.add(&name, section));
                }
                Err(_) => self.unread += 1,
            }
        }
        self.phase = if end < self.files.len() { Phase::Read(end) } else { Phase::Rank };
        let ranked = self.index.rank(&self.asked);
        let best = ranked.first().map(|best| {
            json!({"file": best.file, "line": best.section.line, "heading": best.section.heading, "score": rounded(best.score)})
        });
        let what = if end == at + 1 { documents::shown(&self.files[at]) } else { counted(end - at, "further file") };
        let sections = self.index.len() - before;
        let title = format!("Read {what}: {}", counted(sections, "section"));
        step(
            "tool_executing",
            title,
            json!({
                "tool": "read_file", "file": what, "sections": sections, "read": end, "of": self.files.len(),
                "matching_so_far": ranked.len(), "best_so_far": best,
            }),
        )
    }

    fn completed(&self, answer: &Answer) -> Step {
        let mut sources: Vec<Value> = Vec::new();
        for sentence in &answer.sentences {
            let source = json!({"file": sentence.file, "line": sentence.line, "heading": sentence.heading});
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        let text: Vec<_> = answer.sentences.iter().map(|sentence| sentence.text.as_str()).collect();
        let files: BTreeSet<&str> = answer.sentences.iter().map(|sentence| sentence.file.as_str()).collect();
        let missing = if answer.missing.is_empty() {
            String::new()
        } else {
            format!(" It found nothing on: {}.", answer.missing.join(", "))
        };
        let rationale = format!(
            "The best of {} by BM25, from {}; they speak of {} of {}.{missing}",
            counted(self.index.len(), "section"),
            files.into_iter().collect::<Vec<_>>().join(", "),
            answer.covered.len(),
            counted(self.distinct().len(), "asked word"),
        );
        let confidence = (answer.confidence * 100.0).round() / 100.0;
        let title = format!("Answered from {}, confidence {:.0} %", counted(sources.len(), "place"), confidence * 100.0);
        let severity = if confidence < 0.4 { Severity::Warning } else { Severity::Info };
        Step {
            severity,
            ..step(
                "agent.completed",
                title,
                json!({
                    "action": "answered", "question": self.question, "answer": text.join(" "), "rationale": rationale,
                    "confidence": confidence, "sources": sources,
                }),
            )
        }
    }

    /// Ends the work without an answer, and says why.
    fn nothing(&mut self, why: &str) -> Step {
        self.phase = Phase::Over;
        Step {
            severity: Severity::Warning,
            ..step(
                "agent.error",
                "No answer found".to_owned(),
                json!({
                    "action": "none", "question": self.question, "message": why, "rationale": why, "confidence": 0.0, "sources": [],
                }),
            )
        }
    }

    fn distinct(&self) -> Vec<&str> {
        let distinct: BTreeSet<&str> = self.asked.iter().map(String::as_str).collect();
        distinct.into_iter().collect()
    }
}

fn step(kind: &'static str, title: String, data: Value) -> Step {
    Step { kind, title: brief(&title), severity: Severity::Info, data }
}

fn shown_passage(passage: &Ranked<'_>, at: usize) -> Step {
    let excerpt: String = passage.section.lines.join(" ").trim().chars().take(EXCERPT_CHARS_MAX).collect();
    let heading = if passage.section.heading.is_empty() { "(opening)" } else { &passage.section.heading };
    let title = format!("{}. {heading} ({}:{})", at + 1, passage.file, passage.section.line);
    step(
        "partial_result",
        title,
        json!({
            "kind": "passage", "rank": at + 1, "file": passage.file, "line": passage.section.line,
            "heading": passage.section.heading, "excerpt": excerpt, "score": rounded(passage.score),
        }),
    )
}

fn rounded(score: f64) -> f64 {
    (score * 1000.0).round() / 1000.0
}

/// A title has room for this much.
fn brief(text: &str) -> String {
    const CHARS_MAX: usize = 110;
    match text.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(question: &str, files: &[(&str, &str)]) -> Vec<Step> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let mut research = Research::new(question, vec![folder.path().to_owned()]);
        let mut steps = Vec::new();
        while let Some(step) = research.step() {
            steps.push(step);
            assert!(steps.len() < 100, "the work must end");
        }
        assert!(research.step().is_none());
        steps
    }

    const DOCS: [(&str, &str); 2] = [
        ("a.md", "# Epochs\nAn epoch is the identity of one unbroken history. It changes whenever continuity is lost.\n"),
        ("b.md", "# Offsets\nAn offset counts the events of a history, from one.\n# Else\nNothing of interest here at all.\n"),
    ];

    #[test]
    fn a_question_is_answered_step_by_step_from_the_files() {
        let steps = work("What is an epoch?", &DOCS);
        let kinds: Vec<_> = steps.iter().map(|s| s.kind).collect();
        assert_eq!(kinds[..4], ["agent.started", "tool_executing", "tool_executing", "tool_executing"]);
        assert_eq!(kinds[kinds.len() - 2..], ["partial_result", "agent.completed"]);
        let end = &steps[steps.len() - 1];
        assert!(end.data["answer"].as_str().unwrap().starts_with("An epoch is the identity of one unbroken history."));
        assert_eq!((&end.data["sources"][0]["line"], &end.data["action"]), (&json!(2), &json!("answered")));
        let confidence = end.data["confidence"].as_f64().unwrap();
        assert!(confidence > 0.3 && confidence <= 1.0, "{confidence}");
        assert!(end.data["rationale"].as_str().unwrap().contains("a.md"));
    }

    #[test]
    fn the_same_documents_give_the_same_steps() {
        // The folder's name differs and stands in the files' names: compare what does not hold it.
        let run = || work("epoch history offset", &DOCS).into_iter().map(|s| (s.kind, s.severity)).collect::<Vec<_>>();
        assert_eq!(run(), run());
    }

    #[test]
    fn what_cannot_be_answered_says_why() {
        for (question, files, why) in [
            ("zebra crossing", &DOCS[..], "None of the documents"),
            ("what is it?", &DOCS[..], "no word"),
            ("epoch", &[][..], "no document"),
        ] {
            let steps = work(question, files);
            let end = &steps[steps.len() - 1];
            assert_eq!((end.kind, end.severity), ("agent.error", Severity::Warning));
            assert!(end.data["message"].as_str().unwrap().contains(why), "{question}: {}", end.data);
        }
    }
}
