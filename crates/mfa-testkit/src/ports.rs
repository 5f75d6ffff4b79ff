//! All ports of the domain, faked around one store.

use std::sync::Arc;

use mfa_domain::ports::AccountStore;
use mfa_domain::{Mfa, Policies, Ports};

use crate::{FakeHasher, FakeVault, ManualClock, SeededEntropy};

/// Ports for a test, and the fakes behind them to control and inspect.
#[derive(Clone, Debug)]
pub struct TestPorts {
    /// The ports for [`Mfa::new`].
    pub ports: Ports,
    /// The clock in `ports`.
    pub clock: Arc<ManualClock>,
    /// The vault in `ports`.
    pub vault: Arc<FakeVault>,
    /// The hasher in `ports`.
    pub hasher: Arc<FakeHasher>,
}

/// Creates fakes around a store. A test changes its store in this call.
#[must_use]
pub fn ports(accounts: Arc<dyn AccountStore>) -> TestPorts {
    let clock = Arc::new(ManualClock::default());
    let vault = Arc::new(FakeVault::default());
    let hasher = Arc::new(FakeHasher::default());
    let ports = Ports::shared(accounts, vault.clone(), hasher.clone())
        .clock(clock.clone())
        .entropy(Arc::new(SeededEntropy::default()));
    TestPorts { ports, clock, vault, hasher }
}

impl TestPorts {
    /// Use cases on these ports under the default policies.
    #[must_use]
    pub fn mfa(&self) -> Mfa {
        Mfa::new(self.ports.clone(), Policies::default()).unwrap()
    }

    /// The same fakes around another store, or another handle on the same one: a second replica.
    #[must_use]
    pub fn with_accounts(&self, accounts: Arc<dyn AccountStore>) -> Self {
        Self { ports: Ports { accounts, ..self.ports.clone() }, ..self.clone() }
    }
}
