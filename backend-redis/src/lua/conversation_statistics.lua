-- A conversation's figures; nothing where there is none. KEYS: figures, messages.
-- Cost: O(log n).
return {describe(KEYS[1], KEYS[2])}
