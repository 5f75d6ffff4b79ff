-- How many messages of a tenant a claim has to do with.
--
-- KEYS: what is due. ARGV: up to when a message is due; from and to which place messages are forgotten.
return redis.call('ZCOUNT', KEYS[1], '-inf', ARGV[1]) + redis.call('ZCOUNT', KEYS[1], ARGV[2], ARGV[3])
