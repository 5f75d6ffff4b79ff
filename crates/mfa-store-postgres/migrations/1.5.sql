-- A part of what was there before 1.4: the next hundred accounts after $1. It is done until there is no more, each
-- time in a transaction of its own, so that nobody waits long for a row; and to do one twice changes nothing.
-- What the program before has changed meanwhile is in the arrays by then, and is left.

WITH part AS MATERIALIZED (
    SELECT account_id FROM mfa.backup_code_sets WHERE account_id > $1 AND hashes = '{}'
    ORDER BY account_id LIMIT 100
),
copied AS (
    UPDATE mfa.backup_code_sets s SET hashes = c.hashes, spent_at = c.spent
    FROM (
        SELECT o.account_id, array_agg(o.hash ORDER BY o.place) AS hashes,
            array_agg(o.spent_at ORDER BY o.place) AS spent
        FROM part p JOIN mfa.backup_codes o ON o.account_id = p.account_id
        GROUP BY o.account_id
    ) c
    WHERE s.account_id = c.account_id AND s.hashes = '{}'
)
SELECT max(account_id) FROM part
