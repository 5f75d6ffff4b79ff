//! `Throttle` for PostgreSQL: charges are batched, and decided by the function that all stores use.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use mfa_domain::Timestamp;
use mfa_domain::ports::{StoreError, Throttle, ThrottleKey};
use mfa_domain::quota::{Bucket, Charge, Quota};
use mfa_rows::{BucketColumns, integer, millis};
use sqlx::PgConnection;
use sqlx::query::QueryAs;

use crate::transaction::{TimeLimits, by_itself, once};
use crate::{PostgresError, PostgresStore};

/// Reads the buckets of some keys, and deletes some that are no longer needed. Rows that another transaction
/// has locked are skipped, so this never waits.
pub(crate) const READ_BUCKETS: &str = concat!(
    "
    WITH forgotten AS (
        DELETE FROM mfa.throttles WHERE key = ANY (ARRAY (
            SELECT key FROM mfa.throttles WHERE kept_until <= $2 ORDER BY kept_until LIMIT $3
            FOR UPDATE SKIP LOCKED
        ))
    )
    SELECT key, arrival, latest FROM mfa.throttles WHERE key = ANY ($1) AND ",
    by_itself!()
);

/// Writes each bucket that is unchanged since it was read. `(0, 0)`, which no bucket has, stands for a
/// missing row.
///
/// Rows are inserted, updated and locked in the order of the arguments.
pub(crate) const WRITE_BUCKETS: &str = concat!(
    "
    INSERT INTO mfa.throttles AS t (key, arrival, latest, kept_until)
    SELECT key, arrival, latest, kept_until
    FROM unnest($1::text[], $2::int8[], $3::int8[], $4::int8[]) WITH ORDINALITY
        AS b (key, arrival, latest, kept_until, number)
    WHERE ",
    by_itself!(),
    "
    ORDER BY number
    ON CONFLICT (key) DO UPDATE
    SET arrival = excluded.arrival, latest = excluded.latest, kept_until = excluded.kept_until
    WHERE t.arrival = ($5::int8[])[array_position($1::text[], t.key)]
      AND t.latest = ($6::int8[])[array_position($1::text[], t.key)]
    RETURNING key"
);

/// Each lost attempt means that another replica's charges were made, so few attempts are needed.
const TRIES: usize = 32;

/// A queued charge.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    key: String,
    quota: Quota,
    now: Timestamp,
}

#[async_trait]
impl Throttle for PostgresStore {
    async fn charge(&self, key: &ThrottleKey, quota: Quota, now: Timestamp) -> Result<Charge, StoreError> {
        let asked = Arc::new(Asked { key: key.to_string(), quota, now });
        Ok(self.in_time(self.charges.ask(asked)).await??)
    }
}

/// The undecided charges by key, in order of the keys: the index of each in the batch, and the charge.
type Open<'a> = BTreeMap<&'a str, Vec<(usize, &'a Asked)>>;

/// The results of the charges of one key, valid if its bucket is unchanged since it was read.
struct Decided<'a> {
    key: &'a str,
    before: Bucket,
    after: Bucket,
    charges: Vec<Result<Charge, PostgresError>>,
}

#[derive(sqlx_macros::FromRow)]
struct BucketRow {
    key: String,
    arrival: i64,
    latest: i64,
}

/// Makes charges as if one after the other; returns one result per charge.
///
/// Buckets are read, charged by the shared function, and written if they are unchanged since they were read.
/// If another replica wrote a bucket meanwhile, it is read and charged again. A process runs one batch at a
/// time, so it never conflicts with itself.
pub(crate) async fn charge_all(
    on: &mut PgConnection,
    asked: &[Arc<Asked>],
    limits: TimeLimits,
) -> Vec<Result<Charge, PostgresError>> {
    let mut outcomes = vec![Err(PostgresError::Contended); asked.len()];
    let mut open = Open::new();
    for (place, asked) in asked.iter().enumerate() {
        open.entry(&asked.key).or_default().push((place, asked));
    }
    if let Err(error) = settle(on, limits, &mut open, &mut outcomes).await {
        // A failing charge must not make others fail if it is known that nothing was changed.
        let alone = open.len() > 1 && error.changed_nothing();
        for (key, charges) in open {
            let mut one = Open::from([(key, charges)]);
            let settled =
                if alone { settle(on, limits, &mut one, &mut outcomes).await } else { Err(error.clone()) };
            if let Err(error) = settled {
                one.values().flatten().for_each(|(place, _)| outcomes[*place] = Err(error.clone()));
            }
        }
    }
    outcomes
}

/// Tries until everything is decided or the attempts are used up; removes decided charges from `open`.
async fn settle(
    on: &mut PgConnection,
    limits: TimeLimits,
    open: &mut Open<'_>,
    outcomes: &mut [Result<Charge, PostgresError>],
) -> Result<(), PostgresError> {
    for _ in 0..TRIES {
        if open.is_empty() {
            break;
        }
        for Decided { key, charges, .. } in try_once(on, limits, open).await? {
            let places = open.remove(key).into_iter().flatten().map(|(place, _)| place);
            places.zip(charges).for_each(|(place, charge)| outcomes[place] = charge);
        }
    }
    Ok(())
}

/// Tries once; returns the keys whose charges are decided.
async fn try_once<'a>(
    on: &mut PgConnection,
    limits: TimeLimits,
    open: &Open<'a>,
) -> Result<Vec<Decided<'a>>, PostgresError> {
    let read = read(on, limits, open).await?;
    let mut decided: Vec<_> =
        open.iter().map(|(key, charges)| Decided::of(key, charges, read.get(*key))).collect();
    let changed: Vec<_> = decided.iter().filter(|decided| decided.before != decided.after).collect();
    if !changed.is_empty() {
        let written = write(on, limits, &changed).await?;
        decided.retain(|decided| decided.before == decided.after || written.contains(decided.key));
    }
    Ok(decided)
}

async fn read(
    on: &mut PgConnection,
    limits: TimeLimits,
    open: &Open<'_>,
) -> Result<HashMap<String, BucketRow>, PostgresError> {
    let keys: Vec<&str> = open.keys().copied().collect();
    // Deletes up to twice as many rows as it can add, so that the table shrinks. `now` is the earliest time
    // of the charges.
    let most = integer("LIMIT", 2 * keys.len() as u64)?;
    let now = open.values().flatten().map(|(_, asked)| asked.now).min().unwrap_or_default();
    let buckets = || sqlx::query_as(READ_BUCKETS).bind(&keys).bind(millis(now)).bind(most);
    let rows: Vec<BucketRow> = once(on, limits, buckets).await?;
    Ok(rows.into_iter().map(|row| (row.key.clone(), row)).collect())
}

/// Writes the buckets that are unchanged since they were read, in the order of their keys; returns their
/// keys.
async fn write(
    on: &mut PgConnection,
    limits: TimeLimits,
    changed: &[&Decided<'_>],
) -> Result<HashSet<String>, PostgresError> {
    let keys: Vec<_> = changed.iter().map(|decided| decided.key).collect();
    let columns = |of: fn(&Decided<'_>) -> Bucket| -> Result<Vec<_>, PostgresError> {
        changed.iter().map(|decided| Ok(BucketColumns::of(of(decided))?)).collect()
    };
    let (after, before) = (columns(|decided| decided.after)?, columns(|decided| decided.before)?);
    let numbers = |of: &[BucketColumns], column: fn(&BucketColumns) -> i64| -> Vec<i64> {
        of.iter().map(column).collect()
    };
    let columns = [
        numbers(&after, |bucket| bucket.arrival),
        numbers(&after, |bucket| bucket.latest),
        numbers(&after, |bucket| bucket.kept_until),
        numbers(&before, |bucket| bucket.arrival),
        numbers(&before, |bucket| bucket.latest),
    ];
    let buckets = || columns.iter().fold(sqlx::query_as(WRITE_BUCKETS).bind(&keys), QueryAs::bind);
    let written: Vec<(String,)> = once(on, limits, buckets).await?;
    Ok(written.into_iter().map(|(key,)| key).collect())
}

impl<'a> Decided<'a> {
    /// Charges a bucket, one charge after the other.
    fn of(key: &'a str, asked: &[(usize, &Asked)], read: Option<&BucketRow>) -> Self {
        let before = match read.map_or(Ok(Bucket::default()), BucketRow::read) {
            Ok(bucket) => bucket,
            Err(error) => {
                let charges = asked.iter().map(|_| Err(error.clone())).collect();
                return Self { key, before: Bucket::default(), after: Bucket::default(), charges };
            }
        };
        let mut after = before;
        let mut charge = |asked: &Asked| {
            let (charge, bucket) = asked.quota.charge(after, asked.now);
            after = bucket;
            Ok(charge)
        };
        let charges = asked.iter().map(|(_, asked)| charge(asked)).collect();
        Self { key, before, after, charges }
    }
}

impl BucketRow {
    fn read(&self) -> Result<Bucket, PostgresError> {
        Ok(BucketColumns::read(self.arrival, self.latest)?)
    }
}
