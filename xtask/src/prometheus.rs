//! The dashboard and the alert rules against a real Prometheus that scrapes a real gateway: the rules are checked and tested by `promtool`, and
//! every query is evaluated. That a query asks for metrics that exist is tested in `crates/harness/tests/it/dashboards.rs`.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use towline_clock::Clock;

use crate::demo::{Demo, Options};
use crate::install;
use crate::process::Group;
use crate::repository::Repository;
use crate::stage::Outcome;
use crate::tally::Tally;

const RULES: &str = "deploy/prometheus";
const DASHBOARD: &str = "deploy/grafana/towline.json";
/// Until Prometheus has scraped a few times, once a second.
const SCRAPE_PATIENCE: Duration = Duration::from_secs(60);
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// Runs the stage in a folder that goes away afterwards.
///
/// # Errors
/// A rule or a query is not good, or a program does not start.
pub fn run(repository: &Repository, folder: &Path) -> anyhow::Result<Outcome> {
    let programs = match install::prometheus(repository) {
        Ok(programs) => programs,
        Err(why) => return Ok(Outcome::NotRun(format!("{why:#}"))),
    };
    let promtool = |arguments: &[&str]| -> anyhow::Result<String> {
        let output = Command::new(&programs.promtool).args(arguments).current_dir(repository.root.join(RULES)).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "promtool {} says: {text}", arguments.join(" "));
        Ok(text)
    };
    for check in [&["check", "config", "prometheus.yml"][..], &["test", "rules", "alerts_test.yml"]] {
        println!("{}", promtool(check)?.trim_end());
    }

    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let docs = ["docs"].map(PathBuf::from);
    let mut demo = Demo::start(repository, &Options { listen, folder, docs: &docs, pace: "100ms", log: "warn" })?;
    let target = demo.url().replace("http://", "");
    let rules = repository.root.join(RULES).join("alerts.yml");
    let config = folder.join("prometheus.yml");
    fs::write(
        &config,
        format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{:?}]\nscrape_configs: [{{job_name: towline, static_configs: [{{targets: [{target:?}]}}]}}]\n",
            rules.display()
        ),
    )?;
    let address = TcpListener::bind(listen)?.local_addr()?;
    let mut prometheus = Group::start(
        Command::new(&programs.prometheus)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn"),
    )?;
    let url = format!("http://{address}");
    let ask = |query: &str| promtool(&["query", "instant", &url, query]);
    let clock = Clock::system();
    while !ask("count_over_time(towline_log_ready[5m]) >= 5").is_ok_and(|answer| answer.contains("=>")) {
        ensure!(clock.uptime() < SCRAPE_PATIENCE, "Prometheus has not scraped the gateway in time");
        if let Ok(Some(line)) = prometheus.line(Duration::from_millis(300)) {
            println!("prometheus | {line}");
        }
    }
    let (mut passed, mut with_data, mut wrong) = (2, 0, Vec::new());
    for query in queries(repository)? {
        match ask(&query) {
            Ok(answer) => {
                passed += 1;
                with_data += u64::from(answer.contains("=>"));
            }
            Err(error) => wrong.push(format!("{query}\n  {error:#}")),
        }
    }
    prometheus.stop(STOP_PATIENCE, |line| println!("prometheus | {line}"));
    demo.stop();
    println!("{} queries were evaluated, {with_data} of them had something to show", passed - 2);
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    ensure!(with_data * 3 > passed, "most queries had nothing to show: is the gateway scraped at all?");
    Ok(Outcome::Ran(Tally::of_passed(passed)))
}

/// The queries of the dashboard and the rules.
fn queries(repository: &Repository) -> anyhow::Result<Vec<String>> {
    let dashboard: Value = serde_json::from_str(&repository.text(DASHBOARD)?)?;
    let targets = dashboard["panels"].as_array().context("panels")?.iter().filter_map(|panel| panel["targets"].as_array());
    let mut found: Vec<String> = targets
        .flatten()
        .filter_map(|target| target["expr"].as_str())
        .map(|query| query.replace("$__rate_interval", "1m").replace("$instance", ".*"))
        .collect();
    let rules = repository.text(format!("{RULES}/alerts.yml"))?;
    found.extend(rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).map(str::to_owned));
    Ok(found)
}
