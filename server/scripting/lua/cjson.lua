-- cjson: JSON, with stock's texts for what is wrong, its number format and its limits.
--
-- Errors are strings without a position; the caller puts the script's in front.

return function(null, new)
  local type, next, rawget, error, tonumber, select = type, next, rawget, error, tonumber, select
  local sub, byte, char, find, match, format, gsub = string.sub, string.byte, string.char, string.find, string.match, string.format, string.gsub
  local floor, huge, concat = math.floor, math.huge, table.concat
  local INT_MAX = 2147483647

  local settings = {
    convert = false, ratio = 2, safe = 10, encode_depth = 1000, decode_depth = 1000, precision = 14,
    encode_invalid = "off", decode_invalid = "on", keep = true,
  }
  local number_format = "%.14g"

  -- ---- encoding ---------------------------------------------------------------------------

  local ESCAPES = {['"'] = '\\"', ["\\"] = "\\\\", ["/"] = "\\/", ["\b"] = "\\b", ["\t"] = "\\t", ["\n"] = "\\n",
                   ["\f"] = "\\f", ["\r"] = "\\r", ["\127"] = "\\u007f"}
  for code = 0, 31 do
    ESCAPES[char(code)] = ESCAPES[char(code)] or format("\\u%04x", code)
  end

  local function quoted(text)
    if find(text, '[%c"\\/\127]') then text = gsub(text, '[%z\1-\31"\\/\127]', ESCAPES) end
    return '"' .. text .. '"'
  end

  local function cannot(value, reason)
    error("Cannot serialise " .. type(value) .. ": " .. reason, 0)
  end

  local function number(n)
    if n ~= n or n == huge or n == -huge then
      if settings.encode_invalid == "null" then return "null" end
      if settings.encode_invalid == "off" then cannot(n, "must not be NaN or Inf") end
    end
    return format(number_format, n)
  end

  -- The length of an array, 0 or less for an object.
  local function array_length(t)
    local most, items = 0, 0
    for k in next, t do
      if type(k) ~= "number" or k < 1 or floor(k) ~= k then return -1 end
      if k > most then most = k end
      items = items + 1
    end
    if settings.ratio > 0 and most > items * settings.ratio and most > settings.safe then
      if not settings.convert then cannot(t, "excessively sparse array") end
      return -1
    end
    return most
  end

  local append

  local function append_table(out, t, depth)
    if depth > settings.encode_depth then error("Cannot serialise, excessive nesting (" .. depth .. ")", 0) end
    local length = array_length(t)
    if length > 0 then
      out[#out + 1] = "["
      for i = 1, length do
        if i > 1 then out[#out + 1] = "," end
        append(out, rawget(t, i), depth)
      end
      out[#out + 1] = "]"
      return
    end
    out[#out + 1] = "{"
    local first = true
    for k, v in next, t do
      if not first then out[#out + 1] = "," end
      first = false
      local kind = type(k)
      if kind == "string" then
        out[#out + 1] = quoted(k) .. ":"
      elseif kind == "number" then
        out[#out + 1] = '"' .. number(k) .. '":'
      else
        cannot(k, "table key must be a number or string")
      end
      append(out, v, depth)
    end
    out[#out + 1] = "}"
  end

  function append(out, v, depth)
    local kind = type(v)
    if kind == "string" then
      out[#out + 1] = quoted(v)
    elseif kind == "number" then
      out[#out + 1] = number(v)
    elseif kind == "boolean" then
      out[#out + 1] = v and "true" or "false"
    elseif kind == "table" then
      append_table(out, v, depth + 1)
    elseif v == nil or v == null then
      out[#out + 1] = "null"
    else
      cannot(v, "type not supported")
    end
  end

  -- ---- tokens ----------------------------------------------------------------------------------

  local TOKENS = {["{"] = "T_OBJ_BEGIN", ["}"] = "T_OBJ_END", ["["] = "T_ARR_BEGIN", ["]"] = "T_ARR_END",
                  [","] = "T_COMMA", [":"] = "T_COLON"}
  local UNESCAPES = {['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t"}
  local text, at, token, value, token_at  -- what is being decoded

  local function bad(reason, place)
    token, value, token_at = "T_ERROR", reason, place
  end

  local function utf8(code)
    if code < 0x80 then return char(code) end
    if code < 0x800 then return char(0xC0 + floor(code / 64), 0x80 + code % 64) end
    if code < 0x10000 then
      return char(0xE0 + floor(code / 4096), 0x80 + floor(code / 64) % 64, 0x80 + code % 64)
    end
    return char(0xF0 + floor(code / 262144), 0x80 + floor(code / 4096) % 64, 0x80 + floor(code / 64) % 64, 0x80 + code % 64)
  end

  -- The character of an escape at `place` and how long the escape is, or nil.
  local function unicode(place)
    local hex = match(text, "^\\u(%x%x%x%x)", place)
    if not hex then return nil end
    local code = tonumber(hex, 16)
    if code < 0xD800 or code > 0xDFFF then return utf8(code), 6 end
    if code >= 0xDC00 then return nil end
    local low = match(text, "^\\u(%x%x%x%x)", place + 6)
    low = low and tonumber(low, 16)
    if not low or low < 0xDC00 or low > 0xDFFF then return nil end
    return utf8((code - 0xD800) * 1024 + low - 0xDC00 + 0x10000), 12
  end

  local function string_token()
    local place = at + 1
    local stop = find(text, '["\\%z]', place)
    if stop and byte(text, stop) == 34 then  -- the usual: nothing to unescape
      token, value, at = "T_STRING", sub(text, place, stop - 1), stop + 1
      return
    end
    local parts = {}
    while true do
      local c = stop and sub(text, stop, stop)
      if not c or c == "\0" then return bad("unexpected end of string", stop or #text + 1) end
      parts[#parts + 1] = sub(text, place, stop - 1)
      if c == '"' then
        token, value, at = "T_STRING", concat(parts), stop + 1
        return
      end
      local escape = sub(text, stop + 1, stop + 1)
      if escape == "u" then
        local character, length = unicode(stop)
        if not character then return bad("invalid unicode escape code", stop) end
        parts[#parts + 1] = character
        place = stop + length
      else
        local character = UNESCAPES[escape]
        if not character then return bad("invalid escape code", stop) end
        parts[#parts + 1] = character
        place = stop + 2
      end
      stop = find(text, '["\\%z]', place)
    end
  end

  -- What JSON does not allow for a number and strtod does: Inf, NaN, hex, leading zeros, a plus.
  local function is_invalid_number()
    if match(text, "^%+", at) then return true end
    local rest = match(text, "^%-?()", at)
    if match(text, "^0", rest) then return match(text, "^0[xX%d]", rest) ~= nil end
    if match(text, "^[1-9]", rest) then return false end
    return match(text, "^[iI][nN][fF]", rest) ~= nil or match(text, "^[nN][aA][nN]", rest) ~= nil
  end

  local function hexadecimal(whole, part, exponent)
    local n = 0
    for digit in (whole .. part):gmatch("%x") do n = n * 16 + tonumber(digit, 16) end
    return n * 2 ^ ((exponent or 0) - 4 * #part)
  end

  -- As strtod: the number at `at` and the place behind it, nil for none.
  local function strtod()
    local sign, place = match(text, "^([+-]?)()", at)
    local n, stop
    local whole, behind = match(text, "^0[xX](%x*)()", place)
    if whole and (whole ~= "" or match(text, "^%.%x", behind)) then
      local part, after = match(text, "^%.(%x*)()", behind)
      stop = after or behind
      local exponent, last = match(text, "^[pP]([+-]?%d+)()", stop)
      n, stop = hexadecimal(whole, part or "", exponent and tonumber(exponent)), last or stop
    elseif match(text, "^[iI][nN][fF]", place) then
      n, stop = huge, match(text, "^[iI][nN][fF][iI][nN][iI][tT][yY]()", place) or place + 3
    elseif match(text, "^[nN][aA][nN]", place) then
      n, stop = -(0 / 0), match(text, "^[nN][aA][nN]%([%w_]*%)()", place) or place + 3
    else
      local digits
      digits, stop = match(text, "^(%d+%.?%d*)()", place)
      if not digits then digits, stop = match(text, "^(%.%d+)()", place) end
      if not digits then return nil end
      local exponent, last = match(text, "^([eE][+-]?%d+)()", stop)
      n, stop = tonumber(digits .. (exponent or "")), last or stop
    end
    return sign == "-" and -n or n, stop
  end

  local function number_token()
    local n, stop = strtod()
    if not n then return bad("invalid number", at) end
    token, value, at = "T_NUMBER", n, stop
  end

  local function next_token()
    at = find(text, "[^ \t\n\r]", at) or #text + 1
    token_at = at
    local c = sub(text, at, at)
    if c == "" or c == "\0" then
      token = "T_END"
      return
    end
    token = TOKENS[c]
    if token then
      at = at + 1
    elseif c == '"' then
      string_token()
    elseif find(c, "[-%d]") then
      if settings.decode_invalid == "off" and is_invalid_number() then return bad("invalid number", at) end
      number_token()
    elseif c == "t" and sub(text, at, at + 3) == "true" then
      token, value, at = "T_BOOLEAN", true, at + 4
    elseif c == "f" and sub(text, at, at + 4) == "false" then
      token, value, at = "T_BOOLEAN", false, at + 5
    elseif c == "n" and sub(text, at, at + 3) == "null" then
      token, at = "T_NULL", at + 4
    elseif find(c, "[+fiInNt]") and settings.decode_invalid ~= "off" and is_invalid_number() then
      number_token()
    else
      bad("invalid token", at)
    end
  end

  local function expected(what)
    local found = token == "T_ERROR" and value or token
    error("Expected " .. what .. " but found " .. found .. " at character " .. token_at, 0)
  end

  -- ---- decoding ------------------------------------------------------------------------------------

  local decode_value

  local function decode_object(depth)
    local out = {}
    next_token()
    if token == "T_OBJ_END" then return out end
    while true do
      if token ~= "T_STRING" then expected("object key string") end
      local key = value
      next_token()
      if token ~= "T_COLON" then expected("colon") end
      next_token()
      out[key] = decode_value(depth)
      next_token()
      if token == "T_OBJ_END" then return out end
      if token ~= "T_COMMA" then expected("comma or object end") end
      next_token()
    end
  end

  local function decode_array(depth)
    local out, n = {}, 0
    next_token()
    if token == "T_ARR_END" then return out end
    while true do
      n = n + 1
      out[n] = decode_value(depth)
      next_token()
      if token == "T_ARR_END" then return out end
      if token ~= "T_COMMA" then expected("comma or array end") end
      next_token()
    end
  end

  function decode_value(depth)
    if token == "T_STRING" or token == "T_NUMBER" or token == "T_BOOLEAN" then return value end
    if token == "T_NULL" then return null end
    if token ~= "T_OBJ_BEGIN" and token ~= "T_ARR_BEGIN" then expected("value") end
    depth = depth + 1
    if depth > settings.decode_depth then error("Found too many nested data structures (" .. depth .. ") at character " .. at - 1, 0) end
    if token == "T_OBJ_BEGIN" then return decode_object(depth) end
    return decode_array(depth)
  end

  -- ---- settings --------------------------------------------------------------------------------------

  local function check_count(name, most, ...)
    if select("#", ...) > most then
      error("bad argument #" .. most + 1 .. " to '" .. name .. "' (found too many arguments)", 0)
    end
  end

  local function integer_setting(name, key, v, low, high, place)
    if v ~= nil then
      local n = (type(v) == "number" or type(v) == "string") and tonumber(v)
      if not n then
        error("bad argument #" .. place .. " to '" .. name .. "' (number expected, got " .. type(v) .. ")", 0)
      end
      n = n < 0 and -floor(-n) or floor(n)
      if n < low or n > high then
        error(format("bad argument #1 to '%s' (expected integer between %d and %d)", name, low, high), 0)
      end
      settings[key] = n
    end
    return settings[key]
  end

  local function word_setting(name, key, v, words)
    if type(v) == "boolean" then
      settings[key] = v and "on" or "off"
    elseif v ~= nil then
      if type(v) ~= "string" and type(v) ~= "number" then
        error("bad argument #1 to '" .. name .. "' (string expected, got " .. type(v) .. ")", 0)
      end
      if not words[v] then error("bad argument #1 to '" .. name .. "' (invalid option '" .. v .. "')", 0) end
      settings[key] = v
    end
    local now = settings[key]
    if now == "on" then return true end
    if now == "off" then return false end
    return now
  end

  local function one_argument(name, ...)
    if select("#", ...) ~= 1 then error("bad argument #1 to '" .. name .. "' (expected 1 argument)", 0) end
  end

  local functions = {new = new}

  function functions.encode(...)
    one_argument("encode", ...)
    local out = {}
    append(out, (...), 0)
    return concat(out)
  end

  function functions.decode(...)
    one_argument("decode", ...)
    local source = ...
    if type(source) == "number" then source = source .. "" end
    if type(source) ~= "string" then
      error("bad argument #1 to 'decode' (string expected, got " .. type(source) .. ")", 0)
    end
    if #source >= 2 and (byte(source, 1) == 0 or byte(source, 2) == 0) then
      error("JSON parser does not support UTF-16 or UTF-32", 0)
    end
    text, at = source, 1
    next_token()
    local out = decode_value(0)
    next_token()
    if token ~= "T_END" then expected("the end") end
    text, value = nil, nil
    return out
  end

  function functions.encode_max_depth(...)
    check_count("encode_max_depth", 1, ...)
    return integer_setting("encode_max_depth", "encode_depth", (...), 1, INT_MAX, 1)
  end

  function functions.decode_max_depth(...)
    check_count("decode_max_depth", 1, ...)
    return integer_setting("decode_max_depth", "decode_depth", (...), 1, INT_MAX, 1)
  end

  function functions.encode_number_precision(...)
    check_count("encode_number_precision", 1, ...)
    local n = integer_setting("encode_number_precision", "precision", (...), 1, 14, 1)
    number_format = "%." .. n .. "g"
    return n
  end

  function functions.encode_sparse_array(...)
    check_count("encode_sparse_array", 3, ...)
    local convert, ratio, safe = ...
    if convert ~= nil then
      if type(convert) ~= "boolean" then
        error("bad argument #1 to 'encode_sparse_array' (invalid option '" .. tostring(convert) .. "')", 0)
      end
      settings.convert = convert
    end
    integer_setting("encode_sparse_array", "ratio", ratio, 0, INT_MAX, 2)
    integer_setting("encode_sparse_array", "safe", safe, 0, INT_MAX, 3)
    return settings.convert, settings.ratio, settings.safe
  end

  function functions.encode_keep_buffer(...)
    check_count("encode_keep_buffer", 1, ...)
    local v = ...
    if type(v) == "boolean" then settings.keep = v end
    return settings.keep
  end

  function functions.encode_invalid_numbers(...)
    check_count("encode_invalid_numbers", 1, ...)
    return word_setting("encode_invalid_numbers", "encode_invalid", (...), {on = true, off = true, null = true})
  end

  function functions.decode_invalid_numbers(...)
    check_count("decode_invalid_numbers", 1, ...)
    return word_setting("decode_invalid_numbers", "decode_invalid", (...), {on = true, off = true})
  end

  return functions
end
