-- A table that a script returned, as a reply.
--
-- reply(t) returns true, the reply, whether there is an error in it, and the texts of those to be counted; protocol(client, script)
-- says whether the client and the script speak RESP3.

return function()
  local type, next, rawget, tostring, format, gsub, match = type, next, rawget, tostring, string.format, string.gsub, string.match
  local concat, unpack, getmetatable = table.concat, unpack, getmetatable
  local DEEPEST = 7995  -- the depth of the stack that stock's C function has
  local client3, script3 = false, false
  local write

  local function blanked(text)
    return (gsub(text, "[\r\n]", " "))
  end

  local function to_nul(text)
    return match(text, "^[^%z]*")
  end

  local function double(n)
    if n == math.huge then return "inf" end
    if n == -math.huge then return "-inf" end
    return format("%.17g", n)
  end

  local function bulk(out, text)
    out[#out + 1] = "$" .. #text .. "\r\n" .. text .. "\r\n"
  end

  local function write_error(out, errors, text, counts)
    text = match(to_nul(text), "^(.-)[\r\n]*$")
    errors.any = true
    if counts then errors[#errors + 1] = text end
    out[#out + 1] = "-" .. blanked(text) .. "\r\n"
  end

  -- Members of a map or a set; returns how many.
  local function write_members(out, errors, t, depth, with_values)
    local n = 0
    for k, v in next, t do
      write(out, errors, k, depth + (with_values and 4 or 3))
      if with_values then write(out, errors, v, depth + 3) end
      n = n + 1
    end
    return n
  end

  -- Might a table be more than an array?  Without a metatable an index is as good as rawget, and faster.
  local function is_marked(t)
    return getmetatable(t) ~= nil or t.err ~= nil or t.ok ~= nil or t.map ~= nil or t.set ~= nil or t.double ~= nil
      or t.big_number ~= nil or t.verbatim_string ~= nil
  end

  local function write_marked(out, errors, t, depth)
    local v = rawget(t, "err")
    if type(v) == "string" then
      write_error(out, errors, v, not rawget(t, "ignore_error_stats_update"))
      return true
    end
    v = rawget(t, "ok")
    if type(v) == "string" then
      out[#out + 1] = "+" .. blanked(to_nul(v)) .. "\r\n"
      return true
    end
    v = rawget(t, "double")
    if type(v) == "number" then
      if client3 then out[#out + 1] = "," .. double(v) .. "\r\n" else bulk(out, double(v)) end
      return true
    end
    v = rawget(t, "map")
    if type(v) == "table" then
      local at = #out + 1
      out[at] = ""
      local n = write_members(out, errors, v, depth, true)
      out[at] = client3 and "%" .. n .. "\r\n" or "*" .. 2 * n .. "\r\n"
      return true
    end
    v = rawget(t, "set")
    if type(v) == "table" then
      local at = #out + 1
      out[at] = ""
      local n = write_members(out, errors, v, depth, false)
      out[at] = (client3 and "~" or "*") .. n .. "\r\n"
      return true
    end
    v = rawget(t, "big_number")
    if type(v) == "string" then
      v = blanked(v)
      if client3 then out[#out + 1] = "(" .. v .. "\r\n" else bulk(out, v) end
      return true
    end
    v = rawget(t, "verbatim_string")
    if type(v) == "table" then
      local text, kind = rawget(v, "string"), rawget(v, "format")
      if type(text) == "string" and type(kind) == "string" then
        if client3 then
          kind = (to_nul(kind) .. "   "):sub(1, 3)
          out[#out + 1] = "=" .. #text + 4 .. "\r\n" .. kind .. ":" .. text .. "\r\n"
        else
          bulk(out, text)
        end
        return true
      end
    end
    return false
  end

  function write(out, errors, v, depth)
    if depth >= DEEPEST then
      return write_error(out, errors, "ERR reached lua stack limit", true)
    end
    local kind = type(v)
    if kind == "string" then
      out[#out + 1] = "$" .. #v .. "\r\n" .. v .. "\r\n"
    elseif kind == "number" then
      out[#out + 1] = format(":%d\r\n", v)
    elseif kind == "table" then
      if is_marked(v) and write_marked(out, errors, v, depth) then return end
      local at = #out + 1
      out[at] = ""
      local n = 0
      while true do
        local member = rawget(v, n + 1)
        if member == nil then break end
        n = n + 1
        write(out, errors, member, depth + 1)
      end
      out[at] = "*" .. n .. "\r\n"
    elseif kind == "boolean" then
      if script3 then
        if client3 then out[#out + 1] = v and "#t\r\n" or "#f\r\n" else out[#out + 1] = v and ":1\r\n" or ":0\r\n" end
      elseif v then
        out[#out + 1] = ":1\r\n"
      else
        out[#out + 1] = client3 and "_\r\n" or "$-1\r\n"
      end
    else
      out[#out + 1] = client3 and "_\r\n" or "$-1\r\n"
    end
  end

  local functions = {}

  function functions.reply(t)
    local out, errors = {}, {}
    write(out, errors, t, 0)
    return true, concat(out), errors.any or false, unpack(errors, 1, #errors < 100 and #errors or 100)
  end

  function functions.protocol(client, script)
    client3, script3 = client, script
  end

  return functions
end
