-- Takes one from a bucket, or says how many microseconds to wait for one. KEYS: bucket. ARGV: microseconds until there is
-- one more, how many a full bucket holds. The value is the time at which the bucket will be full again.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local wait = full - now - (burst - 1) * interval
if wait > 0 then
    return wait
end
full = full + interval
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
return 0
