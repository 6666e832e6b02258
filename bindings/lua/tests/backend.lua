-- The backend under test: VMLIB_TEST_BACKEND, or soft. What it or this machine cannot do is skipped, with the reason.
local vmlib = require "vmlib"

local M = {name = os.getenv("VMLIB_TEST_BACKEND") or "soft"}
local known, number = pcall(vmlib.backend_by_name, M.name)

local function give_up(reason)
    print("SKIP: backend " .. M.name .. ": " .. reason)
    os.exit(77, true)
end

if not known then give_up("it is not part of this build") end
local info = vmlib.backend_query(number)
if info.available == 0 then give_up(info.reason) end
M.number = number

--- May the test go on? Prints why not: the backend refuses one of these features.
function M.has(test, ...)
    for _, feature in ipairs{...} do
        if vmlib.backend_feature(number, feature) == vmlib.SUPPORT_REFUSED then
            print("SKIP: " .. test .. ": " .. M.name .. " refuses " .. vmlib.feature_name(feature))
            return false
        end
    end
    return true
end

--- Does the machine under a hardware backend emulate ring 0? Then it takes an exception whose IDT has no bytes for
--- something else than a triple fault (tests/contract/host.c).
function M.emulated()
    local vm <close> = vmlib.vm{backends = M.name}
    vm:memory(0, 0x10000)
    vm:write(0x1000, "\x0f\x0b\xf4") -- ud2; hlt
    local vcpu = vm:vcpu()
    vcpu:set{cs = vmlib.Segment{limit = 0xffff, attributes = 0x9b}, rip = 0x1000, idtr = vmlib.Table{base = 0x2000}}
    return vcpu:run{deadline_ns = 100000000}.reason ~= vmlib.EXIT_SHUTDOWN
end

function M.equal(a, b)
    if a ~= b then error(("%s is not %s"):format(tostring(a), tostring(b)), 2) end
end

--- The function fails; its error holds the text, or has the code.
function M.fails(what, f, ...)
    local ok, e = pcall(f, ...)
    if ok then error("no error", 2) end
    if math.type(what) == "integer" then
        if type(e) ~= "table" or e.code ~= what then error("wrong error: " .. tostring(e), 2) end
        assert(#e.detail > 0)
    elseif not tostring(e):find(what, 1, true) then
        error(("'%s' is not in '%s'"):format(what, tostring(e)), 2)
    end
end

--- Run all functions of a table, and end the program.
function M.run(tests)
    local names, failed = {}, 0
    for name in pairs(tests) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do
        local ok, e = xpcall(tests[name], function(e) return debug.traceback(tostring(e), 2) end)
        if not ok then
            failed = failed + 1
            print(name, e)
        end
    end
    collectgarbage()
    print(#names - failed .. " passed, " .. failed .. " failed")
    os.exit(failed == 0, true)
end

return M
