//! How often who may call: the one place where requests are charged.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServiceRequest;
use mfa_domain::ports::{StoreError, Throttle, ThrottleKey, ThrottleKind};
use mfa_domain::{AccountKey, Charge, Quota, Timestamp};

use self::breaker::Breaker;
use crate::chain::Chain;
use crate::problem::{Problem, ProblemCode};
use crate::routes::Unthrottled;

mod breaker;

pub use crate::client_address::{
    ForwardedHeader, InvalidNetwork, Network, Proxies, TrustsEverybody, UnknownHeader,
};

/// How long a request waits for the throttle, all its charges together; then it goes on without.
const THROTTLE_TIMEOUT: Duration = Duration::from_millis(250);

/// What is throttled, and by what.
///
/// A request is charged once its API key is known and before its body is read, so nothing of how it is
/// throttled depends on a code, but for a backup code, which is charged for its form before it is
/// hashed. The narrowest bucket is charged first: what is refused for one user
/// costs the API key and the tenant nothing, so a flood of one user leaves the others theirs.
///
/// Messages are charged apart from requests: to the user, the address and the tenant. If the throttle fails, calls that
/// send one are answered 503 and send none, since each costs somebody money or patience; the table of routes says which
/// they are.
///
/// Otherwise, if the throttle fails, or takes longer than a quarter of a second, the request goes on: what
/// guards codes is the account's own budget. The throttle is then left alone for a second, so that a
/// throttle that hangs does not slow every request down, and is tried by one request before all others.
///
/// What is refused without a look at a code, as `throttled`, `locked` or `disabled`, is answered about a
/// second later. It costs next to nothing to refuse, but not nothing: whoever asks again as soon as there is an
/// answer then asks once a second on each connection, and cannot keep the server from others.
#[derive(Clone)]
pub struct Throttling {
    throttle: Arc<dyn Throttle>,
    breaker: Arc<Breaker>,
    quotas: Quotas,
    proxies: Proxies,
    refusal_delay: Duration,
}

/// How many requests each may make.
///
/// The defaults are far above what a host does in its busiest minute, and below what would fill a disk
/// or keep a machine from others. Each is a burst, and the time in which so many come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// All requests of one tenant. Default 1,200,000 a minute: 20,000 a second.
    pub tenant: Quota,
    /// All requests with one API key. Default 600,000 a minute: 10,000 a second.
    pub api_key: Quota,
    /// Requests that check a code of one user or change what they have; those of operators are not
    /// counted. Default 6,000 in ten minutes: a burst that no person makes, and ten a second.
    pub user: Quota,
    /// Requests that offer a factor or backup codes to one user, or rename, resynchronise or remove a factor, each of
    /// which the audit trail keeps for good. Default 60 in an hour: one a minute. As many used codes that are
    /// posted again are recorded beside these; further ones are refused all the same.
    pub change: Quota,
    /// Backup codes that are tried for one user, right or wrong, each of which costs a slow hash.
    /// Default 20 in an hour: one in three minutes.
    pub backup_code: Quota,
    /// Messages to one user. Default 20 in an hour: one in three minutes.
    pub message: Quota,
    /// Messages to one address, whoever's it is; two that differ in case, in what follows a `+`, in quotation marks, or in
    /// the form of an international domain, are one. Default 20 in an hour: one in three minutes.
    pub recipient: Quota,
    /// Messages to all users of one tenant. Default 10,000 in an hour: some three a second.
    pub tenant_messages: Quota,
    /// Requests without a valid API key from one client address. Default 1,000 in a quarter of an
    /// hour: one a second. Requests with a valid key are not counted, wherever they are from.
    pub address: Quota,
}

impl Throttling {
    /// How long a refusal is held back by default, on average: each from half of it to one and a half.
    pub const REFUSAL_DELAY: Duration = Duration::from_secs(1);

    /// By that throttle, with the default quotas and without proxies.
    #[must_use]
    pub fn new(throttle: Arc<dyn Throttle>) -> Self {
        let (breaker, quotas, proxies) = (Arc::default(), Quotas::default(), Proxies::default());
        Self { throttle, breaker, quotas, proxies, refusal_delay: Self::REFUSAL_DELAY }
    }

    /// With these quotas.
    #[must_use]
    pub const fn quotas(mut self, quotas: Quotas) -> Self {
        self.quotas = quotas;
        self
    }

    /// Behind these proxies, which are believed whom they forward for.
    #[must_use]
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// With refusals held back for that long in place of a second, on average: each from half of it to
    /// one and a half, so that those refused together do not come back together. Not at all if it is
    /// zero; a minute at most.
    #[must_use]
    pub fn refusal_delay(mut self, delay: Duration) -> Self {
        self.refusal_delay = delay.min(Duration::from_mins(1));
        self
    }

    /// How long an answer with that problem is held back, if it is.
    pub(crate) fn delay_of(&self, problem: ProblemCode) -> Option<Duration> {
        let refused = matches!(problem, ProblemCode::Throttled | ProblemCode::Locked | ProblemCode::Disabled);
        (refused && !self.refusal_delay.is_zero()).then_some(self.refusal_delay)
    }

    /// Charges one after the other, until one is refused. If the throttle fails, the request goes on.
    pub(crate) async fn charge(&self, now: Timestamp, keys: &[ThrottleKey]) -> Result<(), Problem> {
        self.charge_or(now, keys, Unthrottled::GoesOn).await
    }

    /// The same for a request that may not go on if the throttle fails.
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
                tracing::error!(error = %Chain(&failure), "could not throttle; the request goes on");
                Ok(())
            }
            Unthrottled::SendsNothing => {
                tracing::error!(error = %Chain(&failure), "could not throttle; nothing is sent");
                Err(ProblemCode::Unavailable.into())
            }
        }
    }

    /// The same; an error if the throttle failed, which is then left alone for a while.
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

    /// Charges a call about a challenge to the user whose it is.
    pub(crate) async fn charge_user(&self, now: Timestamp, account: &AccountKey) -> Result<(), Problem> {
        self.charge(now, &[ThrottleKey::user(account)]).await
    }

    /// Charges a message that is to be sent.
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

    /// Charges a backup code that is tried.
    pub(crate) async fn charge_backup_code(
        &self,
        now: Timestamp,
        account: &AccountKey,
    ) -> Result<(), Problem> {
        self.charge(now, &[ThrottleKey::backup_code(account)]).await
    }

    /// Whether the trail of an account may keep one more used code.
    pub(crate) async fn admits_replay(&self, now: Timestamp, account: &AccountKey) -> bool {
        self.charge(now, &[ThrottleKey::replay(account)]).await.is_ok()
    }

    /// Charges the address of a client who has no valid API key.
    pub(crate) async fn charge_stranger(
        &self,
        now: Timestamp,
        request: &ServiceRequest,
    ) -> Result<(), Problem> {
        let client = self.proxies.client(request.peer_addr(), request.headers());
        self.charge(now, &[ThrottleKey::address(client)]).await
    }

    /// Whether the throttle works: charges a bucket that is nobody's.
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
