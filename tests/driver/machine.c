/*
 * See machine.h.
 */
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY_BYTES 0x10000u

const struct machine *check_machine;

void machine_dump(const struct machine *m)
{
    const struct vmlib_vtx_run *r = m->run;

    printf("status %u reason %#x qualification %#llx gpa %#llx event %#x vectoring %#x "
           "instruction error %u invalid %u\n",
           r->status, r->reason, (unsigned long long)r->qualification, (unsigned long long)r->gpa,
           r->exit_event, r->vectoring_event, r->instruction_error, r->invalid);
    printf("rip %#llx rsp %#llx rflags %#llx rax %#llx rcx %#llx\n", (unsigned long long)r->rip,
           (unsigned long long)r->gpr[4], (unsigned long long)r->rflags,
           (unsigned long long)r->gpr[0], (unsigned long long)r->gpr[1]);
}

void check(bool ok, const char *text, const char *file, int line)
{
    if (ok)
        return;
    printf("%s:%d: %s is wrong (errno %d)\n", file, line, text, errno);
    if (check_machine && check_machine->run)
        machine_dump(check_machine);
    exit(1);
}

uint64_t ticks(void)
{
    uint32_t low, high;

    __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

int device_info(int device, struct vmlib_vtx_info *info)
{
    memset(info, 0, sizeof(*info));
    info->size = sizeof(*info);
    return ioctl(device, VMLIB_VTX_INFO, info) ? -errno : 0;
}

int machine_map(struct machine *m, uint64_t gpa, void *memory, uint64_t bytes, uint32_t prot,
                uint32_t flags)
{
    struct vmlib_vtx_map map = {gpa, bytes, (uintptr_t)memory, prot, flags};

    return ioctl(m->vm, VMLIB_VTX_MAP, &map) ? -errno : 0;
}

int machine_range(struct machine *m, unsigned long call, uint64_t gpa, uint64_t bytes,
                  uint32_t prot)
{
    struct vmlib_vtx_range range = {gpa, bytes, prot, 0};

    return ioctl(m->vm, call, &range) ? -errno : 0;
}

static void set_segment(struct machine *m, unsigned n, uint32_t attributes, uint32_t limit)
{
    m->run->segments.s[n] = (struct vmlib_vtx_segment){.limit = limit, .attributes = attributes};
}

void machine_real_mode(struct machine *m)
{
    struct vmlib_vtx_run *r = m->run;
    unsigned i;

    for (i = VMLIB_VTX_ES; i <= VMLIB_VTX_GS; i++)
        set_segment(m, i, 0x93, 0xffff);
    set_segment(m, VMLIB_VTX_CS, 0x9b, 0xffff);
    set_segment(m, VMLIB_VTX_LDTR, 0x10082, 0xffff);
    set_segment(m, VMLIB_VTX_TR, 0x8b, 0xffff);
    memset(&r->control, 0, sizeof(r->control));
    memset(&r->msrs, 0, sizeof(r->msrs));
    memset(&r->events, 0, sizeof(r->events));
    memset(&r->debug, 0, sizeof(r->debug));
    memset(&r->controls, 0, sizeof(r->controls));
    r->segments.gdtr_base = r->segments.idtr_base = 0;
    r->segments.gdtr_limit = r->segments.idtr_limit = 0xffff;
    r->control.cr0 = 0x30;
    r->msrs.pat = 0x0007040600070406;
    r->debug.dr7 = 0x400;
    r->rflags = 2;
    r->gpr[4] = CODE_GPA;
    r->controls.word[VMLIB_VTX_PROC2] |= 0x80; /* unrestricted guest */
    r->dirty = VMLIB_VTX_G_ALL & ~VMLIB_VTX_G_INJECT;
}

int machine_open(struct machine *m)
{
    void *pages;
    int err;

    memset(m, 0, sizeof(*m));
    m->device = m->vm = m->vcpu = -1;
    m->device = open(VMLIB_VTX_DEVICE, O_RDWR | O_CLOEXEC);
    if (m->device < 0)
        return -errno;
    err = device_info(m->device, &m->info);
    if (err)
        return err;
    m->vm = ioctl(m->device, VMLIB_VTX_CREATE_VM, 0);
    if (m->vm < 0)
        return -errno;
    m->memory =
        mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m->memory == MAP_FAILED) {
        m->memory = NULL;
        return -errno;
    }
    err = machine_map(m, 0, m->memory, 0x5000, 7, 0);
    if (err)
        return err;
    m->vcpu = ioctl(m->vm, VMLIB_VTX_CREATE_VCPU, 0);
    if (m->vcpu < 0)
        return -errno;
    pages =
        mmap(NULL, (size_t)VMLIB_VTX_PAGES * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu, 0);
    if (pages == MAP_FAILED)
        return -errno;
    m->run = pages;
    m->fpu = (uint8_t *)pages + 4096;
    m->apic = (uint8_t *)pages + 8192;
    machine_real_mode(m);
    check_machine = m;
    return 0;
}

/* With fault injection the kernel may have no memory for it, once. */
static void unmap(void *memory, size_t bytes)
{
    CHECK(munmap(memory, bytes) == 0 || munmap(memory, bytes) == 0);
}

void machine_close(struct machine *m)
{
    if (m->run)
        unmap(m->run, (size_t)VMLIB_VTX_PAGES * 4096);
    if (m->memory)
        unmap(m->memory, MEMORY_BYTES);
    if (m->vcpu >= 0)
        close(m->vcpu);
    if (m->vm >= 0)
        close(m->vm);
    if (m->device >= 0)
        close(m->device);
    check_machine = NULL;
}

void machine_code(struct machine *m, const void *code, size_t bytes)
{
    memcpy(m->memory + CODE_GPA, code, bytes);
    m->run->rip = CODE_GPA;
    m->run->rflags = 2;
    m->run->gpr[4] = CODE_GPA;
    m->run->dirty |= VMLIB_VTX_G_RIP | VMLIB_VTX_G_FLOW;
}

int machine_run(struct machine *m)
{
    int r;

    do {
        r = fdatasync(m->vcpu);
    } while (r && errno == EINTR);
    return r ? -errno : 0;
}
