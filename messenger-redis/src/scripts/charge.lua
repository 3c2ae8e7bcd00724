-- Takes from a bucket, whether it holds as many or not, and says after how many microseconds it will be full again. KEYS:
-- bucket. ARGV: microseconds until there is one more, how many a full bucket holds, how many are taken, in the last how
-- many microseconds that was: so long the bucket has been filled again.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now - tonumber(ARGV[4])) + count * interval
-- It owes at most nine times what it holds.
full = math.min(full, now + 10 * burst * interval)
if full <= now then
    return 0
end
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.max(math.ceil((full - now) / 1000), 1))
return full - now
