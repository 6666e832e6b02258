/*
 * A copy of the library with one wrong instruction at a time, for the test that finds them. Made of
 * the same objects as libvmlib: handler tables are exchanged when it is loaded and told to, so that
 * nothing of this is in the shipped library.
 */
#include <stdlib.h>
#include <string.h>

#include "x86/handlers.h"
#include "x86/sys.h"

typedef x86_handler *const table;
extern table x86_t_ADC_E_G[16], x86_t_ADD_E_G[16], x86_t_SAR_E_I[16], x86_t_SHR_E_I[16],
    x86_t_STC[1], x86_t_CLC[1], x86_t_MOVBE_M_G[16], x86_t_MOV_E_G[16];

static int bug;

int vmlib_wrong_set(int number);
enum x86_result __real_x86_deliver(struct x86_cpu *cpu, const struct x86_event *ev);
enum x86_result __wrap_x86_deliver(struct x86_cpu *cpu, const struct x86_event *ev);

/* The tables are constants; this copy is linked so that they can be written. */
static void replace(table *to, table *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (to[i] && from[i])
            memcpy((void *)(uintptr_t)&to[i], &from[i], sizeof(from[i]));
}

/* Page faults report one bit too few. */
enum x86_result __wrap_x86_deliver(struct x86_cpu *cpu, const struct x86_event *ev)
{
    struct x86_event wrong = *ev;

    if (bug == 5 && ev->vector == X86_PF)
        wrong.error &= ~UINT32_C(2);
    return __real_x86_deliver(cpu, &wrong);
}

__attribute__((visibility("default"))) int vmlib_wrong_set(int number)
{
    bug = number;
    switch (number) {
    case 1: /* result and flags: the carry is not added */
        replace(x86_t_ADC_E_G, x86_t_ADD_E_G, 16);
        return 0;
    case 2: /* result: the sign is lost */
        replace(x86_t_SAR_E_I, x86_t_SHR_E_I, 16);
        return 0;
    case 3: /* a flag and nothing else */
        replace(x86_t_STC, x86_t_CLC, 1);
        return 0;
    case 4: /* memory and nothing else */
        replace(x86_t_MOVBE_M_G, x86_t_MOV_E_G, 16);
        return 0;
    default: /* 5: an event */
        return number != 5;
    }
}
