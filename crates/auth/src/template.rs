//! Topic patterns with placeholders for what a token says, such as `project:{tenant}:*`.
//!
//! A filled placeholder has no wildcard and no separator in it, and ends at a separator or at the end, so that a value can neither widen
//! a pattern nor run into what follows.

use towline_protocol::TopicPattern;

use crate::claims::{ClaimPath, Claims, scalar_text, substitutable};

/// A pattern whose placeholders are filled when a topic is compared, so that it need not be copied for each identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Box<[Part]>,
    open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    Subject,
    Organisation,
    /// Filled from the token when the identity is made; never left in an identity's grants.
    Claim(ClaimPath),
}

impl Template {
    /// Reads a pattern with placeholders.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn parse(pattern: &str) -> Result<Self, String> {
        let (mut rest, open) = match pattern.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (pattern, false),
        };
        let mut parts = Vec::new();
        let mut sample = String::new();
        while let Some((literal, tail)) = rest.split_once('{') {
            let (name, tail) = tail.split_once('}').ok_or("a placeholder's `{` has no `}`")?;
            if name.is_empty() {
                return Err("a placeholder `{}` names no claim".to_owned());
            }
            if !(tail.starts_with([':', '/']) || tail.is_empty() && !open) {
                return Err(format!("after {{{name}}} the pattern must end or go on with `:` or `/`"));
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.into()));
            }
            parts.push(match name {
                "sub" => Part::Subject,
                "org" | "org_id" => Part::Organisation,
                claim => Part::Claim(claim.into()),
            });
            sample.push_str(literal);
            sample.push('x');
            rest = tail;
        }
        sample.push_str(rest);
        if open {
            sample.push('*');
        }
        TopicPattern::new(&sample).map_err(|error| error.to_string())?;
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.into()));
        }
        Ok(Self { parts: parts.into(), open })
    }

    pub(crate) fn from_pattern(pattern: &TopicPattern) -> Self {
        let text = pattern.to_string();
        let (prefix, open) = match text.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (&*text, false),
        };
        Self { parts: [Part::Literal(prefix.into())].into(), open }
    }

    pub(crate) fn needs_claims(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Claim(_)))
    }

    /// The template with the token's values in place of claims. None if a claim is missing or may not stand in a topic.
    pub(crate) fn filled(&self, claims: &Claims) -> Option<Self> {
        let fill = |part: &Part| match part {
            Part::Claim(path) => claims.at(path).and_then(scalar_text).filter(|text| substitutable(text)).map(Part::Literal),
            other => Some(other.clone()),
        };
        Some(Self { parts: self.parts.iter().map(fill).collect::<Option<_>>()?, open: self.open })
    }

    /// Whether `topic` is among those named for somebody with this subject and organisation.
    pub(crate) fn matches(&self, topic: &str, subject: &str, org: Option<&str>) -> bool {
        let mut rest = topic;
        for part in &self.parts {
            let text = match part {
                Part::Literal(text) => Some(&**text),
                Part::Subject => Some(subject).filter(|subject| substitutable(subject)),
                Part::Organisation => org,
                Part::Claim(_) => None,
            };
            match text.and_then(|text| rest.strip_prefix(text)) {
                Some(tail) => rest = tail,
                None => return false,
            }
        }
        self.open != rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, topic: &str, subject: &str) -> bool {
        Template::parse(pattern).unwrap().matches(topic, subject, Some("o1"))
    }

    #[test]
    fn placeholders_are_filled_when_a_topic_is_compared() {
        assert!(matches("inbox:{sub}", "inbox:u1", "u1"));
        assert!(!matches("inbox:{sub}", "inbox:u12", "u1"));
        assert!(matches("org:{org_id}:user:{sub}:*", "org:o1:user:u1:x", "u1"));
        assert!(!matches("org:{org_id}:user:{sub}:*", "org:o1:user:u1:", "u1"));
        assert!(matches("*", "anything", "u1"));
    }

    #[test]
    fn a_subject_with_a_separator_fills_no_pattern() {
        assert!(!matches("room/{sub}/*", "room/a/b/c", "a/b"));
        assert!(!matches("room/{sub}", "room/a/b", "a/b"));
    }

    #[test]
    fn a_pattern_in_which_a_value_could_run_on_is_refused() {
        for bad in ["user:{sub}*", "{sub}{org_id}", "x:{sub}-{org_id}", "{", "{}", "a{sub", "a b", "a*{sub}", ""] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
        for good in ["*", "system", "{sub}", "x:{a.b}:y:*", "{org}/{sub}/*"] {
            assert!(Template::parse(good).is_ok(), "{good}");
        }
    }
}
