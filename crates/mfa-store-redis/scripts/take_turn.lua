-- KEYS: the turn. ARGV: how many milliseconds it lasts.
--
-- Who has it is told by when it began. Two can only have begun in one microsecond by a clock that was set back,
-- and then the first of them is long over.
local time = redis.call('TIME')
local token = time[1] .. '.' .. time[2]
if redis.call('SET', KEYS[1], token, 'NX', 'PX', ARGV[1]) then
    return token
end
return false
