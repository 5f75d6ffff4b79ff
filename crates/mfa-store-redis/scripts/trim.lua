-- Takes the beginning of a trail away: all of it, or nothing.
--
-- KEYS: the account, the user's events, the events, the last event's id.
-- ARGV: sequence and hash of the base as it is, and as it is to be; the last event that must be there.
local from, from_hash, to, to_hash = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4]
local last = redis.call('GET', KEYS[4]) or '0'
if not tonumber(last) then
    return redis.error_reply('UNREADABLE last')
end
-- As in commit.lua, what fails if it is of another kind comes before anything is written.
redis.call('XLEN', KEYS[3])
local account = redis.call('HMGET', KEYS[1], 'audit_base_sequence', 'audit_base_hash', 'audit_sequence')
local base, base_hash = account[1] or '0', account[2] or string.rep('\0', 32)
if not account[3] or tonumber(base) ~= from or base_hash ~= from_hash or tonumber(account[3]) <= to
    or tonumber(last) < tonumber(ARGV[5]) then
    return {0, last}
end
-- The events of a user that are there follow the base one by one.
local ids = {}
if to > from then
    ids = redis.call('ZRANGE', KEYS[2], 0, to - from - 1)
end
if #ids ~= to - from then
    return redis.error_reply('UNREADABLE events')
end
for _, id in ipairs(ids) do
    if not string.match(id, '^%d+$') or #id > 19 then
        return redis.error_reply('UNREADABLE events')
    end
end
-- And first the command that is refused when there is no memory left.
redis.call('HSET', KEYS[1], 'audit_base_sequence', ARGV[3], 'audit_base_hash', to_hash)
for _, id in ipairs(ids) do
    redis.call('XDEL', KEYS[3], id .. '-0')
    redis.call('ZREM', KEYS[2], id)
end
return {1, last}
