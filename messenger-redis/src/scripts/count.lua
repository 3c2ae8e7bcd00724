-- How many people have gone and are not announced. KEYS: due, claimed, epoch. ARGV: microseconds of grace.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local since = string.format('%.0f', now - tonumber(ARGV[1]))
local due = redis.call('ZCOUNT', KEYS[1], '-inf', since)
local claimed = redis.call('ZCOUNT', KEYS[2], '-inf', string.format('%.0f', now))
return { redis.call('GET', KEYS[3]) or '', due + claimed }
