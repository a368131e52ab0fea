//! `chandler doctor`: what is wrong with a node, why it matters, and what mends it.

use std::{fs, os::unix::net::UnixListener, path::Path, sync::Arc};

use chandler::kubelet::proto::{
    runtime::{StatusRequest, StatusResponse, VersionRequest, VersionResponse},
    runtime_grpc::{RuntimeService, create_runtime_service},
};
use expect_test::{Expect, expect};
use grpcio::{
    EnvBuilder, RpcContext, RpcStatus, RpcStatusCode, Server, ServerBuilder, ServerCredentials,
    UnarySink,
};

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
            let of_machine = [
                "SELinux",
                "the kernel tells",
                "the kernel does",
                "inotify",
                "descriptors",
                "/var/lib/kubelet",
            ];
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

/// A container runtime that says this of itself, in the place of containerd.
#[derive(Clone)]
struct FakeRuntime {
    name: &'static str,
    version: &'static str,
    /// `None`: it does not tell.
    config: Option<&'static str>,
}

impl RuntimeService for FakeRuntime {
    fn version(
        &mut self,
        ctx: RpcContext<'_>,
        _: VersionRequest,
        sink: UnarySink<VersionResponse>,
    ) {
        let said = VersionResponse {
            runtime_name: self.name.to_owned(),
            runtime_version: self.version.to_owned(),
            ..Default::default()
        };
        ctx.spawn(async move { drop(sink.success(said).await) });
    }

    fn status(
        &mut self,
        ctx: RpcContext<'_>,
        request: StatusRequest,
        sink: UnarySink<StatusResponse>,
    ) {
        let Some(config) = self.config.filter(|_| request.verbose) else {
            let status = RpcStatus::new(RpcStatusCode::UNIMPLEMENTED);
            return ctx.spawn(async move { drop(sink.fail(status).await) });
        };
        let info = [("config".to_owned(), config.to_owned())].into();
        let said = StatusResponse { info, ..Default::default() };
        ctx.spawn(async move { drop(sink.success(said).await) });
    }
}

impl FakeRuntime {
    fn serve(self, node: &Node) -> Server {
        let dir = node.host.root().join("run/containerd");
        fs::create_dir_all(&dir).unwrap();
        let env = Arc::new(EnvBuilder::new().cq_count(1).build());
        let mut server =
            ServerBuilder::new(env).register_service(create_runtime_service(self)).build().unwrap();
        let address = format!("unix:{}/containerd.sock", dir.display());
        server.add_listening_port(&address, ServerCredentials::insecure()).unwrap();
        server.start();
        server
    }
}

/// What is said of the runtime, and of nothing else.
#[track_caller]
fn check_runtime(node: &Node, expect: &Expect) {
    let (_, said) = doctor(node);
    let mut kept = String::new();
    let mut is_kept = false;
    for line in said.lines() {
        is_kept = match line.starts_with(' ') {
            true => is_kept,
            false => line.contains("container runtime"),
        };
        if is_kept {
            kept += &format!("{line}\n");
        }
    }
    expect.assert_eq(&kept);
}

fn cdi_config(node: &Node) {
    let config = format!(
        "version: v1\ncdi: {{ dir: {}/cdi }}\nresources:\n  - {{ name: example.com/acc, discovery: {{ sysfs: class/acc }}, allocation: \
         {{ cdi: true }} }}\n",
        node.dir.path().display()
    );
    fs::write(node.dir.path().join("config.yaml"), config).unwrap();
}

#[test]
fn a_container_runtime_says_its_version_and_whether_it_reads_our_specs() {
    let node = Node::new(TWO_CARDS, &config(""));
    let plain = FakeRuntime { name: "containerd", version: "v1.6.36", config: None };
    let server = plain.clone().serve(&node);
    check_runtime(
        &node,
        &expect![[r#"
        fine     the container runtime is `containerd` `v1.6.36`
    "#]],
    );
    cdi_config(&node);
    check_runtime(
        &node,
        &expect![[r#"
        PROBLEM  the container runtime is `containerd` `v1.6.36`, which ignores CDI
                 why: a runtime that does not read specs gives containers nothing of them
                 do: use containerd 2, or take `cdi` out of the configuration
    "#]],
    );
    drop(server);
    let server = FakeRuntime { version: "v1.7.27", ..plain.clone() }.serve(&node);
    check_runtime(
        &node,
        &expect![[r#"
        note     the container runtime is `containerd` `v1.7.27`, which reads CDI specs only if it is told to
                 why: a runtime that does not read specs gives containers nothing of them
                 do: in /etc/containerd/config.toml, below [plugins."io.containerd.grpc.v1.cri"], write enable_cdi = true
    "#]],
    );
    drop(server);
    let config = Some(r#"{"enableCDI":false}"#);
    let server = FakeRuntime { version: "v1.7.27", config, ..plain.clone() }.serve(&node);
    check_runtime(
        &node,
        &expect![[r#"
        PROBLEM  the container runtime is `containerd` `v1.7.27`, and is told to ignore CDI
                 why: a runtime that does not read specs gives containers nothing of them
                 do: in /etc/containerd/config.toml, below [plugins."io.containerd.grpc.v1.cri"], write enable_cdi = true
    "#]],
    );
    drop(server);
    let config = Some(r#"{"enableCDI":true,"cdiSpecDirs":["/etc/cdi","/var/run/cdi\u001b"]}"#);
    let server = FakeRuntime { version: "v2.1.4", config, ..plain.clone() }.serve(&node);
    check_runtime(
        &node,
        &expect![[r#"
        fine     the container runtime is `containerd` `v2.1.4`, which reads CDI specs
        PROBLEM  the container runtime does not read specs in DIR/cdi, only in `/etc/cdi`, `/var/run/cdi\u{1b}`
                 why: a runtime that does not read specs gives containers nothing of them
                 do: name one of these by cdi: { dir: … } in the configuration, or add ours to cdi_spec_dirs in /etc/containerd/config.toml
    "#]],
    );
    drop(server);
    let server = FakeRuntime { name: "cri-o\u{1b}", version: "1.33.2", ..plain }.serve(&node);
    check_runtime(
        &node,
        &expect![[r#"
        fine     the container runtime is `cri-o\u{1b}` `1.33.2`
    "#]],
    );
    drop(server);
}

#[test]
fn a_container_runtime_that_never_answers_holds_nothing_up() {
    let node = Node::new(TWO_CARDS, &config(""));
    let dir = node.host.root().join("run/containerd");
    fs::create_dir_all(&dir).unwrap();
    let _silent = UnixListener::bind(dir.join("containerd.sock")).unwrap();
    check_runtime(
        &node,
        &expect![[r#"
        note     the container runtime on /run/containerd/containerd.sock does not say its version: no answer: RpcFailure: 4-DEADLINE_EXCEEDED no answer within 500ms
                 why: a runtime that does not read specs gives containers nothing of them
                 do: systemctl status containerd, or crio; run this as root
    "#]],
    );
}

#[test]
fn programs_get_the_findings_as_json() {
    let node = Node::new(TWO_CARDS, &config(""));
    let mut command = chandler();
    command.args(["doctor", "-o", "json"]).arg("--config").arg(node.dir.path().join("config.yaml"));
    command.arg("--kubelet-dir").arg(Path::new("/nonexistent"));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["fine"], false);
    let findings = said["findings"].as_array().unwrap();
    let missing = findings.iter().find(|it| it["grade"] == "problem").unwrap();
    assert_eq!(missing["what"], "there is no plugin directory /nonexistent");
    assert!(missing["why"].is_string() && missing["do"].is_string(), "{missing}");
    assert!(findings.iter().any(|it| it["grade"] == "fine" && it.get("do").is_none()), "{said}");
}
