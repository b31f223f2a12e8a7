//! Configuration: read once at the edge, from defaults, a TOML file, the environment and flags, in this order; later ones win.
//!
//! Every setting stands once in `table`, with its key, range and older names; all problems are reported together, each with
//! where the value came from and what is allowed. A table and not derived deserialisation, because that stops at the first problem and
//! forgets where values came from. Nothing here reads the process: `load` takes the file's text and the environment as values.

mod check;
mod lists;
mod load;
mod problem;
mod read;
mod reference;
mod sections;
mod setting;
mod table;
mod value;

#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use towline_protocol::{TopicName, TopicPattern};

pub use check::auth_config;
pub use load::{ConfigFile, Flag, Input, Loaded, load};
pub use problem::{Problem, Problems, Source};
pub use read::{Flags, find_file, print, read, read_duration};
pub use reference::reference;
pub use sections::Environment;
pub use sections::addresses::AddressSettings;
pub use sections::admin::AdminSettings;
pub use sections::auth::AuthSettings;
pub use sections::authorization::AuthorizationSettings;
pub use sections::drain::DrainSettings;
pub use sections::events::EventSettings;
pub use sections::identity_headers::IdentityHeaderSettings;
pub use sections::log::{LogSettings, TopicRule};
pub use sections::logging::{LogFormat, LoggingSettings};
pub use sections::origins::OriginSettings;
pub use sections::proxies::ProxySettings;
pub use sections::publish::PublishSettings;
pub use sections::rest::RestSettings;
pub use sections::runs::{LEASE_RANGE, RunSettings};
pub use sections::sockets::SocketSettings;
pub use sections::tickets::TicketSettings;
pub use sections::tls::{ClientCertificates, TlsSettings};
pub use sections::users::UserSettings;
pub use sections::webhook::WebhookSettings;
pub use setting::{Alias, Given, Meaning, Setting};
pub use table::settings;
pub(crate) use value::Value;

/// Everything that can be configured.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address and port of the server.
    pub listen: SocketAddr,
    /// Directory of the log's files.
    pub data_dir: PathBuf,
    /// Where the server runs.
    pub environment: Environment,
    /// Whether nobody is asked for a token. Worked out by `load`: see [`AuthSettings::disabled`].
    pub development: bool,
    /// Who may.
    pub auth: AuthSettings,
    /// Operators' keys.
    pub admin: AdminSettings,
    /// The embedded log.
    pub log: LogSettings,
    /// Sockets and event streams.
    pub sockets: SocketSettings,
    /// What an event may carry.
    pub events: EventSettings,
    /// The REST interface.
    pub rest: RestSettings,
    /// Runs and brakes.
    pub runs: RunSettings,
    /// Leaving in good order.
    pub drain: DrainSettings,
    /// The proxies in front of the server.
    pub proxies: ProxySettings,
    /// Which web pages may connect.
    pub origins: OriginSettings,
    /// Limits per user.
    pub users: UserSettings,
    /// Limits per publisher.
    pub publish: PublishSettings,
    /// Limits per address.
    pub addresses: AddressSettings,
    /// What the application is asked.
    pub authorization: AuthorizationSettings,
    /// Identities from trusted proxies.
    pub identity_headers: IdentityHeaderSettings,
    /// One-time tickets.
    pub tickets: TicketSettings,
    /// Handing messages to the application.
    pub webhook: WebhookSettings,
    /// TLS in the process.
    pub tls: TlsSettings,
    /// What the process says about itself.
    pub logging: LoggingSettings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            data_dir: PathBuf::from("./towline-data"),
            environment: Environment::default(),
            development: false,
            auth: AuthSettings::default(),
            admin: AdminSettings::default(),
            log: LogSettings::default(),
            sockets: SocketSettings::default(),
            events: EventSettings::default(),
            rest: RestSettings::default(),
            runs: RunSettings::default(),
            drain: DrainSettings::default(),
            proxies: ProxySettings::default(),
            origins: OriginSettings::default(),
            users: UserSettings::default(),
            publish: PublishSettings::default(),
            addresses: AddressSettings::default(),
            authorization: AuthorizationSettings::default(),
            identity_headers: IdentityHeaderSettings::default(),
            tickets: TicketSettings::default(),
            webhook: WebhookSettings::default(),
            tls: TlsSettings::default(),
            logging: LoggingSettings::default(),
        }
    }
}

impl Config {
    /// The embedded log's options: those of its section, and what the gateway's own topics need.
    #[must_use]
    pub fn log_options(&self) -> towline_log_embedded::Options {
        let mut options = self.log.options();
        let state = TopicName::internal(towline_runs::STATE_TOPIC).and_then(|topic| TopicPattern::new(topic.as_str()));
        options.policies.rules.splice(0..0, state.ok().map(|pattern| (pattern, self.runs.state_policy())));
        options
    }
}
