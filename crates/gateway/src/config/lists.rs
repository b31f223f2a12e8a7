//! The settings that are lists of tables and stand only in the file: `[[auth.issuers]]`, `[[auth.rules]]`, `[[log.topics]]`.

use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;
use towline_auth::{GrantCondition, GrantRule, IssuerConfig, SigningAlgorithm};
use towline_log::{Durability, Retention, TopicPolicy};
use towline_protocol::TopicPattern;

use super::load::scalar;
use super::problem::{Problem, Source, nearest};
use super::sections::log::{LogSettings, TopicRule};
use super::value::Value;
use super::{Config, Given};

/// Their keys.
pub const KEYS: [&str; 3] = ["auth.issuers", "auth.rules", "log.topics"];

/// One table of a list, not yet understood.
pub(super) struct ListEntry {
    key: String,
    source: Source,
    fields: Vec<(String, Option<Given>)>,
    is_table: bool,
}

impl ListEntry {
    pub(super) fn new(key: &str, value: &Spanned<DeValue<'_>>, source: Source) -> Self {
        let table = value.get_ref().as_table();
        let fields = table.into_iter().flat_map(|table| table.iter());
        let fields = fields.map(|(name, value)| (name.get_ref().to_string(), given(value.get_ref()))).collect();
        Self { key: key.to_owned(), source, fields, is_table: table.is_some() }
    }
}

fn given(value: &DeValue<'_>) -> Option<Given> {
    match value {
        DeValue::Array(values) => values.iter().map(|value| scalar(value.get_ref())).collect::<Option<_>>().map(Given::List),
        other => scalar(other).map(Given::Text),
    }
}

/// Adds the entries to the configuration. A list in the file replaces the list that was the default.
pub(super) fn apply(entries: &[ListEntry], config: &mut Config, problems: &mut Vec<Problem>) {
    if entries.iter().any(|entry| entry.key == "auth.rules") {
        config.auth.rules.clear();
    }
    for entry in entries {
        let mut fields = Fields { entry, taken: Vec::new(), wrong: Vec::new() };
        if entry.is_table {
            match entry.key.as_str() {
                "auth.issuers" => config.auth.issuers.extend(issuer(&mut fields)),
                "auth.rules" => config.auth.rules.extend(rule(&mut fields)),
                _ => {
                    let rule = topic(&mut fields, &config.log);
                    config.log.topics.extend(rule);
                }
            }
            fields.no_others();
        } else {
            fields.wrong.push((String::new(), "expected a table".to_owned()));
        }
        problems.extend(fields.wrong.into_iter().map(|(name, message)| Problem {
            key: if name.is_empty() { entry.key.clone() } else { format!("{}.{name}", entry.key) },
            source: entry.source.clone(),
            message,
        }));
    }
}

/// Takes the fields of one table and collects what is wrong with them.
struct Fields<'a> {
    entry: &'a ListEntry,
    taken: Vec<&'static str>,
    wrong: Vec<(String, String)>,
}

impl Fields<'_> {
    fn optional<T: Value>(&mut self, name: &'static str) -> Option<T> {
        self.taken.push(name);
        let (_, given) = self.entry.fields.iter().find(|(field, _)| field == name)?;
        let value = match given {
            Some(Given::Text(text)) => T::read(text),
            Some(Given::List(texts)) => T::read_list(texts),
            None => None,
        };
        if value.is_none() {
            self.wrong.push((name.to_owned(), format!("expected {}", T::EXPECTED)));
        }
        value
    }

    fn required<T: Value>(&mut self, name: &'static str) -> Option<T> {
        if !self.has(name) {
            self.taken.push(name);
            self.wrong.push((name.to_owned(), format!("is missing; expected {}", T::EXPECTED)));
            return None;
        }
        self.optional(name)
    }

    fn has(&self, name: &str) -> bool {
        self.entry.fields.iter().any(|(field, _)| field == name)
    }

    fn no_others(&mut self) {
        for (name, _) in &self.entry.fields {
            if !self.taken.contains(&name.as_str()) {
                let near = nearest(name, self.taken.iter().copied());
                let hint = near
                    .map_or_else(|| format!("; known are {}", self.taken.join(", ")), |near| format!("; did you mean {near}?"));
                self.wrong.push((name.clone(), format!("no such setting{hint}")));
            }
        }
    }
}

fn issuer(fields: &mut Fields<'_>) -> Option<IssuerConfig> {
    let issuer = fields.required::<String>("issuer");
    let jwks_url = fields.required::<String>("jwks_url");
    let audiences = fields.optional::<Vec<String>>("audiences").unwrap_or_default();
    let names = fields.optional::<Vec<String>>("algorithms");
    let mut config = IssuerConfig { audiences, ..IssuerConfig::new(Some(&issuer?), &jwks_url?) };
    if let Some(names) = names {
        config.algorithms.clear();
        for name in names {
            match name.parse::<SigningAlgorithm>() {
                Ok(algorithm) => config.algorithms.push(algorithm),
                Err(error) => fields.wrong.push(("algorithms".to_owned(), format!("{name:?} is not one of them: {error}"))),
            }
        }
    }
    Some(config)
}

fn rule(fields: &mut Fields<'_>) -> Option<GrantRule> {
    let subscribe = fields.optional::<Vec<String>>("subscribe").unwrap_or_default();
    let publish = fields.optional::<Vec<String>>("publish").unwrap_or_default();
    let claim = fields.optional::<String>("claim");
    let equals = fields.optional::<String>("equals");
    let contains = fields.optional::<String>("contains");
    let when = match (claim, equals, contains) {
        (None, None, None) => GrantCondition::Authenticated,
        (Some(claim), Some(value), None) => GrantCondition::ClaimEquals { claim: claim.as_str().into(), value },
        (Some(claim), None, Some(value)) => GrantCondition::ClaimContains { claim: claim.as_str().into(), value },
        _ => {
            let what =
                "a condition is `claim` with either `equals` or `contains`; leave all three out for everybody with a token";
            fields.wrong.push(("claim".to_owned(), what.to_owned()));
            return None;
        }
    };
    if subscribe.is_empty() && publish.is_empty() {
        fields
            .wrong
            .push(("subscribe".to_owned(), "the rule grants nothing; give topics in `subscribe` or `publish`".to_owned()));
    }
    Some(GrantRule { when, subscribe, publish })
}

fn topic(fields: &mut Fields<'_>, log: &LogSettings) -> Option<TopicRule> {
    let pattern = fields.required::<TopicPattern>("pattern");
    let durability = fields.optional::<Durability>("durability").unwrap_or(log.durability);
    let retention = Retention {
        age_max: fields.optional::<Option<Duration>>("age").unwrap_or(log.retention.age_max),
        events_max: fields.optional::<Option<u64>>("events").unwrap_or(log.retention.events_max),
        bytes_max: fields.optional::<Option<u64>>("bytes").unwrap_or(log.retention.bytes_max),
    };
    Some(TopicRule { pattern: pattern?, policy: TopicPolicy { durability, retention } })
}

impl Value for TopicPattern {
    const EXPECTED: &'static str = "a topic such as system, a prefix such as thread:*, or * for all";

    fn read(text: &str) -> Option<Self> {
        Self::new(text.trim()).ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}
