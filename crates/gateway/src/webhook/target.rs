//! Where messages are posted: an address that the operator chose, and that cannot be turned into another one.

use std::net::IpAddr;

use reqwest::Url;

use super::address::is_internal;
use crate::config::{Environment, WebhookSettings};

/// Reads and judges the configured address.
///
/// # Errors
/// What is wrong with it and what to do.
pub fn target(text: &str, settings: &WebhookSettings, environment: Environment) -> Result<Url, String> {
    let url = Url::parse(text)
        .map_err(|error| format!("is no address ({error}); expected one such as https://app.example.com/towline"))?;
    let Some(host) = url.host_str() else { return Err("names no host".to_owned()) };
    match url.scheme() {
        "https" => {}
        "http" if environment != Environment::Production || settings.allow_internal => {}
        "http" => return Err("must be https in production: messages would be readable on the way (or set webhook.allow_internal for a target on an inner network)".to_owned()),
        other => return Err(format!("must be https or http, not {other}")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("may not hold a user name or password: calls are signed with webhook.secret".to_owned());
    }
    // The parser has normalised odd spellings (`0x7f.1`, `2130706433`, `[::ffff:7f00:1]`) by now.
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let local = name == "localhost" || name.ends_with(".localhost");
    if !settings.allow_internal && (local || literal.is_ok_and(is_internal)) {
        return Err("leads to this machine or an inner network; set webhook.allow_internal = true if that is meant".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str, allow_internal: bool, environment: Environment) -> Result<Url, String> {
        target(text, &WebhookSettings { allow_internal, ..WebhookSettings::default() }, environment)
    }

    // proves: C9
    #[test]
    fn inner_targets_are_refused_in_every_spelling() {
        for host in [
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "0x7f000001",
            "2130706433",
            "0177.0.0.1",
            "017700000001",
            "127.0.0.1.",
            "0",
            "0.0.0.0",
            "10.1.2.3",
            "192.168.1.1",
            "169.254.169.254",
            "0xa9fea9fe",
            "2852039166",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[0:0:0:0:0:ffff:a9fe:a9fe]",
            "[64:ff9b::127.0.0.1]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "app.localhost",
            "①②⑦.0.0.1",
            "127。0。0。1",
        ] {
            let url = format!("https://{host}/hook");
            let refused = judged(&url, false, Environment::Development);
            assert!(refused.as_ref().is_err_and(|why| why.contains("allow_internal")), "{url}: {refused:?}");
            assert!(judged(&url, true, Environment::Production).is_ok(), "{url}");
        }
        for public in [
            "https://app.example.com/hook?x=1",
            "https://8.8.8.8:8443/",
            "https://[2606:4700:4700::1111]/",
            "https://localhost.example.com/",
        ] {
            assert!(judged(public, false, Environment::Production).is_ok(), "{public}");
        }
    }

    #[test]
    fn production_asks_for_https_and_nobody_hides_a_password() {
        assert!(judged("http://app.example.com/", false, Environment::Development).is_ok());
        assert!(judged("http://app.example.com/", false, Environment::Production).unwrap_err().contains("https"));
        for bad in [
            "ftp://example.com",
            "file:///etc/passwd",
            "gopher://example.com/",
            "unix:/run/x",
            "app.example.com/hook",
            "",
            "https://",
        ] {
            assert!(judged(bad, true, Environment::Development).is_err(), "{bad}");
        }
        let why = judged("https://user:hunter2@example.com/", true, Environment::Development).unwrap_err();
        assert!(why.contains("webhook.secret") && !why.contains("hunter2"));
    }
}
