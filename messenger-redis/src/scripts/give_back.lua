-- Puts one back into a bucket. KEYS: bucket. ARGV: microseconds until there is one more.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full = tonumber(redis.call('GET', KEYS[1]) or 0) - tonumber(ARGV[1])
-- A bucket that is full is as good as none.
local left = math.max(math.ceil((full - now) / 1000), 1)
if redis.call('EXISTS', KEYS[1]) == 1 then
    redis.call('SET', KEYS[1], string.format('%.0f', math.max(full, 0)), 'PX', left)
end
return redis.status_reply('OK')
