-- KEYS: the API key. ARGV: when it is revoked, unless it is.
if redis.call('EXISTS', KEYS[1]) == 0 then
    return 0
end
redis.call('HSETNX', KEYS[1], 'revoked_at', ARGV[1])
return 1
