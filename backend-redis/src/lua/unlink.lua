-- Unlinks the keys that a sorted set names, each behind all of `starts`. Where one of them has moved
-- to another node of a cluster, EXISTS fails as UNLINK would, and before anything is gone.
local function unlink_all(set, ...)
  local starts = {...}
  for _, command in ipairs({'EXISTS', 'UNLINK'}) do
    local at = 0
    while true do
      local members = redis.call('ZRANGE', set, at, at + 999)
      if #members == 0 then
        break
      end
      at = at + #members
      local names = {}
      for _, member in ipairs(members) do
        for _, start in ipairs(starts) do
          names[#names + 1] = start .. member
        end
      end
      redis.call(command, unpack(names))
    end
  end
end
