-- Changes how far a message is, if it is at that version.
--
-- KEYS: the messages, what is due, the last event's id.
-- ARGV: the message, the expected version, the next one; the last event that must be there; when it is due, or an empty
-- text if nobody is to send it any more, and what is then added to when it expires; fields, each with its value.
local id, expected, following, lasting, place, over = unpack(ARGV, 1, 6)
local last = redis.call('GET', KEYS[3]) or '0'
if not tonumber(last) then
    return redis.error_reply('UNREADABLE last')
end
-- As in commit.lua, what fails if it is of another kind comes before anything is written.
redis.call('ZCARD', KEYS[2])
local found = redis.call('HMGET', KEYS[1], id .. ':version', id .. ':expires_at')
if found[1] ~= expected or tonumber(last) < tonumber(lasting) then
    return {0, last}
end
if place == '' then
    if not found[2] or not string.match(found[2], '^%d+$') or #found[2] > 15 then
        return redis.error_reply('UNREADABLE expires_at')
    end
    place = string.format('%.0f', over + found[2])
end
local fields = {id .. ':version', following}
for at = 7, #ARGV, 2 do
    fields[#fields + 1], fields[#fields + 2] = id .. ':' .. ARGV[at], ARGV[at + 1]
end
-- This is never refused for want of memory, and once it is done, nothing is: what was sent must not be sent again.
redis.call('HDEL', KEYS[1], id .. ':last_failure', id .. ':key', id .. ':content')
redis.call('HSET', KEYS[1], unpack(fields))
redis.call('ZADD', KEYS[2], place, id)
return {1, last}
