-- Gives leases back. KEYS: due, leases. ARGV: user and connection of each lease.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
for at = 1, #ARGV, 2 do
    local user, connection = ARGV[at], ARGV[at + 1]
    local record = redis.call('ZSCORE', KEYS[1], user) and redis.call('HGET', KEYS[2], user)
    if record then
        local gone, kept, last, found = struct.unpack('<d', record), '', 0, false
        for place = 9, #record, 24 do
            local other = string.sub(record, place, place + 23)
            local ends = struct.unpack('<d', record, place + 16)
            if string.sub(other, 1, 16) == connection then
                gone = math.max(gone, math.min(ends, now))
                found = true
            else
                kept = kept .. other
                last = math.max(last, ends)
            end
        end
        if found then
            redis.call('HSET', KEYS[2], user, struct.pack('<d', gone) .. kept)
            redis.call('ZADD', KEYS[1], string.format('%.0f', math.max(last, gone)), user)
        end
    end
end
return redis.status_reply('OK')
