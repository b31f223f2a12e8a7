//! What the application answers, read strictly: what is not clearly yes is no answer.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use towline_protocol::TopicPattern;

/// Patterns that one answer may add; each is looked at for each topic that the user asks for.
const TOPICS_MAX: usize = 64;
/// An answer says yes or no and names some topics.
pub(super) const BODY_BYTES_MAX: usize = 64 << 10;

/// Yes or no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether it may be done.
    pub allow: bool,
    /// For how long the answer holds, if it says so.
    pub ttl: Option<Duration>,
    /// Topics that the user may watch besides; only where the question was whether they may be here.
    pub topics: Arc<[TopicPattern]>,
}

/// It is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is not a JSON object with a boolean `allow`.
    #[error("it is not a JSON object with `allow`: true or false")]
    Shape,
    /// `ttl_s` is negative or no number.
    #[error("`ttl_s` is not a number of seconds")]
    Ttl,
    /// `topics` has a text that is no pattern, or too many.
    #[error("`topics` is not a list of at most 64 topic patterns")]
    Topics,
}

/// Members that are not known are passed over, so that applications may say more.
#[derive(Deserialize)]
struct Body {
    allow: bool,
    #[serde(default)]
    ttl_s: Option<f64>,
    #[serde(default)]
    topics: Vec<String>,
}

impl Answer {
    /// Reads an answer. Total: any bytes give an answer or a reason.
    ///
    /// # Errors
    /// [`AnswerError`] if it is none.
    pub fn read(body: &[u8]) -> Result<Self, AnswerError> {
        // JSON is UTF-8 throughout; read from bytes, it would be checked only where a field is looked at.
        let body = std::str::from_utf8(body).map_err(|_| AnswerError::Shape)?;
        // serde would also read an array as a struct.
        if !body.trim_ascii_start().starts_with('{') {
            return Err(AnswerError::Shape);
        }
        let body: Body = serde_json::from_str(body).map_err(|_| AnswerError::Shape)?;
        let ttl = body.ttl_s.map(Duration::try_from_secs_f64).transpose().map_err(|_| AnswerError::Ttl)?;
        if body.topics.len() > TOPICS_MAX {
            return Err(AnswerError::Topics);
        }
        let topics: Result<Arc<[_]>, _> = body.topics.iter().map(|topic| TopicPattern::new(topic)).collect();
        Ok(Self { allow: body.allow, ttl, topics: topics.map_err(|_| AnswerError::Topics)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_answer_is_one() {
        let yes = Answer::read(br#" {"allow": true, "ttl_s": 1.5, "topics": ["thread:*"], "more": [1]} "#).unwrap();
        assert_eq!((yes.allow, yes.ttl, yes.topics.len()), (true, Some(Duration::from_millis(1500)), 1));
        let no = Answer::read(br#"{"allow":false}"#).unwrap();
        assert_eq!((no.allow, no.ttl, no.topics.len()), (false, None, 0));
        for (bad, why) in [
            ("", AnswerError::Shape),
            ("true", AnswerError::Shape),
            ("[true]", AnswerError::Shape),
            ("[true, 1, []]", AnswerError::Shape),
            ("{}", AnswerError::Shape),
            (r#"{"allow":"true"}"#, AnswerError::Shape),
            (r#"{"allow":1}"#, AnswerError::Shape),
            (r#"{"allow":null}"#, AnswerError::Shape),
            (r#"{"allow":false,"allow":true}"#, AnswerError::Shape),
            (r#"{"allow":true} x"#, AnswerError::Shape),
            (r#"{"allow":true,"ttl_s":"5"}"#, AnswerError::Shape),
            (r#"{"allow":true,"ttl_s":-1}"#, AnswerError::Ttl),
            (r#"{"allow":true,"ttl_s":1e300}"#, AnswerError::Ttl),
            (r#"{"allow":true,"topics":["a*b"]}"#, AnswerError::Topics),
            (r#"{"allow":true,"topics":"thread:*"}"#, AnswerError::Shape),
        ] {
            assert_eq!(Answer::read(bad.as_bytes()), Err(why), "{bad}");
        }
        // Found by fuzzing: a member that nobody looks at was not checked.
        assert_eq!(Answer::read(b"{\"allow\":true,\"more\":[\"\x9e\"]}"), Err(AnswerError::Shape));
        let many = serde_json::json!({"allow": true, "topics": vec!["t"; 65]}).to_string();
        assert_eq!(Answer::read(many.as_bytes()), Err(AnswerError::Topics));
    }
}
