/* Where things are in the guest's memory; shared by guest and runner. Usable from assembly. */
#ifndef BENCH_GUEST_H
#define BENCH_GUEST_H

#define GUEST_TABLES    0x1000   /* PML4, PDPT, page directory, page table of the window */
#define GUEST_STACK     0x80000  /* top */
#define GUEST_USTACK    0x90000  /* top, ring 3 */
#define GUEST_CODE      0x200000 /* flat image */
#define GUEST_ARENA     0x4000000
#define GUEST_RAM       0x10000000
#define GUEST_WINDOW    0x38000000 /* 128 pages of 4 KiB; everything else has pages of 2 MiB */
#define GUEST_WINDOW_PA 0x2000000
#define GUEST_MMIO      0x3f000000 /* no memory there */
#define GUEST_PORT      0x10

#define GUEST_OPS 1000 /* numbers from here on are operations of guest_ops.S */

#endif
