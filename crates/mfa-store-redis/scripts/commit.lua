-- A commit: all of it, or nothing.
--
-- KEYS: the account, the users, the sealed secrets, the events, the user's events, the last event's id; the handles, if
-- there are changes of them; the messages and what is due, if there are messages.
-- ARGV: user, expected version, next version, the last event that must be there; how many fields, each with
-- its value; what becomes of the backup codes ('keep', 'remove', 'replace' or 'spend') and two texts for that; how
-- many changes of handles, each 'claim' or 'release' and a handle; how many messages, each with its place in what is due,
-- how many fields, and each of these with its value; how many events, each with eight values.
local at = 0
local function take()
    at = at + 1
    return ARGV[at]
end
local user, expected, following, lasting = take(), take(), take(), tonumber(take())

-- What a script has written stays when it fails. So whatever can fail is done before anything is written:
-- each key is read once, by which it shows that it is what it should be; handles and messages where there are any.
local version = redis.call('HGET', KEYS[1], 'version') or '0'
redis.call('ZCARD', KEYS[2])
redis.call('ZCARD', KEYS[3])
redis.call('ZCARD', KEYS[5])
local last = tonumber(redis.call('GET', KEYS[6]) or '0')
local newest = redis.call('XREVRANGE', KEYS[4], '+', '-', 'COUNT', 1)[1]
if not last or newest and tonumber(string.match(newest[1], '^%d+')) > last then
    return redis.error_reply('UNREADABLE last')
end
local function text(number)
    return string.format('%.0f', number)
end
-- The keys that are named in what is or will be in sealed_with; nil if it cannot be read.
local function keys_of(sealed_with)
    local keys = {}
    for key in string.gmatch(sealed_with, '%S+') do
        if keys[key] or not string.match(key, '^%x+$') then
            return nil
        end
        keys[key] = true
    end
    return keys
end
if version ~= expected or last < lasting then
    return {0, text(last)}
end

local fields, sealed_with = {'version', following}, nil
for _ = 1, tonumber(take()) do
    local name, value = take(), take()
    fields[#fields + 1], fields[#fields + 2] = name, value
    if name == 'sealed_with' then
        sealed_with = value
    end
end

local before, after = {}, {}
if sealed_with then
    local kept = redis.call('HGET', KEYS[1], 'sealed_with')
    if kept then
        before = keys_of(kept)
    elseif redis.call('HEXISTS', KEYS[1], 'factors') == 1 then
        -- Both are written together, so nobody can tell any more what was in the index.
        before = nil
    end
    after = keys_of(sealed_with)
    if not before or not after then
        return redis.error_reply('UNREADABLE sealed_with')
    end
end
local codes, first, second = take(), take(), take()
local leads_here = {}
for _ = 1, tonumber(take()) do
    local what, handle = take(), take()
    local owner = redis.call('HGET', KEYS[7], handle)
    if owner and owner ~= user then
        if what == 'claim' then
            return {2, text(last)}
        end
    else
        leads_here[handle] = what == 'claim'
    end
end
local messages, due, put = KEYS[#KEYS - 1], KEYS[#KEYS], {}
for _ = 1, tonumber(take()) do
    local id, place = take(), take()
    redis.call('ZCARD', due)
    local before = redis.call('HGET', messages, id .. ':version') or '0'
    if not string.match(before, '^%d+$') or #before > 15 then
        return redis.error_reply('UNREADABLE version')
    end
    local of = {id .. ':version', text(before + 1)}
    for _ = 1, tonumber(take()) do
        of[#of + 1], of[#of + 2] = id .. ':' .. take(), take()
    end
    put[#put + 1] = {id = id, place = place, fields = of}
end

-- From here on it is written. The first command is one that is refused when there is no memory left; once it
-- is done, none is.
for _ = 1, tonumber(take()) do
    last = last + 1
    redis.call('XADD', KEYS[4], text(last) .. '-0', 'user', user, 'sequence', take(), 'at', take(),
        'kind', take(), 'factor', take(), 'actor', take(), 'detail', take(), 'previous', take(), 'hash', take())
    redis.call('ZADD', KEYS[5], text(last), text(last))
end
redis.call('SET', KEYS[6], text(last))
if expected == '0' then
    redis.call('ZADD', KEYS[2], 0, user)
end
for key in pairs(after) do
    if not before[key] then
        redis.call('ZADD', KEYS[3], 0, key .. ':' .. user)
    end
end
for key in pairs(before) do
    if not after[key] then
        redis.call('ZREM', KEYS[3], key .. ':' .. user)
    end
end
for handle, here in pairs(leads_here) do
    if here then
        redis.call('HSET', KEYS[7], handle, user)
    else
        redis.call('HDEL', KEYS[7], handle)
    end
end
for _, message in ipairs(put) do
    local id = message.id
    redis.call('HDEL', messages, id .. ':last_failure', id .. ':key', id .. ':content')
    redis.call('HSET', messages, unpack(message.fields))
    redis.call('ZADD', due, message.place, id)
end
if codes == 'remove' then
    redis.call('HDEL', KEYS[1], 'codes', 'spent')
elseif codes == 'replace' then
    redis.call('HSET', KEYS[1], 'codes', first, 'spent', second)
elseif codes == 'spend' and redis.call('HEXISTS', KEYS[1], 'codes') == 1 then
    redis.call('HSET', KEYS[1], 'spent', (redis.call('HGET', KEYS[1], 'spent') or '') .. ' ' .. first)
end
redis.call('HSET', KEYS[1], unpack(fields))
return {1, text(last)}
