"""Virtual cameras, a receiver of digital television and a sound card come with their drivers, and go, by the profiles.

A camera has many nodes, of which pods get the first; a receiver and a sound card are all of their nodes."""
DEVICES = []
X86 = "the driver of its receiver is built for x86_64 only"
CONFIG = """
resources:
  - profile: video
  - profile: dvb
  - profile: sound
"""


def story(node):
    node.start()
    node.expect("chandler/video")
    node.expect("chandler/dvb")

    first = "/dev/$(basename $(dirname $(grep -l 'vivid-00%d-vid-cap' /sys/class/video4linux/*/name)))"
    node.sh("modprobe vivid n_devs=2", check=True)
    node.wait_for(" && ".join(f"test -c {first % it}" for it in (0, 1)))
    cameras = [node.sh(f"echo {first % it}", check=True)[0].strip() for it in (0, 1)]
    nodes = int(node.sh("ls /dev/video* | wc -l", check=True)[0])
    ids = [it.rsplit("/", 1)[1] for it in cameras]
    node.expect("chandler/video", *[f"{it} Healthy" for it in ids])
    node.say(f"{nodes} nodes, of which two are cameras: {ids}")
    id, pod = node.hold("door", "chandler/video")
    assert pod == ["/dev/" + id] and id in ids, (id, pod)
    assert node.gives("chandler/video", *set(cameras) - set(pod))[1] == {"VIDEO_DEVICES": (set(cameras) - set(pod)).pop()}
    node.release("door")
    # One platform device has both.
    node.expect_after("the cameras gone", lambda: node.sh("echo vivid.0 > /sys/bus/platform/drivers/vivid/unbind", check=True),
                      "chandler/video", *[f"{it} Unhealthy" for it in ids], event=" remove video4linux - ", given=f"! test -e {cameras[0]}")

    node.expect_after("a receiver comes", lambda: node.sh("modprobe dvb-vidtv-bridge", check=True), "chandler/dvb", "dvb0.demux0 Healthy",
                      event=" add dvb - .*frontend0 ", given="test -c /dev/dvb/adapter0/frontend0 && test -c /dev/dvb/adapter0/dvr0")
    parts = [f"/dev/dvb/adapter0/{it}" for it in ("demux0", "dvr0", "frontend0")]
    environment = node.gives("chandler/dvb", *parts)[1]
    assert environment == {"DVB_DEVICES": ",".join(parts)}, environment
    node.expect_after("it goes", lambda: node.sh("echo vidtv.0 > /sys/bus/platform/drivers/vidtv/unbind", check=True), "chandler/dvb", "dvb0.demux0 Unhealthy",
                      event=" remove dvb - ", given="! test -e /dev/dvb/adapter0")

    node.expect_after("a sound card comes", lambda: node.sh("modprobe snd_dummy", check=True), "chandler/sound", "card0 Healthy",
                      event=" add sound - .*/controlC0 ", given="test -c /dev/snd/controlC0")
    environment = node.gives("chandler/sound", *[f"/dev/snd/{it}" for it in ("controlC0", "pcmC0D0c", "pcmC0D0p", "timer")])[1]
    assert environment == {"SOUND_CARDS": "Dummy"}, environment
    node.expect_after("it goes", lambda: node.sh("rmmod snd_dummy", check=True), "chandler/sound", "card0 Unhealthy",
                      event=" remove sound - ", given="! test -e /dev/snd/controlC0")
