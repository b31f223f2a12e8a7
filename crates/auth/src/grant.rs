//! Which topics an identity is granted: rules from configuration and patterns from claims, compiled once and shared.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use serde_json::Value;
use towline_protocol::TopicPattern;

use crate::claims::{ClaimPath, Claims};
use crate::config::ClaimNames;
use crate::error::InvalidReason;
use crate::identity::Identity;
use crate::template::Template;

/// The most rules that may be configured: the rules that apply to an identity are one bit each in a `u64`.
pub(crate) const RULES_MAX: usize = 64;
/// The most patterns that one claim may grant; each is looked at for each topic the identity asks for.
const CLAIM_PATTERNS_MAX: usize = 64;
/// The most combinations of rules that are kept for sharing: at most a few hundred KiB. Others are built per identity.
const SHARED_MAX: usize = 1024;

/// Grants topics to whoever holds a token that meets a condition.
///
/// Patterns are topic patterns in which `{sub}`, `{org_id}` and `{any.claim}` stand for the token's values: `project:{tenant}:*`.
/// A value with a wildcard or a separator in it grants nothing. After a placeholder a pattern ends or goes on with `:` or `/`, so that no
/// value can run into what follows it.
#[derive(Debug, Clone)]
pub struct GrantRule {
    /// For whom.
    pub when: GrantCondition,
    /// What they may watch.
    pub subscribe: Vec<String>,
    /// What they may publish on.
    pub publish: Vec<String>,
}

/// Whom a [`GrantRule`] is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantCondition {
    /// Everybody with a valid token.
    Authenticated,
    /// The claim is this text, number or boolean.
    ClaimEquals {
        /// Which claim.
        claim: ClaimPath,
        /// Its value as text.
        value: String,
    },
    /// The claim is a list with this text in it, or a text with this word in it (as OAuth's `scope`).
    ClaimContains {
        /// Which claim.
        claim: ClaimPath,
        /// The element or word.
        value: String,
    },
}

impl GrantCondition {
    fn met_by(&self, claims: &Claims) -> bool {
        match self {
            Self::Authenticated => true,
            Self::ClaimEquals { claim, value } => match claims.at(claim) {
                Some(Value::String(text)) => text == value,
                Some(other @ (Value::Number(_) | Value::Bool(_))) => other.to_string().as_str() == value,
                _ => false,
            },
            Self::ClaimContains { claim, value } => match claims.at(claim) {
                Some(Value::Array(list)) => list.iter().any(|item| item.as_str() == Some(value)),
                Some(Value::String(words)) => words.split_ascii_whitespace().any(|word| word == value),
                _ => false,
            },
        }
    }
}

/// What some identities may do. Plain users under the same rules share one.
#[derive(Default)]
pub(crate) struct Grants {
    subscribe: Vec<Template>,
    publish: Vec<Template>,
}

impl Grants {
    pub(crate) fn from_patterns(subscribe: &[TopicPattern], publish: &[TopicPattern]) -> Self {
        let templates = |patterns: &[TopicPattern]| patterns.iter().map(Template::from_pattern).collect();
        Self { subscribe: templates(subscribe), publish: templates(publish) }
    }

    pub(crate) fn subscribe(&self, topic: &str, who: &Identity) -> bool {
        self.subscribe.iter().any(|template| template.matches(topic, &who.subject, who.org.as_deref()))
    }

    pub(crate) fn publish(&self, topic: &str, who: &Identity) -> bool {
        self.publish.iter().any(|template| template.matches(topic, &who.subject, who.org.as_deref()))
    }
}

/// All rules, compiled, and the grants they lead to.
pub(crate) struct RuleBook {
    rules: Vec<CompiledRule>,
    claim_names: ClaimNames,
    /// Grants in use, by what they follow from. Only those that need no other claim of the token.
    shared: Mutex<HashMap<Origin, Arc<Grants>>>,
}

/// What grants follow from.
#[derive(PartialEq, Eq, Hash)]
struct Origin {
    /// The rules that apply, one bit each.
    rules: u64,
    /// The patterns that the token's own claims name.
    subscribe: Vec<TopicPattern>,
    publish: Vec<TopicPattern>,
}

struct CompiledRule {
    when: GrantCondition,
    subscribe: Vec<Template>,
    publish: Vec<Template>,
}

impl RuleBook {
    /// Compiles the rules; `problem` hears of each that cannot be.
    pub(crate) fn new(rules: &[GrantRule], claim_names: &ClaimNames, mut problem: impl FnMut(String, String)) -> Self {
        if rules.len() > RULES_MAX {
            problem("rules".to_owned(), format!("at most {RULES_MAX} rules are supported, not {}", rules.len()));
        }
        let mut compile = |patterns: &[String], place: String| -> Vec<Template> {
            let mut templates = Vec::with_capacity(patterns.len());
            for pattern in patterns {
                match Template::parse(pattern) {
                    Ok(template) => templates.push(template),
                    Err(why) => problem(place.clone(), format!("{pattern:?}: {why}")),
                }
            }
            templates
        };
        let rules = rules.iter().take(RULES_MAX).enumerate().map(|(i, rule)| CompiledRule {
            when: rule.when.clone(),
            subscribe: compile(&rule.subscribe, format!("rules[{i}].subscribe")),
            publish: compile(&rule.publish, format!("rules[{i}].publish")),
        });
        Self { rules: rules.collect(), claim_names: claim_names.clone(), shared: Mutex::new(HashMap::new()) }
    }

    /// What the holder of a token is granted beyond its own topics.
    ///
    /// # Errors
    /// [`InvalidReason::GrantClaim`] if a claim that grants topics is not a list of patterns.
    pub(crate) fn grants_for(&self, claims: &Claims) -> Result<Arc<Grants>, InvalidReason> {
        let subscribe = claimed_patterns(claims, &self.claim_names.subscribe)?;
        let publish = claimed_patterns(claims, &self.claim_names.publish)?;
        let mut applying = 0u64;
        let mut shareable = true;
        for (bit, rule) in self.rules.iter().enumerate() {
            if rule.when.met_by(claims) {
                applying |= 1 << bit;
                shareable &= !rule.subscribe.iter().chain(&rule.publish).any(Template::needs_claims);
            }
        }
        let origin = Origin { rules: applying, subscribe, publish };
        if shareable && let Some(grants) = self.shared.lock().get(&origin) {
            return Ok(Arc::clone(grants));
        }
        let mut grants = Grants::from_patterns(&origin.subscribe, &origin.publish);
        for rule in self.rules.iter().enumerate().filter(|(bit, _)| applying >> bit & 1 == 1).map(|(_, rule)| rule) {
            grants.subscribe.extend(rule.subscribe.iter().filter_map(|template| template.filled(claims)));
            grants.publish.extend(rule.publish.iter().filter_map(|template| template.filled(claims)));
        }
        let grants = Arc::new(grants);
        if shareable {
            let mut shared = self.shared.lock();
            if shared.len() >= SHARED_MAX {
                // Those of identities that are gone make room.
                shared.retain(|_, grants| Arc::strong_count(grants) > 1);
            }
            if shared.len() < SHARED_MAX {
                shared.insert(origin, Arc::clone(&grants));
            }
        }
        Ok(grants)
    }
}

fn claimed_patterns(claims: &Claims, paths: &[ClaimPath]) -> Result<Vec<TopicPattern>, InvalidReason> {
    let mut patterns = Vec::new();
    for value in paths.iter().filter_map(|path| claims.at(path)) {
        let list = value.as_array().filter(|list| list.len() <= CLAIM_PATTERNS_MAX).ok_or(InvalidReason::GrantClaim)?;
        for item in list {
            let pattern = item.as_str().and_then(|text| TopicPattern::new(text).ok());
            patterns.push(pattern.ok_or(InvalidReason::GrantClaim)?);
        }
    }
    Ok(patterns)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::identity::IdentityKind;

    fn identity(subject: &str, org: Option<&str>, grants: Arc<Grants>) -> Identity {
        Identity {
            subject: subject.into(),
            org: org.map(Into::into),
            kind: IdentityKind::User,
            expires_at_ms: None,
            token_id: None,
            issued_at_ms: None,
            signed_by: None,
            grants,
            added: None,
        }
    }

    fn book(rules: Vec<GrantRule>) -> RuleBook {
        RuleBook::new(&rules, &ClaimNames::default(), |place, why| panic!("{place}: {why}"))
    }

    fn claims(value: Value) -> Claims {
        Claims::new(value.as_object().unwrap().clone())
    }

    #[test]
    fn a_claim_value_with_a_wildcard_or_separator_never_widens_a_grant() {
        let rules = || {
            vec![GrantRule {
                when: GrantCondition::Authenticated,
                subscribe: vec!["team:{team}:*".into()],
                publish: vec!["team:{team}".into()],
            }]
        };
        for hostile in [json!("*"), json!("a:b"), json!("a/b"), json!(""), json!("x*"), json!(["a"]), json!(null), json!("a b")] {
            let grants = book(rules()).grants_for(&claims(json!({ "team": hostile }))).unwrap();
            assert!(grants.subscribe.is_empty() && grants.publish.is_empty(), "{hostile}");
        }
        let grants = book(rules()).grants_for(&claims(json!({"team": "red"}))).unwrap();
        let who = identity("u", None, grants);
        assert!(who.grants.subscribe("team:red:1", &who) && who.grants.publish("team:red", &who));
        assert!(!who.grants.subscribe("team:blue:1", &who) && !who.grants.publish("team:red:1", &who));
    }

    #[test]
    fn conditions_look_at_the_claim_they_name() {
        let equals = |value: &str| GrantCondition::ClaimEquals { claim: "role".into(), value: value.into() };
        let contains = |value: &str| GrantCondition::ClaimContains { claim: "role".into(), value: value.into() };
        assert!(equals("admin").met_by(&claims(json!({"role": "admin"}))));
        assert!(equals("true").met_by(&claims(json!({"role": true}))));
        assert!(!equals("admin").met_by(&claims(json!({"role": ["admin"]}))));
        assert!(contains("admin").met_by(&claims(json!({"role": ["user", "admin"]}))));
        assert!(contains("admin").met_by(&claims(json!({"role": "user admin"}))));
        assert!(!contains("admin").met_by(&claims(json!({"role": "administrator"}))));
        assert!(!contains("admin").met_by(&claims(json!({}))));
    }

    #[test]
    fn identities_under_the_same_rules_share_their_grants() {
        let rule = GrantRule { when: GrantCondition::Authenticated, subscribe: vec!["inbox:{sub}".into()], publish: vec![] };
        let book = book(vec![rule]);
        let first = book.grants_for(&claims(json!({"sub": "a"}))).unwrap();
        let second = book.grants_for(&claims(json!({"sub": "b"}))).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        let special = book.grants_for(&claims(json!({"sub": "b", "topics": ["news:*"]}))).unwrap();
        assert!(!Arc::ptr_eq(&first, &special));
    }

    #[test]
    fn a_grant_claim_that_is_no_list_of_patterns_is_refused() {
        let book = book(vec![]);
        for bad in [json!("news"), json!([1]), json!(["a*b"]), json!(["a b"]), json!(vec!["t"; 65]), json!({"x": 1})] {
            assert_eq!(book.grants_for(&claims(json!({ "topics": bad }))).err(), Some(InvalidReason::GrantClaim), "{bad}");
        }
        let grants = book.grants_for(&claims(json!({"towline": {"subscribe": ["a:*"], "publish": ["b"]}}))).unwrap();
        assert_eq!((grants.subscribe.len(), grants.publish.len()), (1, 1));
    }
}
