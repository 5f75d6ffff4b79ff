-- KEYS: whose turn it is, how many turns there were. ARGV: how many milliseconds it lasts.
if redis.call('EXISTS', KEYS[1]) == 1 then
    return false
end
local turn = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], turn, 'PX', ARGV[1])
return tostring(turn)
