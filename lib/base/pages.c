/* Page-aligned host memory by mmap; copies that are safe against a guest that writes at the same
 * time. */
#include "base/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* vCPUs race with these copies by design; ThreadSanitizer must not look. */
#if defined(__SANITIZE_THREAD__) || defined(__clang__)
#define UNTRACKED __attribute__((no_sanitize("thread"), noinline))
#else
#define UNTRACKED
#endif

void *vmi_pages_anon(uint64_t bytes)
{
    if (bytes > SIZE_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    void *p = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void *vmi_pages_file(int fd, uint64_t offset, uint64_t bytes, bool shared, bool writable)
{
    if (bytes > SIZE_MAX || offset > INT64_MAX) {
        errno = EOVERFLOW;
        return NULL;
    }
    void *p = mmap(NULL, (size_t)bytes, PROT_READ | (writable ? PROT_WRITE : 0),
                   shared ? MAP_SHARED : MAP_PRIVATE, fd, (off_t)offset);
    return p == MAP_FAILED ? NULL : p;
}

void vmi_pages_free(void *pages, uint64_t bytes)
{
    munmap(pages, (size_t)bytes);
}

int64_t vmi_pages_file_size(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return -1;
    }
    return st.st_size;
}

bool vmi_pages_file_writable(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_ACCMODE) == O_RDWR;
}

uint64_t vmi_pages_host_size(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

#define DEFINE_PIECE(bits)                                                 \
    typedef uint##bits##_t __attribute__((may_alias)) piece##bits;         \
    UNTRACKED static void move##bits(void *to, const void *from)           \
    {                                                                      \
        *(volatile piece##bits *)to = *(const volatile piece##bits *)from; \
    }
DEFINE_PIECE(8)
DEFINE_PIECE(16)
DEFINE_PIECE(32)
DEFINE_PIECE(64)

/* One access when both sides are aligned for it; the host side usually is a variable of that size.
 */
static bool copy_small(uint8_t *to, const uint8_t *from, size_t bytes)
{
    uintptr_t both = (uintptr_t)to | (uintptr_t)from;
    if (bytes == 1) {
        move8(to, from);
    } else if (bytes == 2 && both % 2 == 0) {
        move16(to, from);
    } else if (bytes == 4 && both % 4 == 0) {
        move32(to, from);
    } else if (bytes == 8 && both % 8 == 0) {
        move64(to, from);
    } else {
        return false;
    }
    return true;
}

UNTRACKED static void copy(uint8_t *to, const uint8_t *from, size_t bytes)
{
    if (copy_small(to, from, bytes)) {
        return;
    }
#if defined(__SANITIZE_THREAD__)
    for (size_t i = 0; i < bytes; i++) { /* memcpy would be intercepted */
        move8(to + i, from + i);
    }
#else
    memcpy(to, from, bytes);
#endif
}

void vmi_pages_copy_in(void *guest, const void *from, size_t bytes)
{
    copy(guest, from, bytes);
}

void vmi_pages_copy_out(void *to, const void *guest, size_t bytes)
{
    copy(to, guest, bytes);
}
