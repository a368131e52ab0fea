"""USB devices with the numbers of real makers are made inside the guest, plugged and pulled, and found by the profiles for them.

An Arduino, a MIDI keyboard, a software radio, a Coral stick that becomes another product when its firmware is loaded; and
what is offered to nobody: hubs, a keyboard, a disk."""
DEVICES = ["usb-gadget"]
GUEST = {"append": "dummy_hcd.num=6"}
X86 = "the kernel of aarch64 has no USB devices made of software"
CONFIG = """
resources:
  - profile: { name: serial, vendors: ["2341"] }
  - profile: { name: sound, drivers: [snd-usb-audio] }
  - profile: sdr
  - profile: { name: coral, kind: usb }
  - profile: { name: usb, vendors: ["1d50", "1a6e", "18d1", "046d", "0781"] }
"""
# name: (port, maker, product, serial number, function)
GADGETS = {
    "arduino": (0, "2341", "0043", "7543130363", "acm.0"),
    "midi": (1, "0763", "019b", "", "midi.0"),
    "radio": (2, "1d50", "6089", "0000000000000457", "SourceSink.0"),
    "coral": (3, "1a6e", "089a", "", "SourceSink.1"),
    "keyboard": (4, "046d", "c31c", "", "hid.0"),
    "disk": (5, "0781", "5567", "4C530001", "mass_storage.0"),
}
G = "/sys/kernel/config/usb_gadget"


def story(node):
    def make(name):
        port, vendor, product, serial, function = GADGETS[name]
        more = {"hid": f"echo 8 > report_length; echo 1 > subclass; echo 1 > protocol; printf '{KEYS}' > report_desc",
                "mass_storage": "truncate -s 4M /run/stick; echo /run/stick > lun.0/file"}.get(function.split(".")[0], ":")
        node.sh(f"mkdir {G}/{name} && cd {G}/{name} && echo 0x{vendor} > idVendor && echo 0x{product} > idProduct && mkdir strings/0x409 configs/c.1 functions/{function} &&"
                f" echo '{serial}' > strings/0x409/serialnumber && (cd functions/{function} && {more}) && ln -s functions/{function} configs/c.1/", check=True)

    def plug(name):
        node.sh(f"echo dummy_udc.{GADGETS[name][0]} > {G}/{name}/UDC", check=True)

    def pull(name):
        node.sh(f"echo > {G}/{name}/UDC", check=True)

    def usb(name, product=None):
        """A command that tells where the device is in sysfs, once it has a driver or a node."""
        return f"cd $(dirname $(grep -l {product or GADGETS[name][2]} /sys/bus/usb/devices/*/idProduct)) && pwd -P"

    def usb_node(name, product=None):
        at = usb(name, product)
        return node.sh(f"{at} >/dev/null; sed -n 's/DEVNAME=/\\/dev\\//p' uevent", check=True)[0].strip()

    node.sh("modprobe -a snd_usb_audio usbhid hid_generic usb_storage sd_mod", check=True)
    for it in GADGETS:
        make(it)
    node.start()
    node.expect("chandler/usb")

    # What the host itself is used with: neither a keyboard, nor a disk, nor a hub.
    for it in ("keyboard", "disk"):
        plug(it)
    node.wait_for(usb("keyboard") + " && ls */*/input && " + usb("disk") + " && ls -d */host*/target*/*/block")

    node.expect_after("an Arduino plugged", lambda: plug("arduino"), "chandler/serial", "7543130363 Healthy", event=" add tty - ", given="test -c /dev/ttyACM0")
    assert node.gives("chandler/serial", "/dev/ttyACM0") == ("7543130363", {"SERIAL_PORTS": "/dev/ttyACM0"})

    plug("midi")
    node.wait_for(usb("midi") + " && ls */sound/card*/controlC*")
    node._until(lambda: len(node.healthy("chandler/sound")) == 1, "a sound card")
    midi = node.healthy("chandler/sound")[0]
    nodes = node.sh(usb("midi") + " >/dev/null; sed -n 's,DEVNAME=,/dev/,p' */sound/card*/*/uevent", check=True)[0].split()
    timer = ["/dev/snd/timer"] if not node.sh("test -e /dev/snd/timer")[1] else []
    node.gives("chandler/sound", *nodes, *timer)

    node.expect_after("a radio plugged", lambda: plug("radio"), "chandler/sdr", "0000000000000457 Healthy", event=" add usb usb_device ", given=usb("radio"))
    radio = usb_node("radio")
    assert node.gives("chandler/sdr", radio)[1] == {"SDR_DEVICES": radio}

    # The stick is another product for a while of its life, and the same device.
    plug("coral")
    node.wait_for(usb("coral"))
    node._until(lambda: len(node.healthy("chandler/coral-usb")) == 1, "the stick")
    stick = node.healthy("chandler/coral-usb")[0]
    node.gives("chandler/coral-usb", usb_node("coral"))
    node.expect_after("it is given its firmware", lambda: pull("coral"), "chandler/coral-usb", f"{stick} Unhealthy", event=" remove usb usb_device ", given="! grep 089a /sys/bus/usb/devices/*/idProduct")
    node.sh(f"cd {G}/coral && echo 0x18d1 > idVendor && echo 0x9302 > idProduct", check=True)
    node.expect_after("it is back as another product", lambda: plug("coral"), "chandler/coral-usb", f"{stick} Healthy", event=" add usb usb_device ", given=usb("coral", "9302"))
    node.gives("chandler/coral-usb", usb_node("coral", "9302"))
    node.say(f"the stick is {stick}, the card {midi}")

    # All that have been named are taken, the others are the host's.
    taken = node.discover()[0]
    assert sorted(taken["chandler/usb"]) == [], taken["chandler/usb"]
    node.expect("chandler/usb")
    for name, resource, id in (("arduino", "chandler/serial", "7543130363"), ("midi", "chandler/sound", midi), ("radio", "chandler/sdr", "0000000000000457"),
                               ("coral", "chandler/coral-usb", stick)):
        node.expect_after(f"{name} pulled", lambda: pull(name), resource, f"{id} Unhealthy", event=" remove usb usb_device ")
        node.expect_after(f"{name} plugged in again", lambda: plug(name), resource, f"{id} Healthy", event=" add usb usb_device ")


# The report of a keyboard with one byte of modifiers and six keys, as its makers write it.
KEYS = "".join(f"\\x{it}" for it in (
    "05 01 09 06 a1 01 05 07 19 e0 29 e7 15 00 25 01 75 01 95 08 81 02 95 01 75 08 81 03 95 06 75 08 15 00 25 65 05 07 19 00 29 65 81 00 c0").split())
