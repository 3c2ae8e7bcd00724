//! Settings from a TOML file, `MESSENGER_*` variables and flags, in rising order of precedence.

mod encryption;
mod error;
mod log;
mod mail;
mod mssql_url;
mod nodes;
mod operator;
mod parse;
mod pepper;
mod postgres_url;
mod retention;
mod secret;
mod settings;
mod sources;
mod store;
mod store_url;
mod values;

use std::time::Duration;

use http::HeaderValue;
use messenger_core::{Peppers, RetentionPeriod};

pub(crate) use encryption::{EncryptionConfig, EncryptionKeys, EncryptionMode};
pub(crate) use error::ConfigError;
pub(crate) use log::LogFilter;
pub(crate) use mail::{API, MailConfig};
pub(crate) use mssql_url::MssqlUrl;
pub(crate) use nodes::{NodesConfig, Shared};
pub(crate) use operator::OperatorKey;
pub(crate) use parse::LogFormat;
pub(crate) use postgres_url::{PostgresUrl, masked};
pub(crate) use secret::{Secret, keys};
pub(crate) use settings::{SETTINGS, Setting, variable};
pub(crate) use sources::{Sources, Value, text_of_variable, unknown_variables};
pub(crate) use store::StoreConfig;
pub(crate) use store_url::StoreUrl;

use self::{
    parse::{address, count, duration, log_format, node_name, on_or_off, origins, proxies},
    pepper::peppers,
    retention::retention,
    values::Values,
};

/// What the settings mean.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) listen: String,
    pub(crate) store: StoreConfig,
    pub(crate) encryption: EncryptionConfig,
    pub(crate) nodes: NodesConfig,
    pub(crate) node_name: Option<String>,
    pub(crate) workers: bool,
    /// How people get mail, if they do.
    pub(crate) mail: Option<MailConfig>,
    pub(crate) operator_key: Option<OperatorKey>,
    pub(crate) peppers: Option<Peppers>,
    /// How long messages are kept; for good by default.
    pub(crate) retention: Option<RetentionPeriod>,
    pub(crate) rate_limits: bool,
    pub(crate) trusted_proxies: usize,
    pub(crate) allow_origins: Vec<HeaderValue>,
    pub(crate) log: LogFilter,
    pub(crate) log_format: LogFormat,
    pub(crate) max_connections: usize,
    pub(crate) request_timeout: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) header_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) shutdown_timeout: Duration,
}

impl Config {
    /// Checks every value.
    pub(crate) fn of(values: &[Value]) -> Result<Self, ConfigError> {
        let values = Values(values);
        let store = StoreConfig::of(&values)?;
        Ok(Self {
            listen: values.read("listen", address)?,
            nodes: NodesConfig::of(&values, &store)?,
            mail: MailConfig::of(&values, &store.url)?,
            encryption: EncryptionConfig::of(&values, &store.url)?,
            store,
            node_name: values.read("node-name", node_name)?,
            operator_key: OperatorKey::of(&values)?,
            peppers: peppers(&values)?,
            retention: values.read("retention", retention)?,
            workers: values.read("workers", on_or_off)?,
            rate_limits: values.read("rate-limits", on_or_off)?,
            trusted_proxies: values.read("trusted-proxies", proxies)?,
            allow_origins: values.read("allow-origins", origins)?,
            log: values.read("log", LogFilter::of)?,
            log_format: values.read("log-format", log_format)?,
            max_connections: values.read("max-connections", count)?,
            request_timeout: values.read("request-timeout", duration)?,
            body_timeout: values.read("body-timeout", duration)?,
            header_timeout: values.read("header-timeout", duration)?,
            write_timeout: values.read("write-timeout", duration)?,
            shutdown_timeout: values.read("shutdown-timeout", duration)?,
        })
    }
}
