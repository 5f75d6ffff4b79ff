-- KEYS: the challenge.
--
-- A server that was restarted, or has taken the place of another, may have an earlier version of a challenge.
-- So each belongs to the history that it was made in, which ends with every restart
-- and promotion, and in another one it is as if it was not there.
local history = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
if redis.call('HGET', KEYS[1], 'history') ~= history then
    return {}
end
return redis.call('HGETALL', KEYS[1])
