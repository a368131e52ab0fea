//! `chandler doctor`: what is wrong with a node, why it matters, and what mends it.

use std::{fs, os::unix::net::UnixListener};

use expect_test::expect;

use crate::{
    cli::chandler,
    health::{TWO_CARDS, config},
    lifecycle::Node,
};

/// Exit code, and the lines that do not depend on the machine that the tests run on.
fn doctor(node: &Node) -> (i32, String) {
    let mut command = chandler();
    command.arg("doctor").arg("--config").arg(node.dir.path().join("config.yaml"));
    command.arg("--state-dir").arg(node.dir.path().join("state"));
    command.arg("--kubelet-dir").arg(node.plugin_dir());
    let output = command.arg("--host-root").arg(node.host.root()).output().unwrap();
    let text =
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    let text = text.replace(node.dir.path().to_str().unwrap(), "DIR");
    let mut ours = String::new();
    let mut is_ours = false;
    for line in text.lines() {
        if !line.starts_with(' ') {
            let of_machine =
                ["SELinux", "the kernel", "inotify", "descriptors", "/var/lib/kubelet"];
            is_ours = !of_machine.iter().any(|it| line.contains(it) && !line.contains("DIR"));
        }
        if is_ours {
            ours += &format!("{line}\n");
        }
    }
    (output.status.code().unwrap(), ours)
}

#[test]
fn on_a_node_where_all_is_well_it_says_so() {
    let (mut node, kubelet) = Node::with_kubelet(TWO_CARDS, &config(""));
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    let (code, said) = doctor(&node);
    expect![[r#"
        fine     resources in the configuration: 1
        fine     the plugin directory DIR/device-plugins can be written
        fine     the kubelet listens on DIR/device-plugins/kubelet.sock
        note     the kubelet does not say who holds which device: DIR/pod-resources/kubelet.sock: No such file or directory (os error 2)
                 why: devices that are removed stay in the list for ever, and `release` cleans none
                 do: name the socket below the kubelet's root directory by kubelet.podResources; in a pod, mount its directory as the DaemonSet of deploy/ does
        fine     the state directory DIR/state can be written
        fine     a daemon runs with the state directory DIR/state
    "#]].assert_eq(&said);
    assert_eq!(code, 0);
}

#[test]
fn on_a_node_without_a_kubelet_it_says_what_to_start_and_why() {
    let node = Node::new("//- /var/lib/k0s dir\n", &config("      release: [{ reset: true }]"));
    fs::write(node.dir.path().join("config.yaml"), "version: v1\nresources: 7\n").unwrap();
    let (code, said) = doctor(&node);
    expect![[r#"
        PROBLEM  DIR/config.yaml:2:12: resources must be a list, not `7`; write ["7"]
                 why: nothing starts with such a configuration
                 do: chandler check DIR/config.yaml
        PROBLEM  there is no plugin directory DIR/device-plugins
                 why: the kubelet makes it, and plugins have their sockets there
                 do: start the kubelet (systemctl status k0sworker), or name the directory by --kubelet-dir
        PROBLEM  nobody answers on DIR/device-plugins/kubelet.sock: No such file or directory (os error 2)
                 why: resources are registered with the kubelet there
                 do: systemctl status k0sworker
        note     the kubelet does not say who holds which device: DIR/pod-resources/kubelet.sock: No such file or directory (os error 2)
                 why: devices that are removed stay in the list for ever, and `release` cleans none
                 do: name the socket below the kubelet's root directory by kubelet.podResources; in a pod, mount its directory as the DaemonSet of deploy/ does
        note     there is no state directory DIR/state
                 why: which hardware has which id, what is ill and what is cordoned would not outlive a restart
                 do: start the daemon, which makes it, or name another by --state-dir
        note     no daemon runs with the state directory DIR/state
                 why: nothing is offered while none runs
                 do: systemctl start chandler, or name its directory by --state-dir
    "#]].assert_eq(&said);
    assert_eq!(code, 1);
}

#[test]
fn another_plugin_for_a_resource_of_ours_is_found_by_what_the_kubelet_has_of_it() {
    let (mut node, kubelet) = Node::with_kubelet(TWO_CARDS, &config(""));
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    let registered =
        r#"{"example.com/acc":["acc0","acc1","GPU-1\u001b"],"example.com/other":["x"]}"#;
    let checkpoint = format!(r#"{{"Data":{{"RegisteredDevices":{registered}}},"Checksum":1}}"#);
    fs::write(node.plugin_dir().join("kubelet_internal_checkpoint"), checkpoint).unwrap();
    let _other = UnixListener::bind(node.plugin_dir().join("nvidia-gpu.sock")).unwrap();
    drop(UnixListener::bind(node.plugin_dir().join("dead.sock")).unwrap());

    let (code, said) = doctor(&node);
    let said: String =
        said.lines().filter(|it| !it.contains("DIR")).map(|it| format!("{it}\n")).collect();
    expect![[r#"
        fine     resources in the configuration: 1
                 why: devices that are removed stay in the list for ever, and `release` cleans none
                 do: name the socket below the kubelet's root directory by kubelet.podResources; in a pod, mount its directory as the DaemonSet of deploy/ does
        fine     other plugins serve beside ours: `nvidia-gpu.sock`
        PROBLEM  devices that the kubelet has of example.com/acc and that are not ours: 1, such as `GPU-1\u{1b}`
                 why: another plugin serves the same resource: a kubelet listens to the one that has registered last
                 do: end the other plugin, or give example.com/acc another name in the configuration
    "#]].assert_eq(&said);
    assert_eq!(code, 1);
}
