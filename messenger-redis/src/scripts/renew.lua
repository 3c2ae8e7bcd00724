-- Takes or renews leases, and says who came online.
-- KEYS: due, leases, claimed, epoch, settling. ARGV: microseconds that leases last, an epoch if there is none, nothing or, where
-- leases are given again, for how many milliseconds nobody goes offline, 1 if people who are not online come online, 0 if they
-- are left out, and for each lease user, connection and, where it is given again, the microseconds that are left of it.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local epoch = redis.call('GET', KEYS[4])
if not epoch then
    epoch = ARGV[2]
    redis.call('SET', KEYS[4], epoch)
end
local restored = ARGV[3] ~= ''
if restored and ARGV[3] ~= '0' then
    redis.call('SET', KEYS[5], '1', 'PX', ARGV[3])
end
local came = { epoch }
local step = restored and 3 or 2
local may_come = ARGV[4] == '1'

local function renew(user, connection, left)
    local ends = now + tonumber(left)
    local known = redis.call('ZSCORE', KEYS[1], user)
    if not known and not may_come then
        return
    end
    local gone, kept, last = 0, '', ends
    if known then
        local record = redis.call('HGET', KEYS[2], user) or ''
        gone = #record >= 8 and struct.unpack('<d', record) or 0
        for place = 9, #record, 24 do
            local other = string.sub(record, place, place + 23)
            local ended = struct.unpack('<d', record, place + 16)
            if string.sub(other, 1, 16) == connection then
                -- It is replaced.
            elseif ended <= now then
                gone = math.max(gone, ended)
            else
                kept = kept .. other
                last = math.max(last, ended)
            end
        end
    end
    -- A server without memory refuses only a script's first write, and only one that takes more.
    redis.call('HSET', KEYS[2], user, struct.pack('<d', gone) .. kept .. connection .. struct.pack('<d', ends))
    redis.call('ZADD', KEYS[1], string.format('%.0f', math.max(last, gone)), user)
    if not known then
        came[#came + 1] = user
        redis.call('ZREM', KEYS[3], user)
    end
end

for at = 5, #ARGV, step do
    renew(ARGV[at], ARGV[at + 1], restored and ARGV[at + 2] or ARGV[1])
end
return came
