-- Starts a scope's counter of versions, unless it runs. It starts at the server's microseconds, so
-- that no version comes back even after an erasure took the counter away, and stays below 2^53
-- until the year 2255. KEYS: versions. Cost: O(1).
local time = redis.call('TIME')
redis.call('SET', KEYS[1], digits(time[1] * 1000000 + time[2]), 'NX')
return 1
