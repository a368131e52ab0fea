//! Where the driver of NVIDIA is installed, and what of it a container gets.

use crate::{profiles::shown, tree::tree};

/// A GPU whose driver has its files at `places`, each a path.
#[track_caller]
fn mounts(files: &[&str], capabilities: &str) -> Vec<String> {
    let host = tree(&format!(
        "pci 0000:3b:00.0 nvidia
  vendor 0x10de
  class 0x030200
/proc/driver/nvidia/gpus/0000:3b:00.0/information
  | GPU UUID: 	 GPU-1
  | Device Minor: 	 0
/sys/module/nvidia/version
  | 580.1
/dev/nvidia0 char
/dev/nvidiactl char
/dev/nvidia-uvm char
{}
",
        files.join("\n")
    ));
    let profile = format!("profile: {{ name: nvidia-gpu, capabilities: {capabilities} }}");
    let report = shown(&host, &profile);
    let mounts = report.lines().filter_map(|it| it.trim().strip_suffix(" ro"));
    let mounts: Vec<String> = mounts.map(str::to_owned).collect();
    assert!(!mounts.is_empty(), "{report}");
    mounts
}

#[test]
fn a_driver_in_a_container_of_its_own_gives_its_files_at_the_places_where_programs_expect_them() {
    let below = "/run/nvidia/driver";
    assert_eq!(
        mounts(
            &[
                "/run/nvidia/driver/usr/lib64/libcuda.so.580.1",
                "/run/nvidia/driver/usr/lib64/libcuda.so.1 -> libcuda.so.580.1",
                "/run/nvidia/driver/usr/lib64/libGLX_nvidia.so.0",
                "/run/nvidia/driver/usr/share/vulkan/icd.d/nvidia_icd.json",
                "/run/nvidia/driver/etc/vulkan/implicit_layer.d/nvidia_layers.json",
                "/run/nvidia/driver/usr/bin/nvidia-smi",
            ],
            "[utility, graphics]"
        ),
        [
            format!("{below}/usr/bin/nvidia-smi at /usr/local/nvidia/bin/nvidia-smi"),
            format!(
                "{below}/usr/lib64/libGLX_nvidia.so.0 at /usr/local/nvidia/lib64/libGLX_nvidia.so.0"
            ),
            format!(
                "{below}/usr/share/vulkan/icd.d/nvidia_icd.json at /usr/share/vulkan/icd.d/nvidia_icd.json"
            ),
            format!(
                "{below}/etc/vulkan/implicit_layer.d/nvidia_layers.json at \
                 /usr/share/vulkan/implicit_layer.d/nvidia_layers.json"
            ),
        ]
    );
}

#[test]
fn the_driver_that_googles_installer_has_put_on_a_node_is_found() {
    let below = "/home/kubernetes/bin/nvidia";
    assert_eq!(
        mounts(
            &[
                "/home/kubernetes/bin/nvidia/lib64/libcuda.so.580.1",
                "/home/kubernetes/bin/nvidia/lib64/libcuda.so.1 -> libcuda.so.580.1",
                "/home/kubernetes/bin/nvidia/bin/nvidia-smi",
                "/home/kubernetes/bin/nvidia/vulkan/icd.d/nvidia_icd.json",
            ],
            "[compute, utility, graphics]"
        ),
        [
            format!("{below}/lib64/libcuda.so.1 at /usr/local/nvidia/lib64/libcuda.so.1"),
            format!("{below}/bin/nvidia-smi at /usr/local/nvidia/bin/nvidia-smi"),
            format!(
                "{below}/vulkan/icd.d/nvidia_icd.json at /usr/share/vulkan/icd.d/nvidia_icd.json"
            ),
        ]
    );
}

#[test]
fn a_file_that_is_in_two_places_is_mounted_once() {
    let files = [
        "/usr/lib64/libcuda.so.580.1",
        "/usr/lib64/libvdpau_nvidia.so.1",
        "/usr/lib64/vdpau/libvdpau_nvidia.so.1",
        "/usr/lib64/libnvidia-allocator.so.580.1",
        "/usr/lib64/libnvidia-allocator.so.1 -> libnvidia-allocator.so.580.1",
        "/usr/share/vulkan/icd.d/nvidia_icd.json",
        "/etc/vulkan/icd.d/nvidia_icd.json",
    ];
    let lib = |name: &str| format!("/usr/lib64/{name} at /usr/local/nvidia/lib64/{name}");
    let icd = "/usr/share/vulkan/icd.d/nvidia_icd.json";
    assert_eq!(
        mounts(&files, "[compute, video, graphics]"),
        [lib("libnvidia-allocator.so.1"), lib("libvdpau_nvidia.so.1"), format!("{icd} at {icd}")]
    );
    assert_eq!(
        mounts(&files, "all"),
        [
            lib("libnvidia-allocator.so.1"),
            lib("libvdpau_nvidia.so.1"),
            format!("{icd} at {icd}"),
            lib("libcuda.so.580.1"),
            lib("libnvidia-allocator.so.580.1")
        ]
    );
}
