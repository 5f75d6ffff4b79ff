//! Limits of requests in the configuration: the table `[throttle]`.

use std::time::Duration;

use mfa_actix::throttling::{ForwardedHeader, Quotas, Throttling};
use mfa_domain::Quota;
use serde::{Deserialize, Serialize};

use super::{duration, quota};

/// [`Throttling`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Throttle {
    #[serde(with = "quota")]
    pub(crate) tenant: Quota,
    #[serde(with = "quota")]
    pub(crate) api_key: Quota,
    #[serde(with = "quota")]
    pub(crate) user: Quota,
    #[serde(with = "quota")]
    pub(crate) change: Quota,
    #[serde(with = "quota")]
    pub(crate) backup_code: Quota,
    #[serde(with = "quota")]
    pub(crate) message: Quota,
    #[serde(with = "quota")]
    pub(crate) recipient: Quota,
    #[serde(with = "quota")]
    pub(crate) tenant_messages: Quota,
    #[serde(with = "quota")]
    pub(crate) tenant_challenges: Quota,
    #[serde(with = "quota")]
    pub(crate) address: Quota,
    /// The average delay of refusals.
    #[serde(with = "duration")]
    pub(crate) refusal_delay: Duration,
    /// Addresses and networks of proxies.
    pub(crate) trusted_proxies: Vec<String>,
    /// The header in which these proxies name the client.
    pub(crate) forwarded_header: String,
}

/// The conversions between [`Quotas`] and their options, which have the same names.
macro_rules! convert {
    ($($quota:ident),+) => {
        impl From<Quotas> for Throttle {
            fn from(quotas: Quotas) -> Self {
                let Quotas { $($quota),+ } = quotas;
                Self {
                    $($quota,)+
                    refusal_delay: Throttling::REFUSAL_DELAY,
                    trusted_proxies: Vec::new(),
                    forwarded_header: ForwardedHeader::default().as_str().to_owned(),
                }
            }
        }

        impl From<&Throttle> for Quotas {
            fn from(settings: &Throttle) -> Self {
                let Throttle { $($quota,)+ .. } = *settings;
                Self { $($quota),+ }
            }
        }
    };
}

convert!(
    tenant,
    api_key,
    user,
    change,
    backup_code,
    message,
    recipient,
    tenant_messages,
    tenant_challenges,
    address
);
