-- Claims people who have gone, and says when. KEYS: due, leases, claimed, epoch, settling. ARGV: microseconds of grace,
-- how many at most, microseconds after which who has claimed somebody and has not confirmed it counts as lost.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local gone, unknown = {}, {}
if redis.call('EXISTS', KEYS[5]) == 1 then
    return gone
end
local most = tonumber(ARGV[2])
local claim = string.format('%.0f', now + tonumber(ARGV[3]))
local lost = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', now), 'LIMIT', 0, most)
for _, user in ipairs(lost) do
    local record = redis.call('HGET', KEYS[2], user)
    if record then
        redis.call('ZADD', KEYS[3], claim, user)
        gone[#gone + 1] = user
        gone[#gone + 1] = string.format('%.0f', struct.unpack('<d', record))
    else
        unknown[#unknown + 1] = user
    end
end
local since = string.format('%.0f', now - tonumber(ARGV[1]))
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', since, 'WITHSCORES', 'LIMIT', 0, most - #lost)
for at = 1, #due, 2 do
    local user, seen = due[at], tonumber(due[at + 1])
    -- A server without memory refuses only a script's first write, and only one that takes more.
    redis.call('HSET', KEYS[2], user, struct.pack('<d', seen))
    redis.call('ZADD', KEYS[3], claim, user)
    redis.call('ZREM', KEYS[1], user)
    gone[#gone + 1] = user
    gone[#gone + 1] = string.format('%.0f', seen)
end
for _, user in ipairs(unknown) do
    redis.call('ZREM', KEYS[3], user)
end
return gone
