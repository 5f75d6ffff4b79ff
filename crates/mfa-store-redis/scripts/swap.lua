-- KEYS: the challenge. ARGV: the time, the expected version, the next one; fields, each with its value.
local history = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local found = redis.call('HMGET', KEYS[1], 'history', 'version', 'expires_at')
if found[1] ~= history or found[2] ~= ARGV[2] then
    return 0
end
local expires_at = tonumber(found[3])
if not expires_at then
    return redis.error_reply('UNREADABLE challenge')
end
if tonumber(ARGV[1]) >= expires_at then
    return 0
end
redis.call('HSET', KEYS[1], 'version', ARGV[3], unpack(ARGV, 4))
return 1
