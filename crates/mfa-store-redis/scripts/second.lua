-- Which users have a second event that happened before a time, of those that are still there: 1 or 0 for each.
-- One whose events cannot be read has none.
--
-- KEYS: the events, the events of each user, all of one tenant. ARGV: the time.
local before = tonumber(ARGV[1])
local old = {}
for n = 2, #KEYS do
    local id = redis.pcall('ZRANGE', KEYS[n], 1, 1)[1]
    local event = id and redis.pcall('XRANGE', KEYS[1], id .. '-0', id .. '-0')[1]
    old[#old + 1] = 0
    for place = 1, event and #event[2] or 0, 2 do
        if event[2][place] == 'at' and (tonumber(event[2][place + 1]) or before) < before then
            old[#old] = 1
        end
    end
end
return old
