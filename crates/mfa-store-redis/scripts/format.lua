-- The version of the keys: made where there is none, and told.
--
-- KEYS: the version. ARGV: major and minor version of the program.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then
    redis.call('HSET', KEYS[1], 'major', ARGV[1], 'minor', ARGV[2])
    return {ARGV[1], 1}
end
local major = kind == 'hash' and redis.call('HGET', KEYS[1], 'major') or ''
local minor = major == ARGV[1] and tonumber(redis.call('HGET', KEYS[1], 'minor') or '')
if minor and minor < tonumber(ARGV[2]) then
    redis.call('HSET', KEYS[1], 'minor', ARGV[2])
end
return {major, 0}
