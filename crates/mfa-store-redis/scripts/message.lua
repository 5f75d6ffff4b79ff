-- KEYS: the messages, the last event's id of their tenant. ARGV: the fields of one message.
return {redis.call('GET', KEYS[2]) or '0', redis.call('HMGET', KEYS[1], unpack(ARGV))}
