//! The contract of a throttle: charges travel together, and are decided by the one function that
//! decides them everywhere.

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

/// Reads the buckets of some keys, and forgets some that nobody needs any more. Rows that another
/// transaction works on are left to it, so this waits for nobody.
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

/// Writes each bucket that still is what was read; `(0, 0)`, which none is, where there was none.
///
/// Rows are inserted or updated in the order that they are given in, and locked in no other.
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

/// Each time that one is lost another replica's charges are made, so few are needed.
const TRIES: usize = 32;

/// A charge as it is queued.
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

/// Charges that are not decided yet, by their key and in its order: the place of each, and what it is.
type Open<'a> = BTreeMap<&'a str, Vec<(usize, &'a Asked)>>;

/// What becomes of the charges of one key, if its bucket still is what was read.
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

/// Makes charges, as if one after the other; an outcome for each.
///
/// Buckets are read, charged by the one function, and written where they still are what was read. Where
/// another replica was faster, its charges are read and it is tried again. A batch is one process's only
/// one, so that it never loses to itself.
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
        // Nobody must fail for what another one asked, if it is known that nothing was changed.
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

/// Tries until all is decided, or too often; what was decided is taken out.
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

/// Tries once; gives the keys whose charges are decided.
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
    // More may go than can come, so that they become fewer. By the earliest time that was told.
    let most = integer("LIMIT", 2 * keys.len() as u64)?;
    let now = open.values().flatten().map(|(_, asked)| asked.now).min().unwrap_or_default();
    let buckets = || sqlx::query_as(READ_BUCKETS).bind(&keys).bind(millis(now)).bind(most);
    let rows: Vec<BucketRow> = once(on, limits, buckets).await?;
    Ok(rows.into_iter().map(|row| (row.key.clone(), row)).collect())
}

/// Writes the buckets that still are what was read, in the order of their keys; gives their keys.
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
