-- KEYS: the handles, the last event's id of their tenant. ARGV: a handle.
return {redis.call('GET', KEYS[2]) or '0', redis.call('HGET', KEYS[1], ARGV[1])}
