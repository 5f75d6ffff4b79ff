-- KEYS: the account, the last event's id of its tenant.
return {redis.call('GET', KEYS[2]) or '0', redis.call('HGETALL', KEYS[1])}
