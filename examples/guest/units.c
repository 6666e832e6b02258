/*
 * Functions of a bare-metal program, for the examples that test them from outside: freestanding, no
 * operating system, no start-up code. Compiled for 32 and 64 bits.
 */
typedef unsigned char uint8_t;
typedef __UINT32_TYPE__ uint32_t;

void _start(void);

/* The program itself does nothing: its functions are called one by one. */
void _start(void)
{
    for (;;)
        __asm__ volatile("hlt");
}

uint32_t crc32(const uint8_t *data, unsigned long bytes);

uint32_t crc32(const uint8_t *data, unsigned long bytes)
{
    uint32_t crc = 0xffffffffu;

    for (unsigned long i = 0; i < bytes; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

int divide(int a, int b);

int divide(int a, int b)
{
    return a / b;
}

int weigh(int a, int b, int c, int d, int e, int f, int g, int h);

/* More arguments than there are registers for. */
int weigh(int a, int b, int c, int d, int e, int f, int g, int h)
{
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h;
}

void reverse(char *text, unsigned long bytes);

void reverse(char *text, unsigned long bytes)
{
    for (unsigned long i = 0; i < bytes / 2; i++) {
        char c = text[i];

        text[i] = text[bytes - 1 - i];
        text[bytes - 1 - i] = c;
    }
}

#ifdef __x86_64__
double average(double a, double b);

double average(double a, double b)
{
    return (a + b) / 2;
}
#endif

void forever(void);

void forever(void)
{
    for (;;)
        __asm__ volatile("");
}
