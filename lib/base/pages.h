/* Page-aligned host memory, and access to memory that guests change at any moment. */
#ifndef VMI_BASE_PAGES_H
#define VMI_BASE_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Results: NULL on failure, errno says why. */
void *vmi_pages_anon(uint64_t bytes); /* zeroed, committed on first use */
void *vmi_pages_file(int fd, uint64_t offset, uint64_t bytes, bool shared, bool writable);
void vmi_pages_free(void *pages, uint64_t bytes);
/* Size of an open file; -1 on failure. Devices and pipes: -1. */
int64_t vmi_pages_file_size(int fd);
/* Can this descriptor be mapped shared and writable? */
bool vmi_pages_file_writable(int fd);
/* The host's page size divides guest pages? False: mappings cannot be aligned. */
uint64_t vmi_pages_host_size(void);

/* Copy to or from guest memory. Naturally aligned pieces of 1, 2, 4 and 8 bytes move in one access.
 */
void vmi_pages_copy_in(void *guest, const void *from, size_t bytes);
void vmi_pages_copy_out(void *to, const void *guest, size_t bytes);

#endif
