-- Where audit chains end and begin: for each account sequence and hash of its head and of its base, one after
-- the other.
--
-- KEYS: the accounts, all of one tenant.
local heads = {}
for _, account in ipairs(KEYS) do
    -- A key that is no hash has none.
    local ends = redis.pcall('HMGET', account, 'audit_sequence', 'audit_hash', 'audit_base_sequence',
        'audit_base_hash')
    for n = 1, 4 do
        heads[#heads + 1] = ends[n] or false
    end
end
return heads
