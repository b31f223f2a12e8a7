//! The dashboard and the alert rules that are checked in: every query is PromQL, and asks for metrics and labels that a gateway in use has.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{Expr, LabelModifier, VectorSelector};
use serde_json::{Value, json};
use towline_auth::Secret;
use towline_harness::{PATIENCE, Receiver, Reply, SERVICE_KEY, eventually};

const DASHBOARD: &str = include_str!("../../../../deploy/grafana/towline.json");
const ALERTS: &str = include_str!("../../../../deploy/prometheus/alerts.yml");
const RUNBOOK: &str = include_str!("../../../../docs/operations.md");

const ADMIN: &str = "harness-admin-key-0123456789";

/// Given by Prometheus itself.
const FOREIGN_LABELS: [&str; 2] = ["instance", "job"];
const FOREIGN_METRICS: [&str; 1] = ["up"];

/// The names, and of each its labels with their values.
type Scraped = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// What the gateway says after everything that a dashboard shows has happened to it.
async fn scraped() -> Scraped {
    let receiver = Receiver::start(|_| Reply::Status(204)).await;
    let gateway = crate::webhook::gateway(&receiver, |_| {})
        .config(|config| config.admin.keys_full = vec![Secret::new(ADMIN)])
        .start()
        .await;
    crate::webhook::send(gateway.log(), "alice", 0..1).await;
    eventually("a message was handed over", || async {
        gateway.metric("towline_webhook_calls_total{outcome=\"delivered\"}").await >= 1.0
    })
    .await;
    let mut native = gateway.connect("alice").await;
    native.subscribe(json!(["user:alice"])).await;
    native.request("dance", json!({})).await;
    let stored = gateway.publish_numbered("user:alice", 0, 30).await;
    native.expect_events(30).await;
    let position = json!({"epoch": stored[0].epoch, "offset": stored[0].offset});
    native.subscribe(json!([{"topic": "user:alice", "from": position}])).await;
    native.expect_events(29).await;
    native.expect("caught_up", PATIENCE).await;
    let mut stream = gateway.stream("/api/v1/stream?topics=user:alice", gateway.token("alice"), None).await.ok().unwrap();
    stream.expect("welcome", PATIENCE).await;
    assert_eq!(gateway.get("/ws/config", "").await.0, 200);
    assert_eq!(gateway.get("/api/v1/agents/events", "not-a-credential").await.0, 401);
    assert_eq!(gateway.post_events("", r#"{"topic":"no such","type":"x"}"#).await.0, 400);
    assert!(gateway.native().bearer(SERVICE_KEY).origin("https://evil.example").try_open().await.is_err());
    assert_eq!(gateway.post("/api/v1/tickets", gateway.token("alice"), &json!({})).await.0, 200);
    assert_eq!(gateway.post("/api/v1/admin/revocations", ADMIN, &json!({"user_id": "mallory"})).await.0, 200);
    assert_eq!(gateway.get("/api/v1/agents/events", gateway.token("mallory")).await.0, 401);
    // What a gateway with TLS says; those without have no such line.
    gateway.server().shared().metrics.tls.certificate_expires(2_000_000_000_000);
    native.close().await;
    drop(stream);
    eventually("the ends were counted", || async {
        gateway.metric("towline_connection_seconds_count{door=\"native\"}").await >= 1.0
    })
    .await;
    read(&gateway.metrics().await)
}

fn read(text: &str) -> Scraped {
    let mut scraped = Scraped::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let metric = scraped.entry(name.to_owned()).or_default();
        for pair in labels.trim_end_matches('}').split("\",").filter(|pair| !pair.is_empty()) {
            let (label, value) = pair.split_once("=\"").unwrap();
            metric.entry(label.to_owned()).or_default().insert(value.trim_end_matches('"').to_owned());
        }
    }
    scraped
}

/// Each query with where it stands.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            found.push((format!("panel {}", panel["title"]), target["expr"].as_str().unwrap().to_owned()));
        }
    }
    assert!(found.len() > 50, "the dashboard's queries were not found");
    let variable = dashboard["templating"]["list"][1]["definition"].as_str().unwrap();
    let metric = variable.strip_prefix("label_values(").and_then(|rest| rest.split(',').next()).unwrap();
    found.push(("the variable `instance`".to_owned(), metric.to_owned()));
    for (name, query) in alerts() {
        found.push((format!("alert {name}"), query));
    }
    found
}

fn alerts() -> Vec<(String, String)> {
    let values = |key: &str| -> Vec<String> {
        ALERTS.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix(key)).map(str::to_owned).collect()
    };
    let (names, queries) = (values("alert: "), values("expr: "));
    assert_eq!(names.len(), queries.len());
    assert!(names.len() > 10, "the alerts were not found");
    names.into_iter().zip(queries).collect()
}

/// Checks an expression; gives the labels that its result has, if it is known.
fn check(expr: &Expr, scraped: &Scraped, wrong: &mut Vec<String>) {
    match expr {
        Expr::VectorSelector(selector) => check_selector(selector, scraped, wrong),
        Expr::MatrixSelector(selector) => check_selector(&selector.vs, scraped, wrong),
        Expr::Call(call) => call.args.args.iter().for_each(|argument| check(argument, scraped, wrong)),
        Expr::Paren(inner) => check(&inner.expr, scraped, wrong),
        Expr::Unary(inner) => check(&inner.expr, scraped, wrong),
        Expr::Subquery(inner) => check(&inner.expr, scraped, wrong),
        Expr::Binary(binary) => {
            check(&binary.lhs, scraped, wrong);
            check(&binary.rhs, scraped, wrong);
        }
        Expr::Aggregate(aggregate) => {
            check(&aggregate.expr, scraped, wrong);
            let mut names = Vec::new();
            collect(&aggregate.expr, &mut names);
            if let Some(LabelModifier::Include(labels)) = &aggregate.modifier {
                for label in labels.labels.iter().filter(|label| !FOREIGN_LABELS.contains(&label.as_str())) {
                    let known = names.iter().filter_map(|name| scraped.get(name)).any(|metric| metric.contains_key(label));
                    if !known {
                        wrong.push(format!("none of {names:?} has the label {label}"));
                    }
                }
            }
        }
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => {}
        other => wrong.push(format!("nobody checks {other}")),
    }
}

/// The metrics below an expression.
fn collect(expr: &Expr, names: &mut Vec<String>) {
    match expr {
        Expr::VectorSelector(selector) => names.extend(selector.name.clone()),
        Expr::MatrixSelector(selector) => names.extend(selector.vs.name.clone()),
        Expr::Call(call) => call.args.args.iter().for_each(|argument| collect(argument, names)),
        Expr::Paren(inner) => collect(&inner.expr, names),
        Expr::Binary(binary) => {
            collect(&binary.lhs, names);
            collect(&binary.rhs, names);
        }
        _ => {}
    }
}

fn check_selector(selector: &VectorSelector, scraped: &Scraped, wrong: &mut Vec<String>) {
    let name = selector.name.clone().unwrap_or_default();
    if FOREIGN_METRICS.contains(&name.as_str()) {
        return;
    }
    let Some(metric) = scraped.get(&name) else { return wrong.push(format!("there is no metric {name}")) };
    for Matcher { op, name: label, value } in &selector.matchers.matchers {
        if FOREIGN_LABELS.contains(&label.as_str()) {
            continue;
        }
        let Some(values) = metric.get(label) else {
            wrong.push(format!("{name} has no label {label}"));
            continue;
        };
        // Of alternatives one must have been met; what is excluded need not be there.
        let asked: Vec<String> = match op {
            MatchOp::Equal | MatchOp::NotEqual => vec![value.clone()],
            MatchOp::Re(regex) | MatchOp::NotRe(regex) => {
                regex.as_str().trim_start_matches("^(?:").trim_end_matches(")$").split('|').map(str::to_owned).collect()
            }
        };
        if !asked.iter().any(|value| values.contains(value) || is_error_code(value)) {
            wrong.push(format!("{name}: {label} is never {value}, but one of {values:?}"));
        }
    }
}

/// Codes of faults, which a gateway that is well does not show.
fn is_error_code(value: &str) -> bool {
    towline_protocol::ErrorCode::ALL.iter().any(|code| code.as_str() == value)
}

// proves: C13, C14
#[tokio::test]
async fn every_query_of_the_dashboard_and_the_alerts_asks_for_what_a_gateway_says() {
    let scraped = scraped().await;
    let mut wrong = Vec::new();
    for (place, query) in queries() {
        let query = query.replace("$__rate_interval", "5m");
        let mut here = Vec::new();
        match promql_parser::parser::parse(&query) {
            Ok(expr) => check(&expr, &scraped, &mut here),
            Err(error) => here.push(error),
        }
        wrong.extend(here.into_iter().map(|why| format!("{place}: {why}\n    {query}")));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

// proves: B9, C13
#[tokio::test]
async fn every_metric_of_the_operators_guide_is_there() {
    let scraped = scraped().await;
    let (mut names, mut wrong) = (0, Vec::new());
    for code in RUNBOOK.split('`').skip(1).step_by(2) {
        let name = code.split('{').next().unwrap_or_default();
        if !["towline_", "ws_", "process_"].iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        names += 1;
        // A histogram is named as a whole.
        if !scraped.contains_key(name) && !scraped.contains_key(&format!("{name}_count")) {
            wrong.push(name);
        }
    }
    assert!(names > 50, "the guide's names were not found");
    assert!(wrong.is_empty(), "docs/operations.md names what a gateway does not have: {wrong:?}");
}

#[test]
fn a_query_for_what_is_not_there_is_found() {
    let scraped = read("towline_errors_total{code=\"A\"} 1\nup_and_down 2\n");
    for (query, good) in [
        ("sum by (code) (rate(towline_errors_total[5m]))", true),
        ("sum by (door) (rate(towline_errors_total[5m]))", false),
        ("towline_errors{code=\"A\"}", false),
        ("towline_errors_total{code=\"Z\"} / up_and_down", false),
        ("up_and_down > 1 and towline_errors_total{code=~\"A|B\"}", true),
    ] {
        let mut wrong = Vec::new();
        check(&promql_parser::parser::parse(query).unwrap(), &scraped, &mut wrong);
        assert_eq!(wrong.is_empty(), good, "{query}: {wrong:?}");
    }
}

#[test]
fn every_alert_has_its_section_in_the_runbook() {
    for (name, _) in alerts() {
        assert!(RUNBOOK.contains(&format!("### {name}\n")), "docs/operations.md has no section {name}");
        let anchor = format!("runbook: docs/operations.md#{}", name.to_lowercase());
        assert!(ALERTS.contains(&anchor), "{name} does not say where its section is");
    }
}
