-- Who is about to tell that these have gone knows it. KEYS: leases, claimed. ARGV: users.
for _, user in ipairs(ARGV) do
    -- Who has come back meanwhile is claimed no more.
    if redis.call('ZREM', KEYS[2], user) == 1 then
        redis.call('HDEL', KEYS[1], user)
    end
end
return redis.status_reply('OK')
