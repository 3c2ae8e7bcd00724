-- How many people have gone and were not told of. KEYS: due, leases, claimed, epoch, settling. ARGV: microseconds of grace.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local epoch = redis.call('GET', KEYS[4]) or ''
if redis.call('EXISTS', KEYS[5]) == 1 then
    return { epoch, 0 }
end
local since = string.format('%.0f', now - tonumber(ARGV[1]))
local due = redis.call('ZCOUNT', KEYS[1], '-inf', since)
return { epoch, due + redis.call('ZCOUNT', KEYS[3], '-inf', string.format('%.0f', now)) }
