//! The profiles that are inside the program.

/// Names and texts of the files in `src/config/profiles`.
macro_rules! shipped {
    ($($name:literal,)*) => {
        &[$(($name, include_str!(concat!("../profiles/", $name, ".yaml")))),*]
    };
}

/// Each profile by its name, in alphabetical order.
pub(super) static SHIPPED: &[(&str, &str)] = shipped![
    "custom-accelerator",
    "fuse",
    "gpio",
    "hwrng",
    "i2c",
    "kvm",
    "loop",
    "ppp",
    "spi",
    "tpm",
    "tun",
    "uinput",
    "vhost",
];
