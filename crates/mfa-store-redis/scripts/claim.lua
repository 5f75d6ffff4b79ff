-- Claims messages of a tenant, those first that became due last, and forgets some of those that expired long ago.
--
-- KEYS: the messages, what is due, the last event's id.
-- ARGV: the last event that must be there; up to when a message is due, until when it is claimed, how many at most;
-- from and to which place messages are forgotten; the names of a message's fields.
local lasting, now, claim_end, count, from, to = unpack(ARGV, 1, 6)
local names = {unpack(ARGV, 7)}
local function fields_of(id)
    local fields = {}
    for n, name in ipairs(names) do
        fields[n] = id .. ':' .. name
    end
    return fields
end
local function is_number(text)
    return text and string.match(text, '^%d+$') and #text < 16
end
-- As in commit.lua, what fails if it is of another kind comes before anything is written.
redis.call('HLEN', KEYS[1])
local due = redis.call('ZREVRANGEBYSCORE', KEYS[2], now, '-inf', 'LIMIT', 0, count)
local over = redis.call('ZRANGEBYSCORE', KEYS[2], from, to, 'LIMIT', 0, 100)
local last = redis.call('GET', KEYS[3]) or '0'
if not tonumber(last) then
    return redis.error_reply('UNREADABLE last')
end
if tonumber(last) < tonumber(lasting) then
    return {last, {}}
end

for _, id in ipairs(over) do
    redis.call('HDEL', KEYS[1], unpack(fields_of(id)))
    redis.call('ZREM', KEYS[2], id)
end
local claimed = {}
for _, id in ipairs(due) do
    local version, tries = unpack(redis.call('HMGET', KEYS[1], id .. ':version', id .. ':tries'))
    -- One that cannot be read stays as it is, and is named by whoever reads it. It comes again when the others do.
    if is_number(version) and is_number(tries) then
        redis.call('HSET', KEYS[1], id .. ':version', string.format('%.0f', version + 1),
            id .. ':tries', string.format('%.0f', math.min(tries + 1, 4294967295)), id .. ':due_at', claim_end)
    end
    redis.call('ZADD', KEYS[2], claim_end, id)
    claimed[#claimed + 1] = {id, unpack(redis.call('HMGET', KEYS[1], unpack(fields_of(id))))}
end
return {last, claimed}
