//! The files of NVIDIA's driver that a program in a container needs: libraries under the names by which
//! programs load them, and NVIDIA's tools.
//!
//! They are looked up by name, and no directory is listed unless somebody wants all: a library directory has thousands
//! of files.

use std::{collections::BTreeSet, io};

use crate::{
    discovery::path::last,
    host::{FileKind, Host},
};

/// Where the driver's version is.
pub(super) const VERSION: &str = "/sys/module/nvidia/version";

/// Where the driver is installed: on the host itself, by NVIDIA's operator in a container of its own, or by Google's
/// installer.
const ROOTS: &[&str] = &["", "/run/nvidia/driver", "/home/kubernetes/bin/nvidia"];

/// Where distributions have libraries.
const LIBRARY_DIRS: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/lib/x86_64-linux-gnu/nvidia/current",
    "/usr/lib/aarch64-linux-gnu/nvidia/current",
    "/usr/lib64/nvidia",
    "/lib64",
];

const PROGRAM_DIRS: &[&str] = &["/usr/bin", "/bin"];

/// Where the files are that are no libraries and no programs; those of Vulkan may be in the others.
const SHARE_DIRS: &[&str] = &["/usr/share", "/etc", ""];

/// Where the loaders of each image look for them.
const SHARE_DIR_OF_CONTAINERS: &str = "/usr/share";

/// `{}` is the driver's version: such a library has it in the name by which programs load it. A name without any
/// number is there where the driver has a link of it, for programs that load it by that name.
const COMPUTE: &[&str] = &[
    "libcuda.so.1",
    "libcuda.so",
    "libcudadebugger.so.1",
    "libnvidia-ptxjitcompiler.so.1",
    "libnvidia-nvvm.so.4",
    "libnvidia-nvvm70.so.4",
    "libnvidia-opencl.so.1",
    "libnvidia-allocator.so.1",
    "libnvidia-compiler.so.{}",
    "libnvidia-gpucomp.so.{}",
    "libnvidia-tileiras.so.{}",
    "libnvidia-pkcs11.so.{}",
    "libnvidia-pkcs11-openssl3.so.{}",
];

const UTILITY: &[&str] = &["libnvidia-ml.so.1", "libnvidia-cfg.so.1"];

const VIDEO: &[&str] = &[
    "libnvcuvid.so.1",
    "libnvidia-encode.so.1",
    "libnvidia-opticalflow.so.1",
    "libnvidia-opticalflow.so",
    "libnvidia-fbc.so.1",
    "libvdpau_nvidia.so.1",
    "vdpau/libvdpau_nvidia.so.1",
    "libvdpau_nvidia.so",
];

const GRAPHICS: &[&str] = &[
    "libEGL_nvidia.so.0",
    "libGLX_nvidia.so.0",
    "libGLX_indirect.so.0",
    "libGLESv1_CM_nvidia.so.1",
    "libGLESv2_nvidia.so.2",
    "libnvoptix.so.1",
    "libnvidia-eglcore.so.{}",
    "libnvidia-glcore.so.{}",
    "libnvidia-glsi.so.{}",
    "libnvidia-glvkspirv.so.{}",
    "libnvidia-rtcore.so.{}",
    "libnvidia-tls.so.{}",
    // Shaders are compiled by these, also for programs that only draw.
    "libnvidia-gpucomp.so.{}",
    "libnvidia-ptxjitcompiler.so.1",
    "libnvidia-allocator.so.1",
    "libnvidia-egl-gbm.so.1",
    "libnvidia-egl-wayland.so.1",
    "libnvidia-egl-wayland2.so.1",
    "libnvidia-egl-xcb.so.1",
    "libnvidia-egl-xlib.so.1",
    "libnvidia-vulkan-producer.so",
    "libnvidia-fbc.so.1",
    "libnvidia-ngx.so.1",
];

/// By which the loaders of EGL and Vulkan find the driver and its parts, and what ray tracing needs.
const GRAPHICS_FILES: &[&str] = &[
    "glvnd/egl_vendor.d/10_nvidia.json",
    "egl/egl_external_platform.d/09_nvidia_wayland2.json",
    "egl/egl_external_platform.d/10_nvidia_wayland.json",
    "egl/egl_external_platform.d/15_nvidia_gbm.json",
    "egl/egl_external_platform.d/20_nvidia_xcb.json",
    "egl/egl_external_platform.d/20_nvidia_xlib.json",
    "vulkan/icd.d/nvidia_icd.json",
    // As packages for RPM call it.
    "vulkan/icd.d/nvidia_icd.x86_64.json",
    "vulkan/icd.d/nvidia_icd.aarch64.json",
    "vulkan/implicit_layer.d/nvidia_layers.json",
    "nvidia/nvoptix.bin",
];

const TOOLS: &[&str] =
    &["nvidia-smi", "nvidia-debugdump", "nvidia-cuda-mps-control", "nvidia-cuda-mps-server"];

/// The files that `name` stands for, those that are there. `None` if it stands for none.
pub(super) fn files(host: &Host, name: &str) -> io::Result<Option<Vec<String>>> {
    let files = match name {
        "computeLibraries" => libraries(host, COMPUTE)?,
        "utilityLibraries" => libraries(host, UTILITY)?,
        "videoLibraries" => libraries(host, VIDEO)?,
        "graphicsLibraries" => libraries(host, GRAPHICS)?,
        "allLibraries" => all_libraries(host)?,
        "graphicsFiles" => found(first_of_each(host, &below(ROOTS, SHARE_DIRS), GRAPHICS_FILES)?),
        "graphicsPaths" => {
            let found = first_of_each(host, &below(ROOTS, SHARE_DIRS), GRAPHICS_FILES)?;
            found.iter().map(|(_, name)| format!("{SHARE_DIR_OF_CONTAINERS}/{name}")).collect()
        }
        "tools" => found(first_of_each(host, &below(ROOTS, PROGRAM_DIRS), TOOLS)?),
        _ => return Ok(None),
    };
    Ok(Some(files))
}

fn libraries(host: &Host, names: &[&str]) -> io::Result<Vec<String>> {
    let (dir, version) = installed(host)?;
    let names: Vec<String> = names.iter().map(|it| it.replace("{}", &version)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut files = found(first_of_each(host, &[dir], &names)?);
    // In a container all are in one directory, so the first of a name counts.
    let mut seen = BTreeSet::new();
    files.retain(|it| seen.insert(last(it).to_owned()));
    Ok(files)
}

/// Each library of the driver's version, under all names that it has in its directory: programs load some by a number
/// and some by the version.
fn all_libraries(host: &Host) -> io::Result<Vec<String>> {
    let (dir, version) = installed(host)?;
    let names = host.names(&dir)?;
    let stem = |name: &str| name.find(".so").and_then(|end| name.get(..end)).map(str::to_owned);
    let end = format!(".so.{version}");
    let is_library = |name: &&String| name.starts_with("lib") && name.ends_with(&end);
    let stems: BTreeSet<String> =
        names.iter().filter(is_library).filter_map(|it| stem(it)).collect();
    let is_of_driver = |name: &&str| stem(name).is_some_and(|it| stems.contains(&it));
    let names: Vec<&str> = names.iter().map(String::as_str).filter(is_of_driver).collect();
    Ok(found(first_of_each(host, &[dir], &names)?))
}

/// The directory of the driver's libraries, and its version: libraries of an older one may be left elsewhere.
fn installed(host: &Host) -> io::Result<(String, String)> {
    let Some(version) = host.attribute(VERSION)? else {
        return Err(not_found(format!("there is no {VERSION}")));
    };
    for dir in below(ROOTS, LIBRARY_DIRS) {
        if host.kind(&format!("{dir}/libcuda.so.{version}"))?.is_some() {
            return Ok((dir, version));
        }
    }
    let dirs = LIBRARY_DIRS.join(", ");
    let roots = ROOTS.iter().skip(1).copied().collect::<Vec<_>>().join(" or ");
    Err(not_found(format!(
        "libcuda.so.{version} of the driver is in none of {dirs}, nor below {roots}; in a container, the host's \
         /usr must be mounted"
    )))
}

fn below(roots: &[&str], dirs: &[&str]) -> Vec<String> {
    roots.iter().flat_map(|root| dirs.iter().map(move |dir| format!("{root}{dir}"))).collect()
}

/// Each of the names that is a file in one of the directories, with its path in the first of these.
fn first_of_each<'n>(
    host: &Host,
    dirs: &[String],
    names: &[&'n str],
) -> io::Result<Vec<(String, &'n str)>> {
    let mut found = Vec::new();
    for name in names {
        for dir in dirs {
            let path = format!("{dir}/{name}");
            if host.kind(&path)? == Some(FileKind::File) {
                found.push((path, *name));
                break;
            }
        }
    }
    Ok(found)
}

fn found(files: Vec<(String, &str)>) -> Vec<String> {
    files.into_iter().map(|(path, _)| path).collect()
}

fn not_found(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, what)
}
