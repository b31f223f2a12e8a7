//! Expected JSON with placeholders, and the names that placeholders bind.

use std::collections::BTreeMap;

use serde_json::Value;
use towline_protocol::timestamp::parse_ms;

/// What names stand for in one transcript.
#[derive(Default)]
pub struct Names(BTreeMap<String, Value>);

impl Names {
    pub fn bind(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// `name`, or `name.member`.
    fn find(&self, path: &str) -> Option<&Value> {
        match path.split_once('.') {
            None => self.0.get(path),
            Some((name, member)) => self.0.get(name)?.get(member),
        }
    }

    /// What a client sends: each `<name>` replaced by what it stands for.
    pub fn fill(&self, template: &Value) -> Value {
        match template {
            Value::String(text) => match placeholder(text) {
                None => template.clone(),
                Some(path) => self.find(path).cloned().unwrap_or_else(|| panic!("nothing is named {path:?}")),
            },
            Value::Array(list) => list.iter().map(|one| self.fill(one)).collect(),
            Value::Object(members) => members.iter().map(|(name, one)| (name.clone(), self.fill(one))).collect(),
            other => other.clone(),
        }
    }

    /// Whether what came is what was expected, member for member. `<=name>` takes whatever comes and names it.
    pub fn check(&mut self, expected: &Value, actual: &Value, place: &str) -> Result<(), String> {
        let differs = || Err(format!("{place}: expected {expected}, got {actual}"));
        match (expected, actual) {
            (Value::String(text), _) if placeholder(text).is_some() => {
                let fits = match text.as_str() {
                    "<any>" => true,
                    "<string>" => actual.as_str().is_some_and(|text| !text.is_empty()),
                    "<number>" => actual.is_number(),
                    "<time>" => actual.is_number() || actual.as_str().is_some_and(|text| parse_ms(text).is_ok()),
                    _ => {
                        let path = placeholder(text).unwrap_or_default();
                        match path.strip_prefix('=') {
                            Some(name) if !self.0.contains_key(name) => {
                                self.bind(name, actual.clone());
                                true
                            }
                            Some(name) => self.find(name) == Some(actual),
                            None => self.find(path).is_some_and(|value| same(value, actual)),
                        }
                    }
                };
                if fits { Ok(()) } else { differs() }
            }
            (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => {
                let pairs = expected.iter().zip(actual).enumerate();
                pairs.into_iter().try_for_each(|(at, (expected, actual))| self.check(expected, actual, &format!("{place}[{at}]")))
            }
            (Value::Object(expected), Value::Object(actual)) => {
                if let Some(extra) = actual.keys().find(|name| !expected.contains_key(*name)) {
                    return Err(format!("{place}: {extra:?} was not expected: {}", actual[extra]));
                }
                for (name, expected) in expected {
                    let Some(actual) = actual.get(name) else { return Err(format!("{place}: {name:?} is missing")) };
                    self.check(expected, actual, &format!("{place}.{name}"))?;
                }
                Ok(())
            }
            _ if same(expected, actual) => Ok(()),
            _ => differs(),
        }
    }
}

fn placeholder(text: &str) -> Option<&str> {
    text.strip_prefix('<')?.strip_suffix('>')
}

/// Numbers compare by value, not by how they are written.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_found() {
        let mut names = Names::default();
        names.bind("e", json!({"id": "x", "offset": 2}));
        for (expected, actual) in [
            (json!({"a": 1}), json!({"a": 2})),
            (json!({"a": 1}), json!({})),
            (json!({}), json!({"a": 1})),
            (json!([1, 2]), json!([1])),
            (json!("<string>"), json!("")),
            (json!("<number>"), json!("1")),
            (json!("<time>"), json!("soon")),
            (json!("<e.id>"), json!("y")),
            (json!("<nobody>"), json!("y")),
        ] {
            assert!(names.check(&expected, &actual, "").is_err(), "{expected} {actual}");
        }
        names.check(&json!(["<=first>", "<first>"]), &json!(["a", "a"]), "").unwrap();
        assert!(names.check(&json!(["<=other>", "<other>"]), &json!(["a", "b"]), "").is_err());
        names
            .check(&json!({"id": "<e.id>", "n": "<e.offset>", "t": "<time>"}), &json!({"id": "x", "n": 2.0, "t": 1}), "")
            .unwrap();
        assert_eq!(names.fill(&json!({"a": ["<e.offset>"], "b": "<"})), json!({"a": [2], "b": "<"}));
    }
}
