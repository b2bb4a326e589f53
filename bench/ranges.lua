-- wrk asks for ranges of one length at random offsets. Arguments: path, size of the object, length of a range, seed.
-- The answer of `done` is one line of JSON. Lengths and bytes are compared in another pass: here it would cost more
-- than what is measured.

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  local host = wrk.host .. ":" .. wrk.port
  local extra = args[5] or ""
  length, last = tonumber(args[3]), tonumber(args[2]) - tonumber(args[3])
  head = "GET " .. args[1] .. " HTTP/1.1\r\nHost: " .. host .. "\r\n" .. extra .. "Range: bytes="
  math.randomseed(tonumber(args[4]) * 64 + number)
end

function request()
  local start = math.random(0, last)
  return head .. start .. "-" .. (start + length - 1) .. "\r\n\r\n"
end

function done(summary, latency, requests)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.status + summary.errors.timeout
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "bytes": %d, "failed": %d, "p50_ms": %.4f, "p99_ms": %.4f, "p999_ms": %.4f}\n',
    summary.requests, summary.duration / 1e6, summary.bytes, failed,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3))
end
