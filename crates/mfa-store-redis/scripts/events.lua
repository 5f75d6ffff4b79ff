-- A page of a tenant's events, or of a user's.
--
-- KEYS: the events, the last event's id, and the user's events if they are asked for.
-- ARGV: an id after which to begin, or an empty text; how many at most.
local after, count = ARGV[1], tonumber(ARGV[2])
local last = redis.call('GET', KEYS[2]) or '0'
if not KEYS[3] then
    local from = after == '' and '-' or '(' .. after .. '-0'
    return {last, redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', count)}
end
local events = {}
local from = after == '' and '-inf' or '(' .. after
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], from, '+inf', 'LIMIT', 0, count)) do
    events[#events + 1] = redis.call('XRANGE', KEYS[1], id .. '-0', id .. '-0')[1]
end
return {last, events}
