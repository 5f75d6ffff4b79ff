-- KEYS: the challenge. ARGV: the expected version, the next one; fields, each with its value.
local history = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local found = redis.call('HMGET', KEYS[1], 'history', 'version')
if found[1] ~= history or found[2] ~= ARGV[1] then
    return 0
end
redis.call('HSET', KEYS[1], 'version', ARGV[2], unpack(ARGV, 3))
return 1
