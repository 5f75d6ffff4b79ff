//! The floor: `pgbench` doing what one verification needs from the database, and nothing around it.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::population::TENANT;
use super::postgres::Database;
use super::server::binaries;

/// The account with its factor, as the verification of a code of an authenticator has to read them. It is
/// what the store reads, written for one account.
const SELECT: &str = "
SELECT a.id, a.version, a.failures, a.forgiven, a.recent_failures, a.verified_low, a.verified_medium, a.verified_high, a.audit_sequence,
    a.audit_hash, a.audit_base_sequence, a.audit_base_hash, a.factors, a.answers, a.data
FROM mfa.accounts a
WHERE a.tenant_id = ':tenant' AND a.user_id = 'user-' || lpad(:n::text, 8, '0') \\gset
";

/// Compares the version, and writes the account with its factor and an event. The counter stays, so that
/// the codes of the same users are good for the server's turn.
const COMMIT: &str = "
WITH won AS (
    UPDATE mfa.accounts SET version = version + 1, failures = 0, forgiven = 0, recent_failures = NULL,
        verified_medium = 1800000000000, audit_sequence = audit_sequence + 1, audit_hash = decode(:hash, 'hex'),
        factors = :factors
    WHERE id = :id AND version = :version
    RETURNING id, tenant_id, audit_sequence
)
INSERT INTO mfa.events (tenant_id, account_id, sequence, at, kind, factor_id, actor, detail, previous, hash)
SELECT tenant_id, id, audit_sequence, 1800000000000, 'verified', '00000000-0000-7000-8000-000000000000', 'admin api-key bench',
    '{}', decode(:hash, 'hex'), decode(:hash, 'hex') FROM won;
";

/// What `pgbench` does.
pub struct Floor<'a> {
    database: &'a Database,
    script: PathBuf,
    folder: tempfile::TempDir,
}

impl<'a> Floor<'a> {
    pub fn new(database: &'a Database, users: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let script = folder.path().join("verification.sql");
        let select = SELECT.replace(":tenant", TENANT);
        let text = format!("\\set n random(0, {})\n{select}{COMMIT}", users - 1);
        std::fs::write(&script, text).expect("a file");
        Self { database, script, folder }
    }

    /// How many verifications `pgbench` makes in a second with so many clients.
    pub fn rate(&self, clients: u32, time: Duration) -> f64 {
        let (server, name) = self.database.url.rsplit_once('/').expect("a URL");
        assert!(server.starts_with("postgres://mfa@"));
        // Beside the server, wherever a link on the path leads to.
        let postgres = binaries().join("postgres").canonicalize().expect("PostgreSQL");
        let mut command = Command::new(postgres.with_file_name("pgbench"));
        command.args(["--no-vacuum", "--protocol=prepared", "--jobs=2"]).arg("--file").arg(&self.script);
        command.args([format!("--client={clients}"), format!("--time={}", time.as_secs())]);
        command.arg(format!("--define=hash={}", "5a".repeat(32)));
        command.args(["--username=mfa", "--port=5432"]).arg("--host").arg(self.database.server.folder());
        let output = command.arg(name).current_dir(self.folder.path()).output().expect("pgbench");
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        // `\gset` of a user that is not there, or a comparison that fails for another reason than
        // another client, would make this a floor of something else.
        assert!(text.contains("number of failed transactions: 0 (0.000%)"), "{text}{errors}");
        let rate = text.lines().find_map(|line| line.strip_prefix("tps = "));
        rate.and_then(|rate| rate.split(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{text}{errors}"))
    }
}
