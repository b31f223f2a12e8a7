//! The interface's documents, made from the types: OpenAPI 3.1 for HTTP, AsyncAPI 3.0 for sockets and streams.
//!
//! The documents are checked in under `docs/api` and served. A test compares all three, so that none can go its own way.

mod access;
mod admin_paths;
mod asyncapi;
mod conversation;
mod dialects;
mod openapi;
mod run_paths;
mod schema;
mod webhook_paths;

use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

pub use asyncapi::asyncapi;
pub use openapi::openapi;
pub use schema::{Envelope, FeedEvent, PublishEvent};

/// Collects the schemas that a document refers to.
struct Schemas(SchemaGenerator);

impl Schemas {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Self(settings.into_generator())
    }

    /// A reference to a type's schema.
    fn of<T: JsonSchema>(&mut self) -> Value {
        self.0.subschema_for::<T>().to_value()
    }

    /// All schemas that were referred to.
    fn finish(mut self) -> Map<String, Value> {
        self.0.take_definitions(true)
    }
}

/// A document as it is checked in and served.
#[must_use]
pub fn to_text(document: &Value) -> String {
    // A value made of maps, texts and numbers always serialises.
    let mut text = serde_json::to_string_pretty(document).unwrap_or_default();
    text.push('\n');
    text
}

fn info(title: &str, description: &str) -> Value {
    json!({
        "title": title,
        "version": env!("CARGO_PKG_VERSION"),
        "description": description,
        "license": { "name": "MIT OR Apache-2.0", "url": "https://spdx.org/licenses/MIT.html" }
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn checked_in(name: &str, document: &Value) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/api").join(format!("{name}.json"));
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            stored == to_text(document),
            "docs/api/{name}.json is out of date; make it anew with\n  cargo run -p towline -- {name} > docs/api/{name}.json"
        );
    }

    #[test]
    fn the_checked_in_documents_are_those_that_the_types_give() {
        checked_in("openapi", &openapi());
        checked_in("asyncapi", &asyncapi());
    }

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        for document in [openapi(), asyncapi()] {
            let mut found = Vec::new();
            references(&document, &mut found);
            assert!(found.len() > 10);
            for reference in found {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
            }
        }
    }
}
