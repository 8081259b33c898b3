-- cmsgpack: MessagePack, with stock's choices: floats where they lose nothing, tables nested 16 deep.
--
-- Errors are strings without a position; the caller puts the script's in front.

return function()
  local type, next, error, tonumber, select, unpack = type, next, error, tonumber, select, unpack
  local char, byte, sub, concat = string.char, string.byte, string.sub, table.concat
  local floor, frexp, ldexp, huge = math.floor, math.frexp, math.ldexp, math.huge
  local DEEPEST = 16
  local INT_MIN, INT_MAX = -2147483648, 2147483647

  -- ---- packing ------------------------------------------------------------------------------

  local function big_endian(n, size)
    local bytes = {}
    for i = size, 1, -1 do
      bytes[i] = n % 256
      n = floor(n / 256)
    end
    return char(unpack(bytes, 1, size))
  end

  -- The bits of a float with so many bits of exponent and of fraction (8, 23 or 11, 52), as bytes.
  local function float_bytes(n, exponent_bits, fraction_bits)
    local bias = 2 ^ (exponent_bits - 1) - 1
    local sign, exponent, fraction = 0, 0, 0
    if n ~= n then
      sign, exponent, fraction = 1, 2 * bias + 1, 2 ^ (fraction_bits - 1)
      if string.format("%g", n) == "nan" then sign = 0 end
    else
      if n < 0 or (n == 0 and 1 / n < 0) then sign, n = 1, -n end
      if n == huge then
        exponent = 2 * bias + 1
      elseif n > 0 then
        local m, e = frexp(n)
        exponent = e - 1 + bias
        if exponent <= 0 then
          fraction, exponent = ldexp(n, bias - 1 + fraction_bits), 0
        else
          fraction = (m * 2 - 1) * 2 ^ fraction_bits
        end
      end
    end
    if fraction_bits == 23 then
      return big_endian(sign * 2147483648 + exponent * 8388608 + fraction, 4)
    end
    local high = floor(fraction / 4294967296)
    return big_endian(sign * 2147483648 + exponent * 1048576 + high, 4) .. big_endian(fraction % 4294967296, 4)
  end

  -- Is a number one that a float of 4 bytes holds exactly?
  local function fits_float(n)
    if n == 0 or n == huge or n == -huge then return true end
    if n ~= n then return false end
    local m, e = frexp(n)
    if e > 128 then return false end
    local bits = e < -125 and e + 149 or 24
    if bits <= 0 then return false end
    local scaled = ldexp(m, bits)
    return scaled == floor(scaled)
  end

  local function pack_integer(n)
    if n >= 0 then
      if n <= 127 then return char(n) end
      if n <= 0xff then return "\204" .. char(n) end
      if n <= 0xffff then return "\205" .. big_endian(n, 2) end
      if n <= 0xffffffff then return "\206" .. big_endian(n, 4) end
      return "\207" .. big_endian(floor(n / 4294967296), 4) .. big_endian(n % 4294967296, 4)
    end
    if n >= -32 then return char(256 + n) end
    if n >= -128 then return "\208" .. char(256 + n) end
    if n >= -32768 then return "\209" .. big_endian(65536 + n, 2) end
    if n >= -2147483648 then return "\210" .. big_endian(4294967296 + n, 4) end
    return "\211" .. big_endian(floor(n / 4294967296) % 4294967296, 4) .. big_endian(n % 4294967296, 4)
  end

  local function pack_number(n)
    if n == n and floor(n) == n and n >= -2 ^ 63 and n < 2 ^ 63 then return pack_integer(n) end
    if fits_float(n) then return "\202" .. float_bytes(n, 8, 23) end
    return "\203" .. float_bytes(n, 11, 52)
  end

  local function pack_string(text)
    local n = #text
    if n < 32 then return char(0xa0 + n) .. text end
    if n <= 0xff then return "\217" .. char(n) .. text end
    if n <= 0xffff then return "\218" .. big_endian(n, 2) .. text end
    return "\219" .. big_endian(n, 4) .. text
  end

  local function is_array(t)
    local count, most = 0, 0
    for k in next, t do
      if type(k) ~= "number" or k <= 0 or floor(k) ~= k or k > INT_MAX then return false end
      if k > most then most = k end
      count = count + 1
    end
    return most == count
  end

  local pack

  local function pack_table(out, t, depth)
    if is_array(t) then
      local n = #t
      out[#out + 1] = n <= 15 and char(0x90 + n) or n <= 0xffff and "\220" .. big_endian(n, 2) or "\221" .. big_endian(n, 4)
      for i = 1, n do pack(out, t[i], depth + 1) end
      return
    end
    local n = 0
    for _ in next, t do n = n + 1 end
    out[#out + 1] = n <= 15 and char(0x80 + n) or n <= 0xffff and "\222" .. big_endian(n, 2) or "\223" .. big_endian(n, 4)
    for k, v in next, t do
      pack(out, k, depth + 1)
      pack(out, v, depth + 1)
    end
  end

  function pack(out, v, depth)
    local kind = type(v)
    if kind == "string" then
      out[#out + 1] = pack_string(v)
    elseif kind == "number" then
      out[#out + 1] = pack_number(v)
    elseif kind == "boolean" then
      out[#out + 1] = v and "\195" or "\194"
    elseif kind == "table" and depth < DEEPEST then
      pack_table(out, v, depth)
    else
      out[#out + 1] = "\192"
    end
  end

  -- ---- unpacking -------------------------------------------------------------------------------

  local text, at  -- what is being unpacked
  local MISSING, BAD = "Missing bytes in input.", "Bad data format in input."

  local function need(n)
    if at + n - 1 > #text then error(MISSING, 0) end
  end

  local function take_integer(size)
    need(size)
    local n = 0
    for i = at, at + size - 1 do n = n * 256 + byte(text, i) end
    at = at + size
    return n
  end

  local function take_signed(size)
    need(size)
    local negative = byte(text, at) >= 128
    if not negative then return take_integer(size) end
    local n = 0
    for i = at, at + size - 1 do n = n * 256 + 255 - byte(text, i) end
    at = at + size
    return -n - 1
  end

  local function take_string(n)
    need(n)
    local value = sub(text, at, at + n - 1)
    at = at + n
    return value
  end

  local function take_float(exponent_bits, fraction_bits)
    local bias = 2 ^ (exponent_bits - 1) - 1
    need((exponent_bits + fraction_bits + 1) / 8)
    local high, low = take_integer(4), 0
    local shift = fraction_bits
    if fraction_bits == 52 then
      low = take_integer(4)
      shift = 20
    end
    local sign = high >= 2147483648 and -1 or 1
    local exponent = floor(high / 2 ^ shift) % 2 ^ exponent_bits
    local fraction = high % 2 ^ shift
    if fraction_bits == 52 then fraction = fraction * 4294967296 + low end
    if exponent == 2 * bias + 1 then
      if fraction ~= 0 then return sign > 0 and -(0 / 0) or 0 / 0 end
      return sign * huge
    end
    if exponent == 0 then return sign * ldexp(fraction, 1 - bias - fraction_bits) end
    return sign * ldexp(fraction + 2 ^ fraction_bits, exponent - bias - fraction_bits)
  end

  local take

  local function take_array(n)
    local out = {}
    for i = 1, n do out[i] = take() end
    return out
  end

  local function take_map(n)
    local out = {}
    for _ = 1, n do
      local k = take()
      local v = take()
      out[k] = v
    end
    return out
  end

  local TAKERS = {
    [0xc0] = function() return nil end, [0xc2] = function() return false end, [0xc3] = function() return true end,
    [0xca] = function() return take_float(8, 23) end, [0xcb] = function() return take_float(11, 52) end,
  }
  for i = 0, 3 do
    local size = 2 ^ i
    TAKERS[0xcc + i] = function() return take_integer(size) end
    TAKERS[0xd0 + i] = function() return take_signed(size) end
  end
  for i = 0, 2 do
    local size = 2 ^ i
    TAKERS[0xd9 + i] = function() return take_string(take_integer(size)) end
  end
  for i = 0, 1 do
    local size = 2 ^ (i + 1)
    TAKERS[0xdc + i] = function() return take_array(take_integer(size)) end
    TAKERS[0xde + i] = function() return take_map(take_integer(size)) end
  end

  function take()
    need(1)
    local code = byte(text, at)
    local taker = TAKERS[code]
    if taker then
      at = at + 1
      return taker()
    end
    if code == 0xc1 or (code >= 0xc4 and code <= 0xc9) or (code >= 0xd4 and code <= 0xd8) then error(BAD, 0) end
    at = at + 1
    if code < 0x80 then return code end
    if code >= 0xe0 then return code - 256 end
    if code >= 0xa0 then return take_string(code - 0xa0) end
    if code >= 0x90 then return take_array(code - 0x90) end
    return take_map(code - 0x80)
  end

  -- ---- the library's functions -------------------------------------------------------------------

  local function whole(n)
    return n < 0 and -floor(-n) or floor(n)
  end

  local function integer(v, place, name, default)
    if v == nil and default then return default end
    local n = (type(v) == "number" or type(v) == "string") and tonumber(v)
    if n then return whole(n) end
    local got = v == nil and "no value" or type(v)
    error("bad argument #" .. place .. " to '" .. name .. "' (number expected, got " .. got .. ")", 0)
  end

  local function unpack_some(name, source, limit, offset)
    if type(source) == "number" then source = source .. "" end
    if type(source) ~= "string" then
      local got = source == nil and "no value" or type(source)
      error("bad argument #1 to '" .. name .. "' (string expected, got " .. got .. ")", 0)
    end
    local all = limit == 0 and offset == 0
    if offset < 0 or limit < 0 then
      error("Invalid request to unpack with offset of " .. offset .. " and limit of " .. #source .. ".", 0)
    elseif offset > #source then
      error("Start offset " .. offset .. " greater than input length " .. #source .. ".", 0)
    end
    if all then limit = INT_MAX end
    text, at = source, offset + 1
    local out, n = {}, 0
    while at <= #source and n < limit do
      n = n + 1
      out[n] = take()
    end
    local stop = at > #source and -1 or at - 1
    text = nil
    if all then return unpack(out, 1, n) end
    return stop, unpack(out, 1, n)
  end

  local functions = {}

  function functions.pack(...)
    local n = select("#", ...)
    if n == 0 then error("bad argument #0 to 'pack' (MessagePack pack needs input.)", 0) end
    local out, arguments = {}, {...}
    for i = 1, n do pack(out, arguments[i], 0) end
    return concat(out)
  end

  function functions.unpack(source)
    return unpack_some("unpack", source, 0, 0)
  end

  function functions.unpack_one(source, offset)
    return unpack_some("unpack_one", source, 1, integer(offset, 2, "unpack_one", 0))
  end

  function functions.unpack_limit(source, limit, offset)
    limit = integer(limit, 2, "unpack_limit")
    return unpack_some("unpack_limit", source, limit, integer(offset, 3, "unpack_limit", 0))
  end

  return functions
end
