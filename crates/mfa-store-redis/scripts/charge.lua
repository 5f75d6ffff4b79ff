-- KEYS[1]: the bucket. ARGV: the time and the emission interval in microseconds, the burst, how many
-- milliseconds a bucket is kept after it recovered.
--
-- This is Quota::charge of mfa-domain. Numbers are doubles here, and exact as long as they are below 2^53:
-- microseconds until the year 2255.
local given, interval, burst, kept = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local arrival, latest = 0, 0
local bucket = redis.call('GET', KEYS[1])
if bucket then
    local a, l = string.match(bucket, '^(%d+) (%d+)$')
    if not a then
        return redis.error_reply('UNREADABLE bucket')
    end
    arrival, latest = tonumber(a), tonumber(l)
end
local now = math.max(given, latest)
arrival = math.max(arrival, now) + interval
local admitted_at = math.max(0, arrival - interval * burst)
if admitted_at > now then
    return admitted_at - given
end
-- It is kept by the clock of whoever is furthest behind.
local expires = math.ceil((arrival - given) / 1000) + kept
redis.call('SET', KEYS[1], string.format('%.0f %.0f', arrival, now), 'PX', string.format('%.0f', expires))
return 0
