//! The profiles that are inside the program.

/// Names and texts of the files in `src/config/profiles`.
macro_rules! shipped {
    ($($name:literal,)*) => {
        &[$(($name, include_str!(concat!("../profiles/", $name, ".yaml")))),*]
    };
}

/// Each profile by its name, in alphabetical order.
pub(super) static SHIPPED: &[(&str, &str)] = shipped![
    "accel",
    "amd-gpu",
    "block",
    "can",
    "coral",
    "custom-accelerator",
    "drm",
    "dvb",
    "fuse",
    "gpio",
    "habana",
    "hwrng",
    "i2c",
    "infiniband",
    "intel-dsa",
    "intel-fpga",
    "intel-gpu",
    "intel-npu",
    "intel-qat",
    "kvm",
    "loop",
    "neuron",
    "nvidia-gpu",
    "nvme",
    "ppp",
    "sdr",
    "serial",
    "sound",
    "spi",
    "sriov-net",
    "sriov-vfio",
    "tpm",
    "tpu",
    "tun",
    "uinput",
    "usb",
    "vfio-mdev",
    "vfio-pci",
    "vhost",
    "video",
];
