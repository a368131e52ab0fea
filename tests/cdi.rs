//! Specs of the Container Device Interface: what a container runtime reads in place of nodes and mounts.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
    process::{Command, Stdio},
};

use chandler::kubelet::proto::deviceplugin::ContainerAllocateResponse;
use nix::sys::{
    signal::Signal,
    stat::{major, minor},
};
use serde_json::{Value, json};

use crate::{
    kubelet::Kubelet,
    lifecycle::{Node, until},
};

const HOST: &str = "//- /dev/acc0 char\n//- /dev/acc1 char\n";

/// A file that names a directory for specs below that of the test.
fn write(node: &Node, cdi: &str) {
    let dir = node.dir.path().join("cdi");
    let text = format!(
        "version: v1
cdi: {{ dir: {} }}
resources:
  - name: example.com/acc
    discovery: {{ nodes: [\"/dev/acc*\"] }}
    allocation:
      cdi: {cdi}
      mounts: [{{ hostPath: /opt/acc, readOnly: true }}]
      env: {{ ACC: \"{{ids}}\" }}
",
        dir.display()
    );
    fs::write(node.dir.path().join("new"), text).unwrap();
    fs::rename(node.dir.path().join("new"), node.dir.path().join("config.yaml")).unwrap();
}

fn node(cdi: &str) -> (Node, Kubelet) {
    let (node, kubelet) = Node::with_kubelet(HOST, "version: v1\nresources: []\n");
    write(&node, cdi);
    (node, kubelet)
}

fn spec_path(node: &Node) -> std::path::PathBuf {
    node.dir.path().join("cdi/chandler_example.com_acc.json")
}

/// The nodes and mounts of each device in the spec, by its full name.
fn spec(path: &Path) -> BTreeMap<String, Vec<String>> {
    let spec: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let kind = spec["kind"].as_str().unwrap();
    let paths = |edits: &Value| {
        let each = |list: &str, key: &str| {
            let items = edits[list].as_array().cloned().unwrap_or_default();
            items.iter().map(|it| it[key].as_str().unwrap().to_owned()).collect::<Vec<String>>()
        };
        [each("deviceNodes", "path"), each("mounts", "containerPath")].concat()
    };
    let devices = spec["devices"].as_array().unwrap().iter();
    devices
        .map(|it| {
            (format!("{kind}={}", it["name"].as_str().unwrap()), paths(&it["containerEdits"]))
        })
        .collect()
}

#[test]
fn a_device_is_offered_when_its_spec_is_there_and_given_by_its_name() {
    let (mut node, mut kubelet) = node("true");
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    let path = spec_path(&node);
    let names = ["example.com/chandler-acc=acc0", "example.com/chandler-acc=acc1"];
    let told = spec(&path);
    assert_eq!(told.keys().collect::<Vec<_>>(), names);
    assert_eq!(told[names[0]], ["/dev/acc0", "/opt/acc"]);

    let answer = kubelet.allocate_ids("example.com/acc", &["acc1", "acc0"]).unwrap();
    assert!(answer.devices.is_empty() && answer.mounts.is_empty());
    assert_eq!(answer.envs["ACC"], "acc0,acc1");
    let given: Vec<&str> = answer.cdi_devices.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(given, names);
    // For kubelets that do not pass the names on.
    let (key, value) = answer.annotations.iter().next().unwrap();
    assert!(key.starts_with("cdi.k8s.io/") && key.len() <= "cdi.k8s.io/".len() + 63, "{key}");
    assert_eq!(*value, names.join(","));

    // It stays when Chandler ends: a container may start again.
    node.signal(Signal::SIGTERM);
    assert!(node.wait().success());
    assert_eq!(spec(&path), told);
    // As after a reboot.
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    node.start();
    kubelet.expect_registration("example.com/acc");
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    assert_eq!(spec(&path), told);

    // Without it, the plain answer.
    write(&node, "false");
    until(|| !path.exists(), || "the spec is still there".to_owned());
    let answer = kubelet.allocate_ids("example.com/acc", &["acc0"]).unwrap();
    assert_eq!(answer.devices[0].host_path, "/dev/acc0");
    assert!(answer.cdi_devices.is_empty() && answer.annotations.is_empty());
}

#[test]
fn what_leaves_or_comes_changes_the_spec_before_the_list() {
    let (mut node, kubelet) = node("true");
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    node.host.add("//- /dev/acc2 char");
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy\nacc2 Healthy");
    assert_eq!(spec(&spec_path(&node)).len(), 3);
    fs::remove_file(node.host.real("/dev/acc1")).unwrap();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy\nacc2 Healthy");
    assert_eq!(spec(&spec_path(&node)).len(), 2);
}

#[test]
fn where_the_spec_cannot_be_written_the_answer_is_plain_unless_it_is_required() {
    let (mut node, kubelet) = node("true");
    // Somebody has put a file in the place of the directory.
    fs::write(node.dir.path().join("cdi"), "").unwrap();
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    let answer = kubelet.allocate_ids("example.com/acc", &["acc0"]).unwrap();
    assert_eq!(answer.devices[0].host_path, "/dev/acc0");
    assert!(answer.cdi_devices.is_empty());

    write(&node, "{ required: true }");
    kubelet.expect_devices("example.com/acc", "acc0 Unhealthy\nacc1 Unhealthy");
    let refused = kubelet.allocate_ids("example.com/acc", &["acc0"]).unwrap_err().to_string();
    assert!(refused.contains("its CDI spec, which is required, cannot be written"), "{refused}");
}

/// What is not plain in it: links, ids that begin with digits or hold what names of CDI may not, mounts,
/// and names of resources that are no kinds of CDI.
const ODD: &str = "version: v1
cdi: { dir: DIR }
resources:
  - name: example.com/plain
    discovery: { nodes: [/dev/null, /dev/zero] }
    allocation: { cdi: CDI }
  - name: example.com/dotted.name
    id: \"0000:3b:00.{name}\"
    discovery: { nodes: [/dev/full] }
    allocation:
      cdi: CDI
      mounts:
        - { hostPath: /etc, containerPath: /opt/etc, readOnly: true }
        - { hostPath: /tmp, containerPath: /opt/tmp }
  - name: 1.io/numbered
    id: \"0001@{name}\"
    discovery: { nodes: [/dev/random] }
    allocation:
      cdi: CDI
      devices: [{ hostPath: \"{node}\", containerPath: /dev/entropy, permissions: r }]
  - name: a/x
    discovery: { nodes: [/dev/urandom] }
    allocation: { cdi: CDI }
";
const ODD_REQUESTS: [(&str, &[&str]); 6] = [
    ("example.com/plain", &["null"]),
    ("example.com/plain", &["zero"]),
    ("example.com/plain", &["null", "zero"]),
    ("example.com/dotted.name", &["0000:3b:00.full"]),
    ("1.io/numbered", &["0001@random"]),
    ("a/x", &["urandom"]),
];

/// The nodes and mounts of a plain answer, as the validator says them.
fn told(answer: &ContainerAllocateResponse) -> Value {
    let nodes = answer.devices.iter().map(|it| {
        let found = fs::metadata(&it.host_path).unwrap();
        let kind = if found.file_type().is_block_device() { 'b' } else { 'c' };
        let (major, minor) = (major(found.rdev()), minor(found.rdev()));
        format!("{} {kind} {major}:{minor} {}", it.container_path, it.permissions)
    });
    let mounts = answer.mounts.iter().map(|it| {
        let access = if it.read_only { "ro" } else { "rw" };
        format!("{} {} rbind,rprivate,{access}", it.host_path, it.container_path)
    });
    let (mut nodes, mut mounts): (Vec<String>, Vec<String>) = (nodes.collect(), mounts.collect());
    nodes.sort();
    mounts.sort();
    json!({ "nodes": nodes, "mounts": mounts })
}

/// `make test-cdi` says where the program of `tests/cdi-validator` is.
#[test]
fn the_library_of_runtimes_makes_of_our_specs_what_the_plain_answers_give() {
    let Some(validator) = std::env::var_os("CDI_VALIDATOR") else {
        eprintln!("skipped: CDI_VALIDATOR names no program (make test-cdi)");
        return;
    };
    let (mut node, kubelet) = Node::with_kubelet("", "version: v1\nresources: []\n");
    let home = node.dir.path().to_owned();
    let dir = home.join("cdi");
    let configure = |cdi: &str| {
        let text = ODD.replace("DIR", &dir.display().to_string()).replace("cdi: CDI", cdi);
        fs::write(home.join("new"), text).unwrap();
        fs::rename(home.join("new"), home.join("config.yaml")).unwrap();
    };
    configure("cdi: false");
    node.start_on_this_machine();
    let ask = |(resource, ids): (&str, &[&str])| kubelet.allocate_ids(resource, ids);
    let plain = ODD_REQUESTS.map(|it| {
        until(|| ask(it).is_ok(), || format!("{it:?} is not offered"));
        told(&ask(it).unwrap())
    });
    configure("cdi: { required: true }");
    let names = ODD_REQUESTS.map(|it| {
        let by_name = || ask(it).is_ok_and(|answer| !answer.cdi_devices.is_empty());
        until(by_name, || format!("{it:?} is not given by name"));
        let answer = ask(it).unwrap();
        assert!(answer.devices.is_empty() && answer.mounts.is_empty());
        let names: Vec<&str> = answer.cdi_devices.iter().map(|it| it.name.as_str()).collect();
        names.join(",")
    });
    let answers: BTreeMap<String, Value> = names.into_iter().zip(plain).collect();

    let mut judge = Command::new(validator)
        .arg(&dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    judge.stdin.take().unwrap().write_all(&serde_json::to_vec(&answers).unwrap()).unwrap();
    let output = judge.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.starts_with("4 specs are valid, and 6 answers"), "{said}");
}
