/*
 * Preloaded into examples/lockstep: every second VM comes from a copy of the library that has a bug
 * (VMLIB_WRONG_LIBRARY, VMLIB_WRONG_BUG), so that side b is wrong and the program finds it.
 */
#include <dlfcn.h>
#include <stdlib.h>

#include <vmlib/vmlib.h>

typedef int create_fn(const struct vmlib_vm_config *config, vmlib_vm **vm);

static create_fn *wrong(void)
{
    void *library = dlopen(getenv("VMLIB_WRONG_LIBRARY"), RTLD_NOW | RTLD_LOCAL);
    static int done;
    create_fn *create;
    int (*set)(int);

    if (!library)
        abort();
    *(void **)&create = dlsym(library, "vmlib_vm_create");
    *(void **)&set = dlsym(library, "vmlib_wrong_set");
    if (!create || !set || (!done++ && set(atoi(getenv("VMLIB_WRONG_BUG")))))
        abort();
    return create;
}

int vmlib_vm_create(const struct vmlib_vm_config *config, vmlib_vm **vm)
{
    static unsigned calls;
    create_fn *create;

    if (++calls % 2 == 0)
        return wrong()(config, vm);
    *(void **)&create = dlsym(RTLD_NEXT, "vmlib_vm_create");
    return create(config, vm);
}
