"""The devices that a guest can be given. Add your own here."""


def null(name, size=64):
    return ["-blockdev", f"driver=null-co,node-name={name},size={size << 20},read-zeroes=on"]


# name: (what it gives, QEMU arguments, modules to load, kernel arguments, guest command after boot)
PRESETS = {
    "iommu": ("Intel IOMMU, IOMMU groups", ["-device", "intel-iommu,intremap=on,caching-mode=on"],
              "vfio-pci", "intel_iommu=on", ""),
    "nvme": ("an NVMe disk, serial LABNVME1", null("nvme") + ["-device", "nvme,id=nvme1,drive=nvme,serial=LABNVME1,bus=rp1"],
             "nvme", "", ""),
    "nvme-sriov": ("an NVMe controller with up to 4 virtual functions",
                   null("nv") + ["-device", "nvme-subsys,id=labsubsys,nqn=lab",
                    "-device", "nvme,id=nvme2,serial=LABPF,subsys=labsubsys,bus=rp2,sriov_max_vfs=4,"
                    "sriov_vq_flexible=8,sriov_vi_flexible=4,max_ioqpairs=10,msix_qsize=7",
                    "-device", "nvme-ns,drive=nv,bus=nvme2,shared=on"], "nvme", "", ""),
    "nvme-multi": ("an NVMe subsystem of two namespaces and two controllers, ids one and two, serial LABNS",
                   null("ns1") + null("ns2") + ["-device", "nvme-subsys,id=sub,nqn=lab", "-device", "nvme,id=one,serial=LABNS,subsys=sub,bus=rp1",
                    "-device", "nvme,id=two,serial=LABNS,subsys=sub,bus=rp2", "-device", "nvme-ns,drive=ns1,bus=one,nsid=1,shared=on",
                    "-device", "nvme-ns,drive=ns2,bus=one,nsid=2,shared=on"], "nvme", "", ""),
    "igb": ("an Intel 82576 card with up to 7 virtual functions (igb, igbvf)",
            ["-netdev", "user,id=igbnet,restrict=on", "-device", "igb,id=igb,bus=rp3,netdev=igbnet,mac=52:54:00:00:01:01"], "igb igbvf", "", ""),
    "e1000e": ("an Intel 82574 card", ["-device", "e1000e,id=nic,bus=rp4,mac=52:54:00:00:01:02"], "e1000e", "", ""),
    "pciehp": ("PCIe slots driven by the kernel's pciehp instead of ACPI: surprise removal, 5 s orderly unplug",
               ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"], "", "", ""),
    "numa": ("two NUMA nodes, 2 processors each, a PCI card in each",
             ["-smp", "4,sockets=2,cores=2", "-object", "memory-backend-ram,id=m0,size={half}M",
              "-object", "memory-backend-ram,id=m1,size={half}M",
              "-numa", "node,nodeid=0,memdev=m0,cpus=0-1", "-numa", "node,nodeid=1,memdev=m1,cpus=2-3",
              "-numa", "dist,src=0,dst=1,val=21"]
             + [a for n in (0, 1) for a in (
                 "-device", f"pxb-pcie,id=pxb{n},bus_nr={0x40 + 0x20 * n},numa_node={n},bus=pcie.0",
                 "-device", f"pcie-root-port,id=numa{n},bus=pxb{n},chassis={20 + n},slot={20 + n}",
                 "-device", f"e1000e,id=numanic{n},bus=numa{n}")], "e1000e", "", ""),
    "usb": ("an empty USB 3 controller, bus name usb.0", ["-device", "qemu-xhci,id=usb,p2=8,p3=8"],
            "xhci_pci usbserial ftdi_sio pl2303 usb_storage sd_mod uas usbhid hid_generic cdc_acm", "", ""),
    "usb-more": ("a second USB 3 controller at 0000:00:1c.0, bus name more.0", ["-device", "qemu-xhci,id=more,p2=8,p3=8,bus=pcie.0,addr=0x1c"],
                 "xhci_pci", "", ""),
    "usb-gadget": ("dummy_hcd and configfs: make USB devices from inside the guest", [],
                   "dummy_hcd libcomposite configfs usb_f_acm cdc_acm", "", "mount -t configfs c /sys/kernel/config"),
    "rdma": ("soft-RoCE device rxe0 on a dummy interface", [], "dummy rdma_rxe ib_uverbs rdma_ucm ib_umad", "",
             "ip link add lab0 type dummy && ip link set lab0 up && lab-netlink rxe0 lab0"),
    "gpu": ("virtio-gpu: /dev/dri", ["-device", "virtio-gpu-pci,id=gpu"], "virtio_gpu", "", ""),
    "vgem": ("a render-only DRM device", [], "vgem", "", ""),
    "vivid": ("two virtual cameras: /dev/video*", [], "vivid", "vivid.n_devs=2", ""),
    "sound": ("a dummy sound card and an Intel HDA one: /dev/snd",
              ["-audiodev", "none,id=snd", "-device", "intel-hda,id=hda", "-device", "hda-duplex,audiodev=snd"],
              "snd_dummy snd_hda_intel snd_hda_codec_generic", "", ""),
    "i2c": ("an I2C bus with one chip at 0x50: /dev/i2c-*", [], "i2c_dev i2c_stub i2c_i801", "i2c_stub.chip_addr=0x50", ""),
    "tpm": ("a TPM 2.0 (needs swtpm): /dev/tpm0, /dev/tpmrm0",
            ["-chardev", "socket,id=tpm,path={dir}/tpm.sock", "-tpmdev", "emulator,id=tpm0,chardev=tpm",
             "-device", "tpm-tis,tpmdev=tpm0"], "tpm_tis", "", ""),
    "rng": ("a source of random numbers, whose driver is not loaded yet: virtio_rng", ["-device", "virtio-rng-pci,id=rng"], "", "", ""),
    "ports": ("two parallel ports: to one an SPI bus is wired (spi_lm70llp), to the other an I2C bus (i2c_parport)",
              [a for n, (at, irq) in enumerate([("0x278", 5), ("0x378", 7)]) for a in ("-chardev", f"null,id=par{n}", "-device", f"isa-parallel,chardev=par{n},iobase={at},irq={irq}")],
              "parport_pc i2c_dev spidev", "", ""),
    "dvb": ("a virtual receiver of digital television with an I2C bus: /dev/dvb (needs build --extra)", [], "dvb-vidtv-bridge i2c_dev", "", ""),
    "watchdog": ("an i6300esb watchdog: /dev/watchdog0", ["-device", "i6300esb", "-watchdog-action", "none"], "i6300esb", "", ""),
    "misc": ("fuse, tun, loop, nbd, null_blk, zram, cuse, uhid, vcan", [], "fuse tun loop nbd null_blk zram cuse uhid uinput vcan", "", ""),
    "pmem": ("persistent memory: /dev/pmem0",
             ["-M", "nvdimm=on", "-m", "{memory}M,slots=2,maxmem=8G", "-object", "memory-backend-ram,id=nv0,size=128M",
              "-device", "nvdimm,memdev=nv0,id=nvdimm0"], "nd_pmem nfit", "", ""),
    "cxl": ("a CXL type 3 memory device: /sys/bus/cxl",
            ["-M", "cxl=on,cxl-fmw.0.targets.0=cxl.1,cxl-fmw.0.size=1G", "-object", "memory-backend-ram,id=cxlm,size=256M",
             "-object", "memory-backend-ram,id=cxll,size=1M",
             "-device", "pxb-cxl,bus_nr=160,bus=pcie.0,id=cxl.1", "-device", "cxl-rp,port=0,bus=cxl.1,id=cxlrp,chassis=30,slot=30",
             "-device", "cxl-type3,bus=cxlrp,persistent-memdev=cxlm,lsa=cxll,id=cxl0,sn=0x1ab"], "cxl_acpi cxl_pci cxl_mem cxl_port", "", ""),
    "ipmi": ("a management controller: /dev/ipmi0", ["-device", "ipmi-bmc-sim,id=bmc", "-device", "isa-ipmi-kcs,bmc=bmc"], "ipmi_si ipmi_devintf", "", ""),
    "uio": ("an ivshmem card bound to uio_pci_generic: /dev/uio0",
            ["-object", "memory-backend-ram,id=shm,size=1M,share=on", "-device", "ivshmem-plain,memdev=shm,id=shmdev"],
            "uio_pci_generic", "", "echo 1af4 1110 > /sys/bus/pci/drivers/uio_pci_generic/new_id"),
    "kvm": ("/dev/kvm inside the guest", [], "kvm_amd", "", ""),
    "gpio": ("an 8-line GPIO chip: /dev/gpiochip0 (needs build --extra)", [], "configfs irq_sim gpio-sim", "",
             "mount -t configfs c /sys/kernel/config 2>/dev/null; d=/sys/kernel/config/gpio-sim/lab; mkdir $d $d/bank0 && echo 8 > $d/bank0/num_lines && echo 1 > $d/live"),
    "mdev": ("a mediated-device parent, mtty: /sys/class/mdev_bus (needs build --extra)", [], "vfio mdev vfio_iommu_type1 mtty", "", ""),
    "vkms": ("a display-only DRM device (needs build --extra)", [], "vkms", "", ""),
    "accel": ("a pretended PCI accelerator: /dev/accel/accel0 (needs build --extra)", ["-device", "edu,id=acc1,bus=rp5"], "lab_accel", "", ""),
    "custom": ("a class of somebody's own: what is written to /sys/class/custom-accelerator/add makes a card (needs build --extra)", [], "lab_custom", "", ""),
    "fpga": ("a PCI card that the kernel's dfl-pci takes for an FPGA: /sys/class/fpga_region, /dev/dfl-* (needs build --extra)",
             ["-device", "bochs-display,id=fpga,bus=rp6"], "dfl-fme dfl-fme-mgr dfl-fme-br dfl-fme-region dfl-afu dfl-pci", "iomem=relaxed",
             "d=$(grep -l 0x1111 /sys/bus/pci/devices/*/device); d=${d%/device}; echo 1 > $d/enable; lab-dfl $d/resource0 && echo 1234 1111 > /sys/bus/pci/drivers/dfl-pci/new_id; "
             "for i in 1 2 3 4 5; do test -e /dev/dfl-port.0 && break; echo dfl-port.0 > /sys/bus/platform/drivers/dfl-port/bind; done 2>/dev/null; test -e /dev/dfl-port.0"),
    "aer": ("PCIe error injection from inside the guest (aer_inject); from outside: hmp pcie_aer_inject_error", [], "aer_inject", "", ""),
}

EXTRA = {   # modules that Debian does not build: name: (sources in the kernel tree, Kbuild text)
    "gpio": (["drivers/gpio/gpio-sim.c", "kernel/irq/irq_sim.c"], "obj-m := gpio-sim.o irq_sim.o"),
    "mdev": (["samples/vfio-mdev/*.[ch]"], "obj-m := mtty.o mdpy.o"),
    "vkms": (["drivers/gpu/drm/vkms/*.[ch]"], "obj-m := vkms.o\nvkms-y := $(patsubst $(src)/%.c,%.o,$(wildcard $(src)/vkms_*.c))"),
    "fpga": (["drivers/fpga/fpga-mgr.c", "drivers/fpga/fpga-bridge.c", "drivers/fpga/fpga-region.c", "drivers/fpga/dfl*"],
             "# dfl-afu-main.c waits for a reset as long as it takes.\nobj-m := fpga-mgr.o fpga-bridge.o fpga-region.o dfl.o dfl-fme.o dfl-fme-mgr.o dfl-fme-br.o dfl-fme-region.o dfl-afu.o dfl-pci.o\n"
             "dfl-fme-y := dfl-fme-main.o dfl-fme-pr.o dfl-fme-error.o dfl-fme-perf.o\n"
             "dfl-afu-y := dfl-afu-main.o dfl-afu-region.o dfl-afu-dma-region.o dfl-afu-error.o"),
    "dvb": (["drivers/media/test-drivers/vidtv/*.[ch]"],
            "obj-m := dvb-vidtv-tuner.o dvb-vidtv-demod.o dvb-vidtv-bridge.o\n"
            "dvb-vidtv-tuner-y := vidtv_tuner.o\ndvb-vidtv-demod-y := vidtv_demod.o\n"
            "dvb-vidtv-bridge-y := vidtv_bridge.o vidtv_common.o vidtv_ts.o vidtv_psi.o vidtv_pes.o vidtv_s302m.o vidtv_channel.o vidtv_mux.o"),
    "accel": ([], "obj-m := lab_accel.o"),
    "custom": ([], "obj-m := lab_custom.o"),
}
