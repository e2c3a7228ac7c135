-- The digits of a whole number below 2^53.
local function digits(number)
  return string.format('%.0f', number)
end
