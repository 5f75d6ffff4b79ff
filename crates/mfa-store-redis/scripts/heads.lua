-- Where audit chains end: for each account its sequence and its hash, one after the other.
--
-- KEYS: the accounts, all of one tenant.
local heads = {}
for _, account in ipairs(KEYS) do
    local head = redis.call('HMGET', account, 'audit_sequence', 'audit_hash')
    heads[#heads + 1], heads[#heads + 2] = head[1], head[2]
end
return heads
