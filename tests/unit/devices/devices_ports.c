/* Keyboard controller, reset registers, power management, PCI, firmware configuration. */
#include "test.h"

#include "devices/ports.h"
#include "devices/tables.h"

static unsigned events[3];
static struct vmi_ports ports;

static void on_event(void *opaque, enum vmi_ports_event event, uint32_t value)
{
    (void)opaque;
    (void)value;
    events[event]++;
}

static int setup(void **state)
{
    (void)state;
    memset(events, 0, sizeof events);
    vmi_ports_init(&ports);
    ports.event = on_event;
    ports.cpus = 3;
    ports.memory = 0x12345000;
    return 0;
}

static void keyboard_controller(void **state)
{
    (void)state;
    assert_int_equal(vmi_kbd_read(&ports, 0x64) & 3, 0); /* never busy */
    vmi_kbd_write(&ports, 0x64, 0xaa);
    assert_int_equal(vmi_kbd_read(&ports, 0x64) & 1, 1);
    assert_int_equal(vmi_kbd_read(&ports, 0x60), 0x55);
    vmi_kbd_write(&ports, 0x64, 0x60);
    vmi_kbd_write(&ports, 0x60, 0x47);
    vmi_kbd_write(&ports, 0x64, 0x20);
    assert_int_equal(vmi_kbd_read(&ports, 0x60), 0x47);
    vmi_kbd_write(&ports, 0x60, 0xff); /* no keyboard answers */
    assert_int_equal(vmi_kbd_read(&ports, 0x64) & 1, 0);
    vmi_kbd_write(&ports, 0x64, 0xd1);
    vmi_kbd_write(&ports, 0x60, 0xdf);
    assert_int_equal(events[VMI_PORTS_RESET], 0);
    vmi_kbd_write(&ports, 0x64, 0xfe);
    assert_int_equal(events[VMI_PORTS_RESET], 1);
    vmi_kbd_write(&ports, 0x64, 0xd1);
    vmi_kbd_write(&ports, 0x60, 0xfe);
    assert_int_equal(events[VMI_PORTS_RESET], 2);
}

static void pci_and_reset_control(void **state)
{
    (void)state;
    vmi_pci_write(&ports, 0xcf8, 4, 0x80001234);
    assert_int_equal(vmi_pci_read(&ports, 0xcf8, 4), 0x80001234);
    assert_int_equal(vmi_pci_read(&ports, 0xcfc, 4), UINT32_MAX);
    vmi_pci_write(&ports, 0xcf9, 1, 2);
    assert_int_equal(events[VMI_PORTS_RESET], 0);
    vmi_pci_write(&ports, 0xcf9, 1, 6);
    assert_int_equal(events[VMI_PORTS_RESET], 1);
    assert_int_equal(vmi_pci_read(&ports, 0xcf9, 1), 6);
}

static void power_management(void **state)
{
    (void)state;
    assert_int_equal(vmi_pm_read(&ports, 4, 2, 0), 1); /* SCI_EN */
    vmi_pm_write(&ports, 2, 2, 0x320);
    assert_int_equal(vmi_pm_read(&ports, 2, 2, 0), 0x320);
    assert_int_equal(vmi_pm_read(&ports, 0, 2, 0), 0);
    assert_int_equal(vmi_pm_read(&ports, 8, 4, VMI_NS), VMI_PM_TIMER_HZ);
    assert_int_equal(vmi_pm_read(&ports, 12, 4, 0), UINT32_MAX);
    vmi_pm_write(&ports, 4, 2, 0x2000 | 3 << 10); /* another sleep state */
    assert_int_equal(events[VMI_PORTS_POWER_OFF], 0);
    vmi_pm_write(&ports, 4, 2, 0x2000 | VMI_S5_TYPE << 10);
    assert_int_equal(events[VMI_PORTS_POWER_OFF], 1);
}

static void firmware_configuration(void **state)
{
    char text[5] = {0};
    unsigned n;

    (void)state;
    vmi_fw_cfg_select(&ports, 0);
    for (n = 0; n < 4; n++)
        text[n] = (char)vmi_fw_cfg_read(&ports);
    assert_string_equal(text, "QEMU");
    assert_int_equal(vmi_fw_cfg_read(&ports), 0);
    vmi_fw_cfg_select(&ports, 5);
    assert_int_equal(vmi_fw_cfg_read(&ports), 3);
    assert_int_equal(vmi_fw_cfg_read(&ports), 0);
    vmi_fw_cfg_select(&ports, 3);
    assert_int_equal(vmi_fw_cfg_read(&ports), 0);
    assert_int_equal(vmi_fw_cfg_read(&ports), 0x50);
    vmi_fw_cfg_select(&ports, 0xffff);
    assert_int_equal(vmi_fw_cfg_read(&ports), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(keyboard_controller, setup),
        cmocka_unit_test_setup(pci_and_reset_control, setup),
        cmocka_unit_test_setup(power_management, setup),
        cmocka_unit_test_setup(firmware_configuration, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
