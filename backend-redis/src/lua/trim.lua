-- Applies retention. KEYS: figures, messages, ids, gone.
-- ARGV: most messages, most tokens ('' for none), whether to keep system messages ('1').
-- Cost: O(evicted).
local figures = read_figures(KEYS[1])
if not figures then
  return 0
end
local evicted = evict(figures, KEYS[2], KEYS[4], ARGV[1], ARGV[2], ARGV[3])
write_figures(KEYS[1], figures)
return evicted
