-- KEYS: the API key. ARGV: when it was used.
if redis.call('EXISTS', KEYS[1]) == 0 then
    return 0
end
local last = tonumber(redis.call('HGET', KEYS[1], 'last_used_at') or '0')
if last < tonumber(ARGV[1]) then
    redis.call('HSET', KEYS[1], 'last_used_at', ARGV[1])
end
return 1
