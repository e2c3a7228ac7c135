-- A conversation's counters; nothing where there is none. KEYS: counters, messages.
-- Cost: O(log n).
return {describe(KEYS[1], KEYS[2])}
