/* The host's clock and chance. */
#ifndef VMI_BASE_CLOCK_H
#define VMI_BASE_CLOCK_H

#include <stdint.h>

uint64_t vmi_clock_ns(void); /* monotonic */
/* Give the processor away: briefly for small attempts, up to 50 us later. For waits that need no
 * wake-up. */
void vmi_clock_relax(unsigned attempt);
uint64_t vmi_clock_entropy(void);

#endif
