/*
 * A parser with a bug, for the fuzzer. A packet is "VM", a version, a count, and as many records: a
 * type, a length, that many bytes. The compiler calls __sanitizer_cov_trace_pc() in each basic
 * block
 * (-fsanitize-coverage=trace-pc), which tells the host where the program is.
 */
typedef unsigned char uint8_t;

int parse(const uint8_t *packet, unsigned long bytes);
void __sanitizer_cov_trace_pc(void);
void _start(void);

void _start(void)
{
    for (;;)
        __asm__ volatile("hlt");
}

__attribute__((no_sanitize_coverage)) void __sanitizer_cov_trace_pc(void)
{
    unsigned where = (unsigned)(unsigned long)__builtin_return_address(0);

    __asm__ volatile("outl %0, %w1" : : "a"(where), "d"(0x100));
}

static int checksum(const uint8_t *data, unsigned bytes)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < bytes; i++)
        sum += data[i];
    return (int)(sum & 0xff);
}

/* Returns the number of records, negative when the packet is damaged. */
int parse(const uint8_t *packet, unsigned long bytes)
{
    static volatile int values[4];
    unsigned long at = 4;

    if (bytes < 4 || packet[0] != 'V' || packet[1] != 'M')
        return -1;
    if (packet[2] > 2)
        return -2;
    for (unsigned i = 0; i < packet[3]; i++) {
        if (bytes - at < 2)
            return -3;
        const uint8_t type = packet[at], length = packet[at + 1];

        at += 2;
        if (length > bytes - at)
            return -4;
        if (type == 1)
            values[0] = checksum(packet + at, length);
        else if (type == 7 && packet[2] == 2 && length == 1)
            /* The bug: the index is not checked. Far outside, it is a wild pointer. */
            ((volatile uint8_t *)values)[(unsigned long)packet[at] << 32] = 1;
        else if (type > 0x80)
            return -5;
        at += length;
    }
    return packet[3];
}
