-- KEYS: whose turn it is. ARGV: which turn ends. One that was over, and is another's by now, is left to that.
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('DEL', KEYS[1])
end
return 0
