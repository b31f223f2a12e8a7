//! One setting: its key, the names it has in the environment, how its text becomes a value of the configuration.

use super::Config;
use super::value::Value;

/// A setting of the configuration. Its key is its place in the file (`sockets.idle_timeout`) and, upper case with `TOWLINE_`
/// in front (`TOWLINE_SOCKETS_IDLE_TIMEOUT`), its name in the environment, unless `env` says otherwise.
pub struct Setting {
    /// Place in the file; the part before the dot is the section.
    pub key: &'static str,
    /// Its name in the environment.
    pub env: String,
    /// Older names in the environment.
    pub aliases: Vec<Alias>,
    /// What it does, one line.
    pub help: &'static str,
    apply: Apply,
    show: Show,
}

type Apply = Box<dyn Fn(&mut Config, &Given) -> Result<(), String> + Send + Sync>;
type Show = Box<dyn Fn(&Config) -> String + Send + Sync>;

/// Another system's name for a setting.
#[derive(Debug, Clone, Copy)]
pub struct Alias {
    /// The name of the environment variable.
    pub env: &'static str,
    /// How its text has to be changed to be the setting's.
    pub meaning: Meaning,
}

/// How an alias's text differs from the setting's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Not at all.
    Same,
    /// A bare number is milliseconds.
    Milliseconds,
    /// True means false.
    Opposite,
}

/// What somebody gave for a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// One text.
    Text(String),
    /// A list, from an array in the file.
    List(Vec<String>),
}

impl Setting {
    /// A setting that takes every value of its type.
    pub fn new<T: Value + Clone + 'static>(key: &'static str, at: fn(&mut Config) -> &mut T, help: &'static str) -> Self {
        Self::checked(key, at, help, |_| Ok(()))
    }

    /// A setting that takes the values from `least` to `most`.
    pub fn ranged<T: Value + Clone + PartialOrd + Send + Sync + 'static>(
        key: &'static str,
        (least, most): (T, T),
        at: fn(&mut Config) -> &mut T,
        help: &'static str,
    ) -> Self {
        Self::checked(key, at, help, move |value: &T| {
            if *value < least || *value > most {
                return Err(format!("{} is out of range: from {} to {}", value.show(), least.show(), most.show()));
            }
            Ok(())
        })
    }

    /// A setting that takes the values from `least` to `most`, or `none`.
    pub fn ranged_or_none<T: Value + Clone + PartialOrd + Send + Sync + 'static>(
        key: &'static str,
        (least, most): (T, T),
        at: fn(&mut Config) -> &mut Option<T>,
        help: &'static str,
    ) -> Self {
        Self::checked(key, at, help, move |value: &Option<T>| match value {
            Some(value) if *value < least || *value > most => {
                Err(format!("{} is out of range: from {} to {}, or none", value.show(), least.show(), most.show()))
            }
            _ => Ok(()),
        })
    }

    fn checked<T: Value + Clone + 'static>(
        key: &'static str,
        at: fn(&mut Config) -> &mut T,
        help: &'static str,
        check: impl Fn(&T) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            key,
            env: format!("TOWLINE_{}", key.replace('.', "_").to_ascii_uppercase()),
            aliases: Vec::new(),
            help,
            apply: Box::new(move |config, given| {
                let value = match given {
                    Given::Text(text) => T::read(text),
                    Given::List(texts) => T::read_list(texts),
                };
                // The text itself is not repeated: it may be a secret in the wrong place.
                let value = value.ok_or_else(|| format!("expected {}", T::EXPECTED))?;
                check(&value)?;
                *at(config) = value;
                Ok(())
            }),
            show: Box::new(move |config| at(&mut config.clone()).show()),
        }
    }

    /// Gives it a name of its own in the environment.
    pub fn env(mut self, name: &str) -> Self {
        name.clone_into(&mut self.env);
        self
    }

    /// Adds an older name.
    pub fn alias(mut self, env: &'static str, meaning: Meaning) -> Self {
        self.aliases.push(Alias { env, meaning });
        self
    }

    /// Sets the value.
    ///
    /// # Errors
    /// A text that says what is allowed.
    pub fn apply(&self, config: &mut Config, given: &Given) -> Result<(), String> {
        (self.apply)(config, given)
    }

    /// The value as text; secrets say only that they are set.
    #[must_use]
    pub fn show(&self, config: &Config) -> String {
        (self.show)(config)
    }
}

impl Alias {
    /// The setting's text for this alias's text.
    ///
    /// # Errors
    /// A text that says what is allowed.
    pub fn translate(&self, text: &str) -> Result<String, String> {
        match self.meaning {
            Meaning::Same => Ok(text.to_owned()),
            Meaning::Milliseconds => match text.trim().parse::<u64>() {
                Ok(ms) => Ok(format!("{ms}ms")),
                Err(_) => Err("expected a whole number of milliseconds".to_owned()),
            },
            Meaning::Opposite => match bool::read(text) {
                Some(value) => Ok((!value).show()),
                None => Err(format!("expected {}", bool::EXPECTED)),
            },
        }
    }
}
