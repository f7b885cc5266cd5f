-- Load for wrk: mostly reads, some orders and uploads. Every connection waits between its requests, as people do, so that a faster
-- service gets hardly more of them.
math.randomseed(7)

function delay()
  return math.random(5, 25)
end

function request()
  local dice = math.random(1, 100)
  if dice <= 50 then
    return wrk.format("GET", "/items/" .. math.random(1, 2000))
  elseif dice <= 70 then
    return wrk.format("GET", "/items?after=" .. math.random(0, 1900))
  elseif dice <= 90 then
    local order = string.format('{"item":%d,"count":%d}', math.random(1, 2000), math.random(1, 5))
    return wrk.format("POST", "/orders", { ["Content-Type"] = "application/json" }, order)
  elseif dice <= 94 then
    return wrk.format("PUT", "/uploads/file-" .. math.random(1, 50), nil, string.rep("x", 2000))
  elseif dice <= 98 then
    return wrk.format("GET", "/report")
  else
    return wrk.format("GET", "/ticks?most=3")
  end
end
