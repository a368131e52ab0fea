"""GPIO chips, I2C and SPI buses, and a TPM come and go, by the profiles for them.

An I2C bus that the machine needs for itself (that of a PC's chipset, and the kernel's stub, which says that it is one)
is offered to nobody."""
DEVICES = ["ports", "tpm", "gpio", "i2c"]
X86 = "its ports and its TPM are those of a PC"
CONFIG = """
resources:
  - { profile: gpio, sharing: { replicas: 2 } }
  - { profile: i2c, sharing: { replicas: 2 } }
  - profile: spi
  - { profile: tpm, sharing: { replicas: 2 } }
  - profile: { name: tpm, node: raw }
"""
CHIPS = "/sys/kernel/config/gpio-sim"
SPI = "/sys/bus/spi/devices/spi0.0"
TIS = "/sys/bus/platform/drivers/tpm_tis"


def story(node):
    node.wait_for("test -c /dev/gpiochip0 && test -c /dev/tpm0 && test -c /dev/tpmrm0 && grep -l SMBus /sys/class/i2c-dev/*/name")
    node.start()

    def twice(id, health):
        return [f"{id}::{it} {health}" for it in (0, 1)]

    # A chip is made, and another taken away.
    node.expect("chandler/gpio", *twice("gpiochip0", "Healthy"))
    node.gives("chandler/gpio", "/dev/gpiochip0")
    node.expect_after("a GPIO chip added", lambda: node.sh(f"d={CHIPS}/two; mkdir $d $d/bank0 && echo 4 > $d/bank0/num_lines && echo 1 > $d/live", check=True),
                      "chandler/gpio", *twice("gpiochip0", "Healthy"), *twice("gpiochip1", "Healthy"), event=" add gpio gpio_chip .*/gpiochip1 ", given="test -c /dev/gpiochip1")
    node.expect_after("the first one removed", lambda: node.sh(f"echo 0 > {CHIPS}/lab/live", check=True),
                      "chandler/gpio", *twice("gpiochip0", "Unhealthy"), *twice("gpiochip1", "Healthy"), event=" remove gpio gpio_chip .*/gpiochip0 ", given="! test -e /dev/gpiochip0")
    node.gives("chandler/gpio", "/dev/gpiochip1")

    # What is on the buses of the machine itself keeps it running.
    node.expect("chandler/i2c")
    buses = set(node.sh("cd /dev && ls i2c-*", check=True)[0].split())
    node.sh("modprobe i2c_parport parport=1,-1 type=4", check=True)
    node.wait_for("grep -l Parallel /sys/class/i2c-dev/*/name && test $(ls /dev/i2c-* | wc -l) = " + str(len(buses) + 1))
    bus = (set(node.sh("cd /dev && ls i2c-*", check=True)[0].split()) - buses).pop()
    node.expect("chandler/i2c", *twice(bus, "Healthy"))
    node.gives("chandler/i2c", "/dev/" + bus)
    node.expect_after("the I2C bus removed", lambda: node.sh("rmmod i2c_parport", check=True),
                      "chandler/i2c", *twice(bus, "Unhealthy"), event=f" remove i2c-dev - .*/{bus} ", given=f"! test -e /dev/{bus}")

    # A device has a node while no driver of the kernel's, but spidev, has it.
    node.expect("chandler/spi")
    node.sh("modprobe spi_lm70llp", check=True)
    node.wait_for(f"test -e {SPI}")
    node.expect_after("spidev has the device", lambda: node.sh(f"echo spidev > {SPI}/driver_override; echo spi0.0 > /sys/bus/spi/drivers/spidev/bind", check=True),
                      "chandler/spi", "spidev0.0 Healthy", event=" add spidev - .*/spidev0.0 ", given="test -c /dev/spidev0.0")
    node.gives("chandler/spi", "/dev/spidev0.0")
    node.expect_after("spidev has it no more", lambda: node.sh("echo spi0.0 > /sys/bus/spi/drivers/spidev/unbind", check=True),
                      "chandler/spi", "spidev0.0 Unhealthy", event=" remove spidev - .*/spidev0.0 ", given="! test -e /dev/spidev0.0")

    # The TPM has two nodes: one for all, and one for one.
    tpm = node.list("chandler/tpm-raw")[0].split()[0]
    node.expect("chandler/tpm", *twice(tpm, "Healthy"))
    node.gives("chandler/tpm", "/dev/tpmrm0")
    node.gives("chandler/tpm-raw", "/dev/tpm0")
    chip = node.sh(f"cd {TIS} && ls -d MSFT*", check=True)[0].strip()
    node.expect_after("the TPM lost", lambda: node.sh(f"echo {chip} > {TIS}/unbind", check=True),
                      "chandler/tpm", *twice(tpm, "Unhealthy"), event=" remove tpmrm - ", given="! test -e /dev/tpmrm0")
    node.expect("chandler/tpm-raw", f"{tpm} Unhealthy")
    node.expect_after("the TPM found again, with another number", lambda: node.sh(f"echo {chip} > {TIS}/bind", check=True),
                      "chandler/tpm", *twice(tpm, "Healthy"), event=" add tpmrm - ", given="test -c /dev/tpmrm1")
    node.expect("chandler/tpm-raw", f"{tpm} Healthy")
    node.gives("chandler/tpm", "/dev/tpmrm1")
    node.gives("chandler/tpm-raw", "/dev/tpm1")
