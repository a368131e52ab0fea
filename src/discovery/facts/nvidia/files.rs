//! The files of NVIDIA's driver that a program in a container needs: libraries under the names by which
//! programs load them, and NVIDIA's tools.
//!
//! They are looked up by name, and no directory is listed: a library directory has thousands of files.

use std::io;

use crate::host::Host;

/// Where the driver's version is.
pub(super) const VERSION: &str = "/sys/module/nvidia/version";

/// Where the driver is installed: on the host itself, or by NVIDIA's operator in a container of its own.
const ROOTS: &[&str] = &["", "/run/nvidia/driver"];

/// Where distributions have libraries.
const LIBRARY_DIRS: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/lib/x86_64-linux-gnu/nvidia/current",
    "/usr/lib/aarch64-linux-gnu/nvidia/current",
    "/usr/lib64/nvidia",
];

/// `{}` is the driver's version: such a library has it in the name by which programs load it.
const COMPUTE: &[&str] = &[
    "libcuda.so.1",
    "libcudadebugger.so.1",
    "libnvidia-ptxjitcompiler.so.1",
    "libnvidia-nvvm.so.4",
    "libnvidia-opencl.so.1",
    "libnvidia-allocator.so.1",
    "libnvidia-gpucomp.so.{}",
    "libnvidia-pkcs11-openssl3.so.{}",
];

const UTILITY: &[&str] = &["libnvidia-ml.so.1", "libnvidia-cfg.so.1"];

const VIDEO: &[&str] = &[
    "libnvcuvid.so.1",
    "libnvidia-encode.so.1",
    "libnvidia-opticalflow.so.1",
    "libnvidia-fbc.so.1",
    "libvdpau_nvidia.so.1",
];

const GRAPHICS: &[&str] = &[
    "libEGL_nvidia.so.0",
    "libGLX_nvidia.so.0",
    "libGLESv1_CM_nvidia.so.1",
    "libGLESv2_nvidia.so.2",
    "libnvoptix.so.1",
    "libnvidia-eglcore.so.{}",
    "libnvidia-glcore.so.{}",
    "libnvidia-glsi.so.{}",
    "libnvidia-glvkspirv.so.{}",
    "libnvidia-rtcore.so.{}",
    "libnvidia-tls.so.{}",
];

/// By which the loaders of EGL and Vulkan find the driver.
const GRAPHICS_FILES: &[&str] = &[
    "/usr/share/glvnd/egl_vendor.d/10_nvidia.json",
    "/usr/share/vulkan/icd.d/nvidia_icd.json",
    "/etc/vulkan/icd.d/nvidia_icd.json",
];

const TOOLS: &[&str] = &[
    "/usr/bin/nvidia-smi",
    "/usr/bin/nvidia-debugdump",
    "/usr/bin/nvidia-cuda-mps-control",
    "/usr/bin/nvidia-cuda-mps-server",
];

/// The files that `name` stands for, those that are there. `None` if it stands for none.
pub(super) fn files(host: &Host, name: &str) -> io::Result<Option<Vec<String>>> {
    match name {
        "computeLibraries" => libraries(host, COMPUTE).map(Some),
        "utilityLibraries" => libraries(host, UTILITY).map(Some),
        "videoLibraries" => libraries(host, VIDEO).map(Some),
        "graphicsLibraries" => libraries(host, GRAPHICS).map(Some),
        "graphicsFiles" => present(host, GRAPHICS_FILES.iter().map(|&it| it.to_owned())).map(Some),
        "tools" => {
            let paths =
                ROOTS.iter().flat_map(|root| TOOLS.iter().map(move |it| format!("{root}{it}")));
            let mut found: Vec<String> = present(host, paths)?;
            found.dedup_by(|a, b| a.rsplit('/').next() == b.rsplit('/').next());
            Ok(Some(found))
        }
        _ => Ok(None),
    }
}

fn libraries(host: &Host, names: &[&str]) -> io::Result<Vec<String>> {
    let Some(version) = host.attribute(VERSION)? else {
        return Err(not_found(format!("there is no {VERSION}")));
    };
    let Some(dir) = directory(host, &version)? else {
        let dirs = LIBRARY_DIRS.join(", ");
        return Err(not_found(format!(
            "libcuda.so.{version} of the driver is in none of {dirs}, nor below /run/nvidia/driver; in a \
             container, the host's /usr must be mounted"
        )));
    };
    present(host, names.iter().map(|it| format!("{dir}/{}", it.replace("{}", &version))))
}

/// The directory with the libraries of this version: an older one may be left elsewhere.
fn directory(host: &Host, version: &str) -> io::Result<Option<String>> {
    for root in ROOTS {
        for dir in LIBRARY_DIRS {
            let dir = format!("{root}{dir}");
            if host.kind(&format!("{dir}/libcuda.so.{version}"))?.is_some() {
                return Ok(Some(dir));
            }
        }
    }
    Ok(None)
}

fn present(host: &Host, paths: impl Iterator<Item = String>) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for path in paths {
        if host.kind(&path)?.is_some_and(|it| it == crate::host::FileKind::File) {
            found.push(path);
        }
    }
    Ok(found)
}

fn not_found(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, what)
}
