//! What holds between settings: whether anybody is asked for a token, and which values do not go together.

use std::collections::BTreeMap;

use towline_auth::{
    ADMIN_KEY_BYTES_MIN, AuthConfig, AuthMode, AuthProblem, Authenticator, Delegation, IssuerConfig, NameField,
    SERVICE_KEY_BYTES_MIN, Secret, ServiceKey, SharedSecret, TOKEN_BYTES_MAX,
};
use towline_clock::Clock;

use super::problem::{Problem, Source};
use super::{ClientCertificates, Config, Environment};
use crate::origins::OriginPattern;
use crate::webhook::Caller;

/// Where the values came from, and where problems and warnings go.
struct Check<'a> {
    sources: &'a BTreeMap<String, Source>,
    problems: &'a mut Vec<Problem>,
    warnings: &'a mut Vec<String>,
}

impl Check<'_> {
    fn problem(&mut self, key: &str, message: impl Into<String>) {
        let source = self.sources.get(key).cloned().unwrap_or(Source::Default);
        self.problems.push(Problem { key: key.to_owned(), source, message: message.into() });
    }

    fn given(&self, key: &str) -> bool {
        self.sources.contains_key(key)
    }
}

pub(super) fn check(
    config: &mut Config,
    sources: &BTreeMap<String, Source>,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) {
    let mut check = Check { sources, problems, warnings };
    mode(config, &mut check);
    credentials(config, &mut check);
    admin_keys(config, &mut check);
    sockets(config, &mut check);
    sizes(config, &mut check);
    proxies(config, &mut check);
    delegation(config, &mut check);
    origins(config, &mut check);
    users(config, &check);
    webhook(config, &mut check);
    tls(config, &mut check);
}

/// Decides whether this is development mode, and refuses it where others could reach it.
fn mode(config: &mut Config, check: &mut Check<'_>) {
    let loopback = config.listen.ip().is_loopback();
    let verifies_users = config.auth.jwt_secret.is_some() || !issuers(config).is_empty();
    config.development = match config.auth.disabled {
        Some(disabled) => disabled,
        None => !verifies_users && loopback && config.environment == Environment::Development,
    };
    if config.development && !loopback {
        check.problem(
            "auth.disabled",
            format!("without authentication the server binds to loopback only, and `listen` is {}: listen on 127.0.0.1 or configure an issuer or a secret", config.listen),
        );
    }
    if config.development && config.environment == Environment::Production {
        check.problem("auth.disabled", "`environment` is production, where everybody must be asked for a token");
    }
    if config.development && config.auth.disabled.is_none() {
        check.warnings.push(
            "no issuer and no secret is configured: development mode on loopback, nobody is asked for a token (set auth.disabled = false to demand one)".to_owned(),
        );
    }
}

/// Hands the credentials' part to the crate that knows the rules.
fn credentials(config: &Config, check: &mut Check<'_>) {
    if config.auth.clerk_jwks_url.is_some() && config.auth.clerk_issuer.is_none() && config.auth.clerk_domain.is_none() {
        check.warnings.push(
            "auth.clerk_jwks_url is set without auth.clerk_issuer: tokens of any issuer are accepted if these keys signed them"
                .to_owned(),
        );
    }
    if let Some(secret) = &config.auth.jwt_secret
        && short_secret_allowed(config)
        && secret.expose().len() < SECRET_BYTES_MIN
    {
        check.warnings.push(format!(
            "auth.jwt_secret has {} bytes: outside of development on loopback {SECRET_BYTES_MIN} are demanded, because who sees one token can search for a short secret off line (make one with `openssl rand -base64 32`)",
            secret.expose().len()
        ));
    }
    let shortest_key = config.auth.service_keys.iter().map(|key| key.expose().len()).min();
    if short_secret_allowed(config)
        && let Some(bytes) = shortest_key
        && bytes < SERVICE_KEY_BYTES_MIN
    {
        check.warnings.push(format!(
            "auth.service_keys has a key of {bytes} bytes: outside of development on loopback {SERVICE_KEY_BYTES_MIN} are demanded (make one with `openssl rand -base64 32`)"
        ));
    }
    if let Err(error) = Authenticator::new(auth_config(config), Clock::system()) {
        for AuthProblem { setting, message } in error.0 {
            // Problems of an issuer's own settings keep their place in the list.
            let key = match setting.split(['[', '.']).next().unwrap_or_default() {
                "shared_secrets" => "auth.jwt_secret",
                "service_keys" => "auth.service_keys",
                "issuers" if config.auth.issuers.is_empty() => "auth.clerk_jwks_url",
                "issuers" => "auth.issuers",
                "rules" => "auth.rules",
                "leeway" => "auth.leeway",
                "expiry_leeway" => "auth.expiry_leeway",
                "token_lifetime_max" => "auth.token_lifetime_max",
                _ => "auth",
            };
            check.problem(key, format!("{setting} {message}"));
        }
    }
}

/// What an admin key opens is everything, so it is long everywhere, and nothing else.
fn admin_keys(config: &Config, check: &mut Check<'_>) {
    let lists = [("admin.keys_full", &config.admin.keys_full), ("admin.keys_read", &config.admin.keys_read)];
    for (key, secrets) in lists {
        for secret in secrets {
            let text = secret.expose();
            if text.len() < ADMIN_KEY_BYTES_MIN || text.len() > TOKEN_BYTES_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
                let message = format!(
                    "a key must have {ADMIN_KEY_BYTES_MIN} to {TOKEN_BYTES_MAX} visible ASCII characters; make one with `openssl rand -base64 32`"
                );
                check.problem(key, message);
            }
            let twice = lists.iter().flat_map(|(_, list)| list.iter()).filter(|other| *other == secret).count() > 1;
            if twice || config.auth.service_keys.contains(secret) {
                check.problem(key, "a key stands in another list too: an operator's key must open nothing else");
            }
        }
    }
}

fn sockets(config: &mut Config, check: &mut Check<'_>) {
    let sockets = &mut config.sockets;
    if sockets.idle_timeout <= sockets.heartbeat_interval {
        if check.given("sockets.idle_timeout") {
            check.problem(
                "sockets.idle_timeout",
                "must be longer than sockets.heartbeat_interval, or every silent client is closed unasked",
            );
        } else {
            // Who changes only the heartbeat means to keep two chances to answer.
            sockets.idle_timeout = sockets.heartbeat_interval * 2;
        }
    }
    if config.drain.window > config.drain.timeout {
        check.problem(
            "drain.window",
            "must not be longer than drain.timeout, or clients are cut off before they are told to leave",
        );
    }
}

/// Has the webhook's settings judged by the code that uses them.
fn webhook(config: &Config, check: &mut Check<'_>) {
    let webhook = &config.webhook;
    if let Err((key, why)) = Caller::new(config, &Clock::system()) {
        check.problem(key, why);
    }
    if webhook.url.is_none() && !webhook.secrets.is_empty() {
        check.warnings.push("webhook.secret has no effect without webhook.url".to_owned());
    }
    if webhook.retry_delay > webhook.retry_delay_max {
        check.problem("webhook.retry_delay_max", "must not be shorter than webhook.retry_delay");
    }
    if webhook.waiting_per_user_max > webhook.waiting_max {
        check.problem("webhook.waiting_per_user_max", "must not exceed webhook.waiting_max");
    }
    let kept = config.log.policies().of(towline_protocol::TopicName::all_inboxes().as_str()).retention.age_max;
    if webhook.url.is_some() && kept.is_some_and(|kept| kept <= webhook.retry_for) {
        check.warnings.push("webhook.retry_for is not shorter than the retention of inbox:*: the log may trim messages before they are delivered or become dead letters".to_owned());
    }
}

/// Which settings of TLS go together. Whether the files are good is for whoever reads them.
fn tls(config: &Config, check: &mut Check<'_>) {
    let tls = &config.tls;
    match (&tls.certificate, &tls.key) {
        (Some(_), None) => check.problem("tls.certificate", "needs `tls.key`, the certificate's private key"),
        (None, Some(_)) => check.problem("tls.key", "needs `tls.certificate`, the certificate that it belongs to"),
        (None, None) if tls.client_ca.is_some() => {
            check.problem("tls.client_ca", "needs `tls.certificate` and `tls.key`: clients show certificates over TLS only");
        }
        _ => {}
    }
    if tls.client_ca.is_none() {
        if tls.client_certificates == ClientCertificates::Required {
            check.problem("tls.client_certificates", "needs `tls.client_ca`, or every certificate is unknown");
        }
        if tls.client_name != NameField::None {
            check.problem("tls.client_name", "needs `tls.client_ca`, which says whose certificates name services");
        }
    }
    if !tls.client_names.is_empty() && tls.client_name == NameField::None {
        check.problem("tls.client_names", "needs `tls.client_name`, which says where in a certificate these names stand");
    }
}

fn sizes(config: &Config, check: &mut Check<'_>) {
    let rest = &config.rest;
    if rest.body_bytes_max.max(2 * rest.line_bytes_max) >= rest.publish_bytes_max {
        check.problem(
            "rest.publish_bytes_max",
            "must be larger than rest.body_bytes_max and twice rest.line_bytes_max, or no request fits",
        );
    }
    if config.events.batch_events_max > config.log.append_queue_events_max
        || rest.body_bytes_max > config.log.append_queue_bytes_max
    {
        check.problem(
            "events.batch_events_max",
            "events.batch_events_max must not exceed log.append_queue_events_max, nor rest.body_bytes_max log.append_queue_bytes_max, or the log refuses what REST accepts",
        );
    }
    if let Err(why) = tracing_subscriber::EnvFilter::try_new(&config.logging.filter) {
        check.problem("logging.filter", format!("{why}; expected a level, or targets with levels such as towline=debug,info"));
    }
    let data = config.events.data_bytes_max;
    for (key, bytes) in [
        ("sockets.message_bytes_max", config.sockets.message_bytes_max),
        ("rest.line_bytes_max", config.rest.line_bytes_max),
        ("rest.body_bytes_max", config.rest.body_bytes_max),
    ] {
        if bytes < data {
            check.warnings.push(format!(
                "{key} ({bytes}) is smaller than events.data_bytes_max ({data}): the largest events cannot come this way"
            ));
        }
    }
}

/// Who says more than the configuration about identities: the application, and trusted proxies.
fn delegation(config: &Config, check: &mut Check<'_>) {
    let asked = &config.authorization;
    if let Some(delegation) = asked.delegation() {
        if let Err(error) = Delegation::new(delegation, Clock::system()) {
            for AuthProblem { setting, message } in error.0 {
                check.problem(&format!("authorization.{setting}"), message);
            }
        }
        if !asked.connect && asked.subscribe.is_empty() && asked.publish.is_empty() {
            check.warnings.push(
                "authorization.url is set and nothing is left to it: set authorization.subscribe, .publish or .connect"
                    .to_owned(),
            );
        }
    } else if asked.connect || !asked.subscribe.is_empty() || !asked.publish.is_empty() {
        check.problem("authorization.url", "is missing: authorization.subscribe, .publish or .connect leave something to it");
    }
    if config.identity_headers.enabled && config.proxies.trusted.is_empty() {
        check.problem("identity_headers.enabled", "needs proxies.trusted: headers are taken from machines that are named there");
    }
}

fn proxies(config: &Config, check: &mut Check<'_>) {
    if config.proxies.trusted.contain_everybody() {
        check.problem(
            "proxies.trusted",
            "must not be the whole Internet, or everybody may claim to be any address; name the proxies",
        );
    }
}

fn origins(config: &Config, check: &mut Check<'_>) {
    for (key, texts) in [("origins.allowed", &config.origins.allowed), ("origins.staging", &config.origins.staging)] {
        for text in texts {
            match OriginPattern::parse(text) {
                Err(error) => check.problem(key, format!("{text:?}: {error}")),
                Ok(pattern) if pattern.is_insecure() && config.environment == Environment::Production => {
                    check.warnings.push(format!("{key}: {text} is not https: who is on the way to the browser can change that page and use its user's token"));
                }
                Ok(_) => {}
            }
        }
    }
    let named =
        !config.origins.allowed.is_empty() || config.environment == Environment::Staging && !config.origins.staging.is_empty();
    if !named && config.environment != Environment::Development {
        check.warnings.push(
            "origins.allowed is empty: no web page may connect; name those that may, as in https://app.example.com".to_owned(),
        );
    }
}

/// One developer is all users of a server in development mode, and must not be stopped by limits meant for one of many.
fn users(config: &mut Config, check: &Check<'_>) {
    if config.development && !check.given("users.connections_max") {
        config.users.connections_max = DEVELOPER_CONNECTIONS_MAX;
    }
    if config.development && !check.given("users.messages_per_minute_max") {
        config.users.messages_per_minute_max = DEVELOPER_MESSAGES_PER_MINUTE_MAX;
    }
}

/// What a user may do in development mode unless it is said.
const DEVELOPER_CONNECTIONS_MAX: u32 = 1_000;
const DEVELOPER_MESSAGES_PER_MINUTE_MAX: u32 = 60_000;

/// The issuers with published keys: the Clerk settings first, then the list.
fn issuers(config: &Config) -> Vec<IssuerConfig> {
    let auth = &config.auth;
    let clerk = IssuerConfig::from_clerk_settings(
        auth.clerk_domain.as_deref(),
        auth.clerk_jwks_url.as_deref(),
        auth.clerk_issuer.as_deref(),
    );
    let mut all: Vec<_> = clerk.into_iter().map(|clerk| IssuerConfig { audiences: auth.audiences.clone(), ..clerk }).collect();
    all.extend(auth.issuers.iter().cloned());
    all
}

/// Bytes that a shared secret should have (RFC 7518 section 3.2).
const SECRET_BYTES_MIN: usize = 32;

/// Short secrets are for trying things out: only where nobody else can reach the server.
fn short_secret_allowed(config: &Config) -> bool {
    config.environment == Environment::Development && config.listen.ip().is_loopback()
}

/// The secret as the authentication crate takes it. A short one, where it is allowed, is filled up with zero bytes, which is what HMAC
/// itself does with it (RFC 2104 section 2): the signatures stay the same.
fn shared_secret(config: &Config, secret: &Secret) -> Secret {
    let text = secret.expose();
    if short_secret_allowed(config) && text.len() < SECRET_BYTES_MIN {
        return Secret::new(&format!("{text:\0<SECRET_BYTES_MIN$}"));
    }
    secret.clone()
}

/// What the authentication crate needs, from the settings.
#[must_use]
pub fn auth_config(config: &Config) -> AuthConfig {
    let auth = &config.auth;
    let keys = auth.service_keys.iter().enumerate();
    AuthConfig {
        mode: if config.development { AuthMode::Development } else { AuthMode::Enforced },
        issuers: issuers(config),
        shared_secrets: auth
            .jwt_secret
            .iter()
            .map(|secret| SharedSecret { audiences: auth.audiences.clone(), ..SharedSecret::new(shared_secret(config, secret)) })
            .collect(),
        short_service_keys: short_secret_allowed(config),
        service_keys: keys.map(|(i, key)| ServiceKey::for_everything(&format!("service-{}", i + 1), key.clone())).collect(),
        leeway: auth.leeway,
        expiry_leeway: auth.expiry_leeway,
        token_lifetime_max: auth.token_lifetime_max,
        revocations_max: auth.revocations_max,
        rules: auth.rules.clone(),
        ..AuthConfig::default()
    }
}
