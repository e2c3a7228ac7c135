-- Removes keys of a shared cache, leases as well as values. KEYS: those. Cost: O(keys).
return redis.call('UNLINK', unpack(KEYS))
