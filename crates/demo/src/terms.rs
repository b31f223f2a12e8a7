//! Words as the search compares them.

/// Words that say nothing about what is asked.
const STOP_WORDS: &[&str] = &[
    "a", "about", "after", "all", "also", "an", "and", "any", "are", "as", "at", "be", "because", "been", "but", "by", "can",
    "could", "did", "do", "does", "each", "for", "from", "get", "had", "has", "have", "how", "i", "if", "in", "into", "is", "it",
    "its", "me", "my", "no", "not", "of", "on", "one", "or", "our", "out", "should", "so", "some", "such", "tell", "than",
    "that", "the", "their", "them", "then", "there", "these", "they", "this", "to", "up", "us", "use", "was", "we", "were",
    "what", "when", "where", "which", "while", "who", "why", "will", "with", "would", "you", "your",
];

/// The terms of a text in their order, repetitions included: words in lower case, without stop words, reduced to a stem.
pub fn terms(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .filter(|word| !STOP_WORDS.contains(&word.as_str()) && (word.chars().count() > 1 || word.chars().all(char::is_numeric)))
        .map(|word| stem(&word))
        .collect()
}

/// Cuts the commonest English endings, so that `subscriptions` finds `subscription` and `replayed` finds `replay`. It need not be a word:
/// both sides are cut alike.
fn stem(word: &str) -> String {
    if let Some(rest) = word.strip_suffix("ies") {
        return format!("{rest}y");
    }
    for ending in ["ations", "ation", "ings", "ing", "ed", "es", "e", "s"] {
        if let Some(rest) = word.strip_suffix(ending)
            && rest.chars().count() >= 4
        {
            return rest.to_owned();
        }
    }
    word.strip_suffix('s').filter(|rest| rest.len() >= 3).unwrap_or(word).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_word_meet_and_filler_is_left_out() {
        assert_eq!(terms("What happens to the Replayed replay?"), ["happen", "replay", "replay"]);
        for (one, other) in [("subscriptions", "subscription"), ("durable", "durables"), ("logs", "log"), ("retries", "retry")] {
            assert_eq!(terms(one), terms(other), "{one} {other}");
        }
        assert_eq!(terms("code 4401, größe"), ["code", "4401", "größ"]);
        assert!(terms("what is it, and why?").is_empty());
    }
}
