/* The only list of backends. */
#include <string.h>

#include "core/internal.h"

extern const struct vmi_backend vmi_backend_mock;
#ifdef VMI_WITH_SOFT
extern const struct vmi_backend vmi_backend_soft;
#endif
#ifdef VMI_WITH_KVM
extern const struct vmi_backend vmi_backend_kvm;
#endif
#ifdef VMI_WITH_VTX
extern const struct vmi_backend vmi_backend_vtx;
#endif

static const struct vmi_backend *const backends[] = {
#ifdef VMI_WITH_SOFT
    &vmi_backend_soft,
#endif
#ifdef VMI_WITH_KVM
    &vmi_backend_kvm,
#endif
#ifdef VMI_WITH_VTX
    &vmi_backend_vtx,
#endif
    &vmi_backend_mock, NULL,
};

const struct vmi_backend *vmi_registry_at(unsigned i)
{
    return i < sizeof(backends) / sizeof(backends[0]) ? backends[i] : NULL;
}

const struct vmi_backend *vmi_registry_find(uint32_t id)
{
    for (unsigned i = 0; backends[i] != NULL; i++) {
        if (backends[i]->id == id) {
            return backends[i];
        }
    }
    return NULL;
}
