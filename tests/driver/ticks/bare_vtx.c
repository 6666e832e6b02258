/* Our driver by its own calls. The host program does what completes each instruction, no more. */
#include "ticks.h"

#include "machine.h"
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HLT = 12, CPUID = 10, IO = 30, RDMSR = 31, WRMSR = 32, EPT = 48 };

static struct machine m;
static uint8_t *rom;

static bool present(void)
{
    struct vmlib_vtx_info info;

    m.device = -1;
    if (access(VMLIB_VTX_DEVICE, R_OK | W_OK) != 0 || machine_open(&m) != 0)
        return false;
    info = m.info;
    machine_close(&m);
    return info.unavailable == 0 && info.features & VMLIB_VTX_F_UNRESTRICTED;
}

static void open_vtx(const struct op *op)
{
    uint8_t code[128];

    must(machine_open(&m) == 0, "VM on the driver");
    rom = mmap(NULL, ROM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(machine_map(&m, ROM, rom, ROM_BYTES, VMLIB_VTX_READ | VMLIB_VTX_EXEC, 0) == 0, "ROM");
    machine_code(&m, code, guest_code(op, code));
}

static void answer(struct vmlib_vtx_run *run, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    run->gpr[0] = a;
    run->gpr[3] = b;
    run->gpr[1] = c;
    run->gpr[2] = d;
}

static bool exit_vtx(struct vmlib_vtx_run *run)
{
    bool go = true;

    switch (run->reason) {
    case IO:
        if (run->qualification & 8)
            run->gpr[0] = (run->gpr[0] & ~0xffull) | ANSWER;
        go = run->qualification >> 16 != END_PORT;
        break;
    case EPT:
        must(run->gpa == HOLE || run->gpa == ROM, "address");
        if (run->qualification & 1)
            run->gpr[0] = (run->gpr[0] & ~0xffull) | ANSWER;
        break;
    case RDMSR:
        run->gpr[0] = ANSWER;
        run->gpr[2] = 0;
        break;
    case CPUID:
        answer(run, 1, 2, 3, 4);
        break;
    default:
        must(run->reason == WRMSR || run->reason == HLT, "exit reason of the driver");
    }
    run->rip += run->instruction_length;
    run->dirty = VMLIB_VTX_G_RIP;
    return go;
}

static void batch(void)
{
    do {
        must(machine_run(&m) == 0 && m.run->status == VMLIB_VTX_EXITED, "RUN");
    } while (exit_vtx(m.run));
}

static uint8_t *ram(void)
{
    return m.memory;
}

static void close_vtx(void)
{
    machine_close(&m);
    munmap(rom, ROM_BYTES);
}

const struct level level_vtx = {"driver", present, open_vtx, batch, ram, close_vtx};
