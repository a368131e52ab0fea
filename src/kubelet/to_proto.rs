//! From our types to the kubelet's. Plain functions, without I/O; called on gRPC's thread.

use crate::{
    kubelet::proto::deviceplugin::{
        CDIDevice, ContainerAllocateResponse, Device, DeviceSpec, ListAndWatchResponse, Mount,
        NUMANode, TopologyInfo,
    },
    model::{
        edits::{self, ContainerEdits, DeviceNode},
        snapshot::{Offer, Snapshot},
    },
};

/// The complete list, which replaces the kubelet's.
pub fn list(snapshot: &Snapshot) -> ListAndWatchResponse {
    let devices = snapshot.offers.iter().map(device).collect();
    ListAndWatchResponse { devices, ..Default::default() }
}

/// The answer for one container.
pub fn container(edits: ContainerEdits) -> ContainerAllocateResponse {
    ContainerAllocateResponse {
        envs: edits.env.into_iter().collect(),
        mounts: edits.mounts.into_iter().map(mount).collect(),
        devices: edits.devices.into_iter().map(device_spec).collect(),
        annotations: edits.annotations.into_iter().collect(),
        cdi_devices: edits.cdi_devices.into_iter().map(cdi_device).collect(),
        ..Default::default()
    }
}

fn device(offer: &Offer) -> Device {
    Device {
        ID: offer.id.as_str().to_owned(),
        health: offer.health.kubelet_word().to_owned(),
        // Left out where there is none: a node -1 would fit no hint of the topology manager.
        topology: offer.numa_node.map(topology).into(),
        ..Default::default()
    }
}

fn topology(numa_node: u32) -> TopologyInfo {
    let node = NUMANode { ID: i64::from(numa_node), ..Default::default() };
    TopologyInfo { nodes: vec![node], ..Default::default() }
}

fn device_spec(node: DeviceNode) -> DeviceSpec {
    DeviceSpec {
        container_path: node.container_path,
        host_path: node.host_path,
        permissions: node.permissions,
        ..Default::default()
    }
}

fn cdi_device(name: String) -> CDIDevice {
    CDIDevice { name, ..Default::default() }
}

fn mount(mount: edits::Mount) -> Mount {
    Mount {
        container_path: mount.container_path,
        host_path: mount.host_path,
        read_only: mount.read_only,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::kubelet::plugin::tests::snapshot;

    use super::*;

    #[test]
    fn a_list_has_health_words_and_leaves_out_what_is_not_known() {
        let mut snapshot = snapshot(1, &["a", "b"]);
        snapshot.offers[0].numa_node = Some(1);
        snapshot.offers[1].health = crate::model::snapshot::Health::unhealthy("no");

        expect![[r#"devices {ID: "a" health: "Healthy" topology {nodes {ID: 1}}} devices {ID: "b" health: "Unhealthy"}"#]]
            .assert_eq(&list(&snapshot).to_string());
    }

    #[test]
    fn the_longest_list_we_offer_is_one_that_the_kubelet_can_receive() {
        use protobuf::Message;

        use crate::{decide::offer::OFFERS_MAX, model::name::DeviceId};

        let mut snapshot = snapshot(1, &["a"]);
        snapshot.offers[0].id = DeviceId::new("x".repeat(63)).unwrap();
        snapshot.offers[0].numa_node = Some(63);
        snapshot.offers[0].health = crate::model::snapshot::Health::unhealthy("no");
        snapshot.offers = vec![snapshot.offers[0].clone(); OFFERS_MAX];

        // grpc-go's default, which the kubelet does not change.
        assert!(list(&snapshot).compute_size() < 4 * 1024 * 1024);
    }

    #[test]
    fn a_container_gets_all_of_its_edits() {
        let edits = ContainerEdits {
            devices: vec![DeviceNode {
                host_path: "/dev/a".to_owned(),
                container_path: "/dev/b".to_owned(),
                permissions: "rw".to_owned(),
            }],
            mounts: vec![edits::Mount {
                host_path: "/a".to_owned(),
                container_path: "/b".to_owned(),
                read_only: true,
            }],
            env: [("A".to_owned(), "1".to_owned())].into(),
            annotations: [("b".to_owned(), "2".to_owned())].into(),
            cdi_devices: ["a.io/b=c".to_owned()].into(),
        };

        expect![[r#"envs {key: "A" value: "1"} mounts {container_path: "/b" host_path: "/a" read_only: true} devices {container_path: "/dev/b" host_path: "/dev/a" permissions: "rw"} annotations {key: "b" value: "2"} cdi_devices {name: "a.io/b=c"}"#]]
            .assert_eq(&container(edits).to_string());
    }
}
