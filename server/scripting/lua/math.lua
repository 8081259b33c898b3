-- math.random and math.randomseed on stock's generator: 48 bits, the same sequence everywhere.

return function()
  local floor, type, tonumber = math.floor, type, tonumber
  local x0, x1, x2 = 0x330E, 0xABCD, 0x1234
  local MOST = 2147483647

  local function draw()
    local t = 0xE66D * x0 + 0xB
    local n0 = t % 65536
    t = 0xE66D * x1 + 0xDEEC * x0 + (t - n0) / 65536
    local n1 = t % 65536
    t = 0xE66D * x2 + 0xDEEC * x1 + 5 * x0 + (t - n1) / 65536
    x0, x1, x2 = n0, n1, t % 65536
    return x2 * 32768 + floor(x1 / 2)
  end

  local function number(value, place, name)
    local n = (type(value) == "number" or type(value) == "string") and tonumber(value)
    if n then return n end
    local got = value == nil and "no value" or type(value)
    error("bad argument #" .. place .. " to '" .. name .. "' (number expected, got " .. got .. ")", 0)
  end

  -- As C makes an int of it.
  local function whole(n)
    n = n < 0 and -floor(-n) or floor(n)
    return (n + 2147483648) % 4294967296 - 2147483648
  end

  local functions = {}

  function functions.random(...)
    local n = select("#", ...)
    local r = draw() % MOST / MOST
    if n == 0 then return r end
    local low, high = 1, whole(number((...), 1, "random"))
    if n == 2 then
      low, high = high, whole(number(select(2, ...), 2, "random"))
    elseif n > 2 then
      error("wrong number of arguments", 0)
    end
    if low > high then error("bad argument #" .. n .. " to 'random' (interval is empty)", 0) end
    return floor(r * (high - low + 1)) + low
  end

  function functions.randomseed(seed)
    seed = whole(number(seed, 1, "randomseed")) % 4294967296
    x0, x1, x2 = 0x330E, seed % 65536, floor(seed / 65536)
  end

  return functions
end
