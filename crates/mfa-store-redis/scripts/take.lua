-- KEYS: the challenge. ARGV: the time.
local history = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local found = redis.call('HMGET', KEYS[1], 'history', 'expires_at')
if found[1] ~= history then
    return {}
end
local expires_at = tonumber(found[2])
if not expires_at then
    return redis.error_reply('UNREADABLE challenge')
end
if tonumber(ARGV[1]) >= expires_at then
    return {}
end
local challenge = redis.call('HGETALL', KEYS[1])
redis.call('DEL', KEYS[1])
return challenge
