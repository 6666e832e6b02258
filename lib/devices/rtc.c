/*
 * Real-time clock and CMOS memory. The time is an offset to the clock that every access is given;
 * while the SET bit is on it stands still in the registers.
 */
#include "devices/rtc.h"

enum {
    SEC,
    SEC_ALARM,
    MIN,
    MIN_ALARM,
    HOUR,
    HOUR_ALARM,
    WDAY,
    MDAY,
    MONTH,
    YEAR,
    REG_A,
    REG_B,
    REG_C,
    REG_D,
    CENTURY = 0x32
};

#define A_UIP 0x80

#define B_SET 0x80
#define B_PIE 0x40
#define B_AIE 0x20
#define B_UIE 0x10
#define B_DM  0x04 /* binary, not BCD */
#define B_24H 0x02

#define C_IRQF 0x80
#define C_PF   0x40
#define C_AF   0x20
#define C_UF   0x10

#define UPDATE_NS 2228000u /* UIP is set this long before the second changes: 244 us + 1984 us */

static uint8_t encode(const struct vmi_rtc *r, unsigned v)
{
    return (uint8_t)(r->cell[REG_B] & B_DM ? v : v / 10 % 10 << 4 | v % 10);
}

static unsigned decode(const struct vmi_rtc *r, uint8_t v)
{
    return r->cell[REG_B] & B_DM ? v : (v >> 4) * 10u + (v & 15u);
}

static uint8_t encode_hour(const struct vmi_rtc *r, unsigned hour)
{
    if (r->cell[REG_B] & B_24H)
        return encode(r, hour);
    return (uint8_t)(encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? 0x80 : 0));
}

static unsigned decode_hour(const struct vmi_rtc *r, uint8_t v)
{
    if (r->cell[REG_B] & B_24H)
        return decode(r, v) % 24;
    return decode(r, v & 0x7f) % 12 + (v & 0x80 ? 12 : 0);
}

/* Days since 1970-01-01 of a date in the Gregorian calendar; years begin in March so that the leap
 * day is the last. */
static int64_t days_from_date(int64_t year, unsigned month, unsigned day)
{
    int64_t y = month <= 2 ? year - 1 : year, era = y / 400;
    unsigned yoe = (unsigned)(y - era * 400);
    unsigned doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

    return era * 146097 + (int64_t)doe - 719468;
}

static void date_from_days(int64_t days, unsigned *year, unsigned *month, unsigned *day)
{
    int64_t z = days + 719468, era = z / 146097;
    unsigned doe = (unsigned)(z - era * 146097);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153;

    *day = doy - (153 * mp + 2) / 5 + 1;
    *month = mp < 10 ? mp + 3 : mp - 9;
    *year = (unsigned)(yoe + era * 400) + (*month <= 2);
}

static int64_t wall(const struct vmi_rtc *r, uint64_t now)
{
    return r->seconds + (int64_t)((now - r->base) / VMI_NS);
}

/* Wall time to registers. */
static void fill(struct vmi_rtc *r, uint64_t now)
{
    int64_t t = wall(r, now);
    unsigned year, month, day, second;

    if (r->cell[REG_B] & B_SET)
        return;
    second = (unsigned)(t % 86400);
    date_from_days(t / 86400, &year, &month, &day);
    r->cell[SEC] = encode(r, second % 60);
    r->cell[MIN] = encode(r, second / 60 % 60);
    r->cell[HOUR] = encode_hour(r, second / 3600);
    r->cell[WDAY] = encode(r, (unsigned)((t / 86400 + 4) % 7) + 1);
    r->cell[MDAY] = encode(r, day);
    r->cell[MONTH] = encode(r, month);
    r->cell[YEAR] = encode(r, year % 100);
    r->cell[CENTURY] = encode(r, year / 100 % 100);
}

/* Registers to wall time. */
static void take(struct vmi_rtc *r, uint64_t now)
{
    unsigned month = decode(r, r->cell[MONTH]), day = decode(r, r->cell[MDAY]);
    int64_t year = decode(r, r->cell[CENTURY]) * 100 + decode(r, r->cell[YEAR]);
    int64_t t;

    if (month < 1 || month > 12 || day < 1 || day > 31 || year < 1970)
        return; /* no date: the old time goes on */
    t = days_from_date(year, month, day) * 86400 + decode_hour(r, r->cell[HOUR]) * 3600 +
        decode(r, r->cell[MIN]) % 60 * 60 + decode(r, r->cell[SEC]) % 60;
    r->seconds = t;
    r->base = now;
}

static uint64_t period_ns(const struct vmi_rtc *r)
{
    unsigned rate = r->cell[REG_A] & 15;

    if (!rate || (r->cell[REG_A] & 0x70) != 0x20)
        return 0;
    if (rate <= 2)
        rate += 7; /* with the 32 kHz time base 1 and 2 are the same as 8 and 9 */
    return VMI_NS * (1u << (rate - 1)) / 32768;
}

static void update(struct vmi_rtc *r)
{
    uint8_t active = r->cell[REG_C] & r->cell[REG_B] & (C_PF | C_AF | C_UF);

    if (active)
        r->cell[REG_C] |= C_IRQF;
    else
        r->cell[REG_C] &= (uint8_t)~C_IRQF;
    vmi_line_set(&r->irq, active != 0);
}

/* Set the deadlines for the interrupts that are enabled. */
static void plan(struct vmi_rtc *r, uint64_t now)
{
    uint64_t period = period_ns(r);

    if (!(r->cell[REG_B] & B_PIE) || !period)
        r->next_periodic = VMI_NEVER;
    else if (r->next_periodic == VMI_NEVER || r->next_periodic > now + period)
        r->next_periodic = now + period;
    if ((r->cell[REG_B] & (B_AIE | B_UIE)) && !(r->cell[REG_B] & B_SET))
        r->next_second = now + VMI_NS - (now - r->base) % VMI_NS;
    else
        r->next_second = VMI_NEVER;
}

static bool alarm_matches(const struct vmi_rtc *r, int64_t t)
{
    unsigned second = (unsigned)(t % 86400);
    const uint8_t *c = r->cell;

    /* c0 to ff: any value */
    return (c[SEC_ALARM] >= 0xc0 || decode(r, c[SEC_ALARM]) == second % 60) &&
           (c[MIN_ALARM] >= 0xc0 || decode(r, c[MIN_ALARM]) == second / 60 % 60) &&
           (c[HOUR_ALARM] >= 0xc0 || decode_hour(r, c[HOUR_ALARM]) == second / 3600);
}

void vmi_rtc_tick(struct vmi_rtc *r, uint64_t now)
{
    uint64_t period = period_ns(r);
    int64_t t;

    if (now >= r->next_periodic && period) {
        r->cell[REG_C] |= C_PF;
        r->next_periodic += period;
        if (r->next_periodic <= now)
            r->next_periodic = now + period; /* late: missed edges are one */
    }
    if (now >= r->next_second) {
        r->cell[REG_C] |= C_UF;
        t = wall(r, r->next_second);
        /* At most one day of missed seconds has to be searched for the alarm. */
        for (; t <= wall(r, now); t++) {
            if (alarm_matches(r, t)) {
                r->cell[REG_C] |= C_AF;
                break;
            }
            if (t - wall(r, r->next_second) >= 86400)
                break;
        }
    }
    plan(r, now);
    update(r);
}

uint64_t vmi_rtc_deadline(const struct vmi_rtc *r)
{
    return vmi_min(r->next_periodic, r->next_second);
}

uint8_t vmi_rtc_read(struct vmi_rtc *r, unsigned offset, uint64_t now)
{
    unsigned reg = r->index & 0x7f;
    uint8_t value;

    if (!(offset & 1))
        return 0xff; /* port 70 is write only */
    switch (reg) {
    case REG_A:
        value = r->cell[REG_A];
        if (!(r->cell[REG_B] & B_SET) && (now - r->base) % VMI_NS >= VMI_NS - UPDATE_NS)
            value |= A_UIP;
        return value;
    case REG_C:
        /* Without enabled interrupts nobody has set the flag of the update cycle: derive it. */
        value = r->cell[REG_C];
        r->cell[REG_C] = 0;
        update(r);
        return value;
    case REG_D:
        return 0x80; /* the battery is good */
    default:
        if (reg <= YEAR || reg == CENTURY)
            fill(r, now);
        return r->cell[reg];
    }
}

static void write_b(struct vmi_rtc *r, uint8_t value, uint64_t now)
{
    uint8_t before = r->cell[REG_B];

    fill(r, now);
    if (!(before & B_SET) && (value & B_SET))
        r->cell[REG_B] = before | B_SET; /* the registers keep the time of this moment */
    if ((before & B_SET) && !(value & B_SET))
        take(r, now); /* in the format the guest wrote it in */
    r->cell[REG_B] = value & B_SET ? value & (uint8_t)~B_UIE : value;
    plan(r, now);
    update(r);
}

void vmi_rtc_write(struct vmi_rtc *r, unsigned offset, uint8_t value, uint64_t now)
{
    unsigned reg;

    if (!(offset & 1)) {
        r->index = value;
        return;
    }
    reg = r->index & 0x7f;
    if (reg == REG_B) {
        write_b(r, value, now);
    } else if (reg == REG_A) {
        r->cell[REG_A] = value & 0x7f;
        r->next_periodic = VMI_NEVER;
        plan(r, now);
    } else if (reg == REG_C || reg == REG_D) {
        return; /* read only */
    } else if ((reg <= YEAR && !(reg & 1)) || reg == WDAY || reg == MDAY || reg == YEAR ||
               reg == CENTURY) {
        fill(r, now);
        r->cell[reg] = value;
        if (!(r->cell[REG_B] & B_SET))
            take(r, now);
    } else {
        r->cell[reg] = value;
    }
}

void vmi_rtc_set_memory(struct vmi_rtc *r, uint64_t below, uint64_t above)
{
    uint64_t kib = below >> 10, extended = kib > 1024 ? kib - 1024 : 0;
    uint64_t high = below > 16u << 20 ? (below - (16u << 20)) >> 16 : 0;

    vmi_put16(&r->cell[0x15], 640);
    vmi_put16(&r->cell[0x17], (uint16_t)vmi_min(extended, 0xfc00));
    vmi_put16(&r->cell[0x30], (uint16_t)vmi_min(extended, 0xfc00));
    vmi_put16(&r->cell[0x34], (uint16_t)vmi_min(high, 0xffff));
    above >>= 16;
    r->cell[0x5b] = (uint8_t)above;
    r->cell[0x5c] = (uint8_t)(above >> 8);
    r->cell[0x5d] = (uint8_t)(above >> 16);
}

void vmi_rtc_init(struct vmi_rtc *r, struct vmi_line irq, int64_t seconds, uint64_t now)
{
    *r = (struct vmi_rtc){.irq = irq, .seconds = seconds, .base = now};
    r->cell[REG_A] = 0x26;
    r->cell[REG_B] = B_24H;
    r->next_periodic = r->next_second = VMI_NEVER;
    fill(r, now);
}
