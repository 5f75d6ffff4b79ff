-- The keys that secrets of a tenant are sealed with, and the users who have a secret of another key than one.
--
-- KEYS: the sealed secrets: a sorted set of 'key:user', each key in hexadecimal digits, all of one score.
-- ARGV: a key, or an empty text; a user after whom to begin, or an empty text; how many users of each key.
local except, after, count = ARGV[1], ARGV[2], tonumber(ARGV[3])
local keys, users = {}, {}
local from = '-'
while true do
    -- From each key straight to the next, however many users have it; a semicolon comes after a colon.
    local member = redis.call('ZRANGEBYLEX', KEYS[1], from, '+', 'LIMIT', 0, 1)[1]
    if not member then
        return {keys, users}
    end
    local key = string.match(member, '^(%x*):')
    if not key then
        return redis.error_reply('UNREADABLE sealed')
    end
    keys[#keys + 1] = key
    if count > 0 and key ~= except then
        local first = after == '' and '[' .. key .. ':' or '(' .. key .. ':' .. after
        local found = redis.call('ZRANGEBYLEX', KEYS[1], first, '(' .. key .. ';', 'LIMIT', 0, count)
        for _, other in ipairs(found) do
            users[#users + 1] = string.sub(other, #key + 2)
        end
    end
    from = '[' .. key .. ';'
end
