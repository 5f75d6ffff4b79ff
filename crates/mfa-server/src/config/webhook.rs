//! A webhook in the configuration: one table of the list `[[webhook]]`.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use mfa_domain::{EndpointId, EventKind, TenantId};
use mfa_webhook::WebhookUrl;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::duration;

/// A receiver of the audit trail. Parsing checks every value.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Given", into = "Given")]
pub(crate) struct Webhook {
    pub(crate) name: EndpointId,
    pub(crate) url: WebhookUrl,
    /// The file of the signing secrets, relative to the data directory.
    pub(crate) secret_file: PathBuf,
    /// Only events of these tenants; all if empty.
    pub(crate) tenants: Vec<TenantId>,
    /// Only events of these kinds; all if empty.
    pub(crate) kinds: Vec<EventKind>,
    pub(crate) start: Start,
    pub(crate) timeout: Duration,
    pub(crate) plain_http: bool,
}

/// The first event of a new webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Start {
    /// The first event after its first start.
    #[default]
    Now,
    /// The oldest event in the trail.
    Beginning,
}

/// A webhook as it is written in the file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    name: String,
    url: Shown,
    secret_file: PathBuf,
    #[serde(default)]
    tenants: Vec<String>,
    #[serde(default)]
    kinds: Vec<String>,
    #[serde(default)]
    start: Start,
    #[serde(default = "default_timeout", with = "duration")]
    timeout: Duration,
    #[serde(default)]
    plain_http: bool,
}

/// The text of a URL. The whole text is read, but only the host and port are written, since the path may contain a
/// token.
#[derive(Clone)]
struct Shown(String);

fn default_timeout() -> Duration {
    Duration::from_secs(15)
}

/// Whether all webhooks have different names, and there are at most 16.
pub(super) fn are_distinct(webhooks: &[Webhook]) -> bool {
    let names: BTreeSet<_> = webhooks.iter().map(|webhook| &webhook.name).collect();
    names.len() == webhooks.len() && webhooks.len() <= 16
}

impl TryFrom<Given> for Webhook {
    type Error = String;

    fn try_from(given: Given) -> Result<Self, Self::Error> {
        let name = EndpointId::new(&given.name).map_err(|error| format!("name: {error}"))?;
        let of = |field: &str, error: &dyn fmt::Display| format!("{field} of {name}: {error}");
        let url = WebhookUrl::parse(&given.url.0, given.plain_http).map_err(|error| of("url", &error))?;
        let tenants = given.tenants.iter().map(|text| TenantId::new(text)).collect::<Result<_, _>>();
        let tenants = tenants.map_err(|error| of("tenants", &error))?;
        let kinds: Vec<_> = given.kinds.iter().map(|text| EventKind::from_name(text)).collect();
        if let Some(EventKind::Other(unknown)) = kinds.iter().find(|kind| matches!(kind, EventKind::Other(_)))
        {
            return Err(of("kinds", &format_args!("there is no kind {unknown:?} of events")));
        }
        if given.secret_file.as_os_str().is_empty() {
            return Err(of("secret_file", &"must be a path"));
        }
        if !(Duration::from_secs(1)..=Duration::from_mins(1)).contains(&given.timeout) {
            return Err(of("timeout", &"must be 1s to 1m"));
        }
        let Given { secret_file, start, timeout, plain_http, .. } = given;
        Ok(Self { name, url, secret_file, tenants, kinds, start, timeout, plain_http })
    }
}

/// For display: does not show the whole URL and cannot be parsed back.
impl From<Webhook> for Given {
    fn from(webhook: Webhook) -> Self {
        let Webhook { name, url, secret_file, tenants, kinds, start, timeout, plain_http } = webhook;
        Self {
            name: name.to_string(),
            url: Shown(url.to_string()),
            secret_file,
            tenants: tenants.iter().map(|tenant| tenant.as_str().to_owned()).collect(),
            kinds: kinds.iter().map(|kind| kind.as_str().to_owned()).collect(),
            start,
            timeout,
            plain_http,
        }
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Shown {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // The usual error about a wrong type shows the value.
        String::deserialize(from).map(Self).map_err(|_| D::Error::custom("url: must be a string"))
    }
}
