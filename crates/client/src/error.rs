//! What can go wrong before or beside a subscription.

use std::time::Duration;

use towline_protocol::ErrorBody;
use towline_protocol::topic::TopicError;

use crate::token::TokenError;

/// The client cannot be built or the request cannot be made: change the arguments.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The address is not one of a server.
    #[error("{0:?} is not a server's address; give one like http://127.0.0.1:8080 or https://towline.example.com")]
    BadAddress(String),
    /// The credential cannot stand in a header.
    #[error("the token holds characters that a header cannot carry")]
    BadToken,
    /// The authorities that servers are judged by cannot be read.
    #[error("the authorities' certificates cannot be used: {0}")]
    BadAuthorities(String),
    /// A topic's name breaks the rules.
    #[error("topic {name:?}: {source}")]
    BadTopic {
        /// As it was given.
        name: String,
        /// The rule.
        source: TopicError,
    },
    /// No topic was given.
    #[error("give at least one topic")]
    NoTopics,
    /// The HTTP client could not be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Http(#[from] reqwest::Error),
}

/// A publish did not come through as a whole. What the server stored before stays stored; publishing the same events again is safe,
/// because they keep their ids.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The credential was refused. Do not repeat with the same one.
    #[error("not allowed to publish: {}", .0.message)]
    Denied(ErrorBody),
    /// The server refused the request as a whole, for a reason that repeating does not heal.
    #[error("the server refused the request with status {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// For people.
        message: String,
    },
    /// The server could not be reached, or could not answer, in all the time given.
    #[error("the server could not take the events within {waited:?}: {last}")]
    Unreachable {
        /// How long was tried.
        waited: Duration,
        /// What happened last.
        last: String,
    },
    /// The answer is not one of a Towline server.
    #[error("the server's answer cannot be understood: {0}")]
    BadAnswer(String),
    /// The token source failed for good.
    #[error(transparent)]
    Token(#[from] TokenError),
}
