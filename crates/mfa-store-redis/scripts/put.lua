-- KEYS: the challenge. ARGV: how many milliseconds it is kept; its fields, each with its value.
if redis.call('EXISTS', KEYS[1]) == 1 then
    return 0
end
local history = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
redis.call('HSET', KEYS[1], 'history', history, unpack(ARGV, 2))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
