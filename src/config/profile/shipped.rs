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
    "custom-accelerator",
    "drm",
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
    "spi",
    "sriov-net",
    "sriov-vfio",
    "tpm",
    "tpu",
    "tun",
    "uinput",
    "vfio-mdev",
    "vfio-pci",
    "vhost",
];
