//! Rate limits. Only this module charges requests to quotas.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServiceRequest;
use mfa_domain::ports::{StoreError, Throttle, ThrottleKey, ThrottleKind};
use mfa_domain::{AccountKey, Charge, Quota, TenantId, Timestamp};

use self::breaker::Breaker;
use crate::chain::Chain;
use crate::problem::{Problem, ProblemCode};
use crate::routes::Unthrottled;

mod breaker;

pub use crate::client_address::{
    ForwardedHeader, InvalidNetwork, Network, Proxies, TrustsEverybody, UnknownHeader,
};

/// The time limit of the throttle for all charges of a request. After that, the throttle has failed.
const THROTTLE_TIMEOUT: Duration = Duration::from_millis(250);

/// The rate limits of the API, and the throttle that counts.
///
/// A request is charged after its API key is checked and before its body is read, so throttling does not depend on
/// the code. Backup codes are also charged by their form, before they are hashed. The narrowest bucket is charged
/// first: a request refused for one user costs the API key and the tenant nothing, so a flood for one user does not
/// use up the quotas of others.
///
/// A challenge that names no user is also charged to the tenant: no user's quota limits how many are stored.
///
/// Messages are charged separately: to the user, the address and the tenant. If the throttle fails, calls that send a
/// message answer 503 and send nothing, since unlimited messages cost money and annoy recipients.
///
/// Other requests go on if the throttle fails or takes longer than 250 ms: the account's own limit of wrong codes
/// still protects it. For the next second requests skip the throttle, so that a hanging throttle does not slow them
/// down; then one request tries it first.
///
/// Refusals without a check of the code (`throttled`, `locked`, `disabled`) are delayed by about a second. A caller
/// who retries at once can then send about one request per second and connection.
#[derive(Clone)]
pub struct Throttling {
    throttle: Arc<dyn Throttle>,
    breaker: Arc<Breaker>,
    quotas: Quotas,
    proxies: Proxies,
    refusal_delay: Duration,
}

/// The quotas. Each is a burst, and the time in which the whole burst is refilled.
///
/// The defaults are far above the busiest minute of an application, and below what fills a disk or overloads a
/// server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// All requests of one tenant. Default: 1,200,000 per minute, 20,000 a second.
    pub tenant: Quota,
    /// All requests with one API key. Default: 600,000 per minute, 10,000 a second.
    pub api_key: Quota,
    /// Code checks and changes of one user, except an operator's. Default: 6,000 per 10 minutes, ten a second.
    pub user: Quota,
    /// Changes of one user that the audit trail keeps forever: enrol, rename, resynchronise or remove a factor, or
    /// issue backup codes. Default: 60 per hour, one a minute. Used codes that are posted again have the same quota,
    /// counted separately; beyond it they are refused without a record.
    pub change: Quota,
    /// Backup codes tried for one user, right or wrong. Each costs a slow hash. Default: 20 per hour, one in three
    /// minutes.
    pub backup_code: Quota,
    /// Messages to one user. Default: 20 per hour, one in three minutes.
    pub message: Quota,
    /// Messages to one address, for any user. Addresses that differ only in case, `+` suffix, quotation marks or the
    /// form of an international domain count as one. Default: 20 per hour, one in three minutes.
    pub recipient: Quota,
    /// Messages to all users of one tenant. Default: 10,000 per hour, about three a second.
    pub tenant_messages: Quota,
    /// Challenges without a user that one tenant begins. Each is stored for about an hour. Default: 12,000 per minute,
    /// 200 a second.
    pub tenant_challenges: Quota,
    /// Requests without a valid API key from one client address. Default: 1,000 per 15 minutes, about one a second.
    /// Requests with a valid key are not counted.
    pub address: Quota,
}

impl Throttling {
    /// The default average delay of a refusal. Each delay is random, from 0.5 to 1.5 times this.
    pub const REFUSAL_DELAY: Duration = Duration::from_secs(1);

    /// Uses this throttle, with the default quotas and without proxies.
    #[must_use]
    pub fn new(throttle: Arc<dyn Throttle>) -> Self {
        let (breaker, quotas, proxies) = (Arc::default(), Quotas::default(), Proxies::default());
        Self { throttle, breaker, quotas, proxies, refusal_delay: Self::REFUSAL_DELAY }
    }

    /// Sets the quotas.
    #[must_use]
    pub const fn quotas(mut self, quotas: Quotas) -> Self {
        self.quotas = quotas;
        self
    }

    /// Sets the trusted proxies, which name the client address.
    #[must_use]
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// Sets the average delay of a refusal: at most a minute; 0 for no delay. Default: one second. Each delay is
    /// random, from 0.5 to 1.5 times this, so that clients refused together do not retry together.
    #[must_use]
    pub fn refusal_delay(mut self, delay: Duration) -> Self {
        self.refusal_delay = delay.min(Duration::from_mins(1));
        self
    }

    /// The average delay of an answer with this problem; `None` for no delay.
    pub(crate) fn delay_of(&self, problem: ProblemCode) -> Option<Duration> {
        let refused = matches!(problem, ProblemCode::Throttled | ProblemCode::Locked | ProblemCode::Disabled);
        (refused && !self.refusal_delay.is_zero()).then_some(self.refusal_delay)
    }

    /// Charges the keys in order, until one is refused. If the throttle fails, the request goes on.
    pub(crate) async fn charge(&self, now: Timestamp, keys: &[ThrottleKey]) -> Result<(), Problem> {
        self.charge_or(now, keys, Unthrottled::GoesOn).await
    }

    /// Like [`charge`](Self::charge), but `unthrottled` decides what happens if the throttle fails.
    async fn charge_or(
        &self,
        now: Timestamp,
        keys: &[ThrottleKey],
        unthrottled: Unthrottled,
    ) -> Result<(), Problem> {
        let failure = if self.breaker.admits() {
            match self.try_charge(now, keys).await {
                Ok(verdict) => return verdict,
                Err(failure) => failure,
            }
        } else if unthrottled == Unthrottled::GoesOn {
            metrics::counter!("mfa_throttle_skipped_total").increment(1);
            return Ok(());
        } else {
            StoreError::new("the throttle failed within the last second")
        };
        match unthrottled {
            Unthrottled::GoesOn => {
                tracing::error!(error = %Chain(&failure), "the throttle failed; the request goes on");
                Ok(())
            }
            Unthrottled::SendsNothing => {
                tracing::error!(error = %Chain(&failure), "the throttle failed; no message is sent");
                Err(ProblemCode::Unavailable.into())
            }
        }
    }

    /// Charges the keys; an error if the throttle failed. Requests then skip the throttle for a while.
    async fn try_charge(
        &self,
        now: Timestamp,
        keys: &[ThrottleKey],
    ) -> Result<Result<(), Problem>, StoreError> {
        let charges = async {
            for key in keys {
                let quota = self.quotas.of(key.kind());
                if let Charge::Refused { retry_after } = self.throttle.charge(key, quota, now).await? {
                    metrics::counter!("mfa_throttled_total", "kind" => key.kind().as_str()).increment(1);
                    return Ok(Err(Problem::throttled(retry_after)));
                }
            }
            Ok(Ok(()))
        };
        let failure = match tokio::time::timeout(THROTTLE_TIMEOUT, charges).await {
            Ok(Ok(verdict)) => {
                self.breaker.close();
                return Ok(verdict);
            }
            Ok(Err(error)) => error,
            Err(late) => StoreError::new(late),
        };
        self.breaker.open();
        metrics::counter!("mfa_throttle_errors_total").increment(1);
        Err(failure)
    }

    /// Charges a call about a challenge to the user of the challenge.
    pub(crate) async fn charge_user(&self, now: Timestamp, account: &AccountKey) -> Result<(), Problem> {
        self.charge(now, &[ThrottleKey::user(account)]).await
    }

    /// Charges a message before it is sent.
    pub(crate) async fn charge_message(
        &self,
        now: Timestamp,
        account: &AccountKey,
        recipient: ThrottleKey,
        unthrottled: Unthrottled,
    ) -> Result<(), Problem> {
        let keys = [ThrottleKey::message(account), recipient, ThrottleKey::tenant_messages(&account.tenant)];
        self.charge_or(now, &keys, unthrottled).await
    }

    /// Charges a challenge that names no user, before it is stored.
    pub(crate) async fn charge_challenge(&self, now: Timestamp, tenant: &TenantId) -> Result<(), Problem> {
        self.charge(now, &[ThrottleKey::tenant_challenges(tenant)]).await
    }

    /// Charges a backup code before it is checked.
    pub(crate) async fn charge_backup_code(
        &self,
        now: Timestamp,
        account: &AccountKey,
    ) -> Result<(), Problem> {
        self.charge(now, &[ThrottleKey::backup_code(account)]).await
    }

    /// Whether the audit trail of an account may record another used code.
    pub(crate) async fn admits_replay(&self, now: Timestamp, account: &AccountKey) -> bool {
        self.charge(now, &[ThrottleKey::replay(account)]).await.is_ok()
    }

    /// Charges the address of a client without a valid API key.
    pub(crate) async fn charge_stranger(
        &self,
        now: Timestamp,
        request: &ServiceRequest,
    ) -> Result<(), Problem> {
        let client = self.proxies.client(request.peer_addr(), request.headers());
        self.charge(now, &[ThrottleKey::address(client)]).await
    }

    /// Checks whether the throttle works, by a charge to an unused bucket.
    pub(crate) async fn probe(&self, now: Timestamp) -> Result<(), StoreError> {
        let key = ThrottleKey::probe();
        self.throttle.charge(&key, self.quotas.of(key.kind()), now).await.map(drop)
    }
}

impl Quotas {
    const fn of(&self, kind: ThrottleKind) -> Quota {
        match kind {
            ThrottleKind::Tenant => self.tenant,
            ThrottleKind::ApiKey => self.api_key,
            ThrottleKind::Change | ThrottleKind::Replay => self.change,
            ThrottleKind::BackupCode => self.backup_code,
            ThrottleKind::Message => self.message,
            ThrottleKind::Recipient => self.recipient,
            ThrottleKind::TenantMessages => self.tenant_messages,
            ThrottleKind::TenantChallenges => self.tenant_challenges,
            ThrottleKind::Address => self.address,
            _ => self.user,
        }
    }
}

impl Default for Quotas {
    fn default() -> Self {
        const fn quota(burst: u32, per: Duration) -> Quota {
            match Quota::new(burst, per) {
                Ok(quota) => quota,
                Err(_) => panic!("a default is out of its range"),
            }
        }
        const {
            Self {
                tenant: quota(1_200_000, Duration::from_mins(1)),
                api_key: quota(600_000, Duration::from_mins(1)),
                user: quota(6000, Duration::from_mins(10)),
                change: quota(60, Duration::from_hours(1)),
                backup_code: quota(20, Duration::from_hours(1)),
                message: quota(20, Duration::from_hours(1)),
                recipient: quota(20, Duration::from_hours(1)),
                tenant_messages: quota(10_000, Duration::from_hours(1)),
                tenant_challenges: quota(12_000, Duration::from_mins(1)),
                address: quota(1000, Duration::from_mins(15)),
            }
        }
    }
}

impl fmt::Debug for Throttling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttling")
            .field("quotas", &self.quotas)
            .field("proxies", &self.proxies)
            .field("refusal_delay", &self.refusal_delay)
            .finish_non_exhaustive()
    }
}
