//! What `chandler status` shows to people.

use crate::{
    model::{
        clock::Moment,
        status::{DeviceStatus, HolderStatus, ResourceStatus, Status},
    },
    operate::{
        discovered::{columns, section},
        report::one_line,
    },
};

/// All of `status`, as text. `now` is what ages are told by.
pub fn table(status: &Status, now: Moment) -> String {
    let mut notes: [Vec<String>; 6] = Default::default();
    let [unregistered, unhealthy, cordons, nothing, problems, degraded] = &mut notes;
    let mut resources = vec![
        ["RESOURCE", "STATE", "SINCE", "REGISTERED", "CAPACITY", "FREE", "HELD"].map(str::to_owned),
    ];
    let mut devices =
        vec![["RESOURCE", "DEVICE", "HEALTH", "SINCE", "NUMA", "HELD BY"].map(str::to_owned)];
    for it in &status.resources {
        let name = &it.name;
        resources.push(resource_row(it, now));
        devices.extend(it.devices.iter().map(|device| device_row(name, device, now)));
        unregistered.extend(it.refusal.iter().map(|why| format!("{name}: {why}")));
        unhealthy.extend(it.devices.iter().filter_map(|device| ill(name, device)));
        nothing.extend(it.none_because.iter().map(|why| format!("{name}: {why}")));
    }
    cordons.extend(status.cordons.iter().map(|it| {
        let resource = it.resource.as_ref().map(|it| format!(" of {it}")).unwrap_or_default();
        format!("{}{resource}: {}", it.device, it.reason)
    }));
    let problem =
        status.problems.iter().map(|it| format!("{}: {}: {}", it.resource, it.at, it.what));
    problems.extend(problem);
    degraded.extend(status.degraded.iter().map(|it| format!("{}: {}", it.source, it.what)));
    if status.counts.blocked_reads > 0 {
        let n = status.counts.blocked_reads;
        degraded.push(format!("reads of the host that have not returned: {n}"));
    }
    let mut text = format!("{}\n\n{}", kubelet(status, now), columns(&resources));
    if devices.len() > 1 {
        text = text + "\n" + &columns(&devices);
    }
    let headings = [
        "not registered",
        "not healthy",
        "cordoned",
        "nothing found",
        "found but not offered",
        "done without",
    ];
    let sections = headings.into_iter().zip(&notes);
    text + &sections.map(|(heading, lines)| section(heading, lines)).collect::<String>()
}

fn kubelet(status: &Status, now: Moment) -> String {
    let socket = one_line(&status.kubelet.socket);
    let version = one_line(&status.version);
    let client = status.kubelet.client.as_ref();
    let client = client.map(|it| format!(", client {}", one_line(it))).unwrap_or_default();
    match status.kubelet.since {
        Some(since) => {
            let age = age(since, now);
            format!("chandler {version}; kubelet at {socket}, since {age}; release unknown{client}")
        }
        None => format!("chandler {version}; no kubelet at {socket}"),
    }
}

fn resource_row(it: &ResourceStatus, now: Moment) -> [String; 7] {
    let registered = it.counts.registrations.saturating_sub(it.counts.refused);
    let cells = [
        it.name.clone(),
        it.state.clone(),
        since(it.since, now),
        match registered {
            0 => "never".to_owned(),
            1 => "once".to_owned(),
            n => format!("{n} times"),
        },
        it.capacity.to_string(),
        it.allocatable.saturating_sub(it.held).to_string(),
        it.held.to_string(),
    ];
    cells.map(|it| one_line(&it))
}

fn device_row(resource: &str, it: &DeviceStatus, now: Moment) -> [String; 6] {
    let holders: Vec<String> =
        it.offers.iter().filter_map(|it| it.holder.as_ref()).map(HolderStatus::to_string).collect();
    let held_by = match holders.is_empty() {
        true => "-".to_owned(),
        false => holders.join(", "),
    };
    let id = match it.offers.len() {
        0 | 1 => it.id.clone(),
        n => format!("{} ×{n}", it.id),
    };
    let cells = [
        resource.to_owned(),
        id,
        it.health.clone(),
        since(it.since, now),
        it.numa_node.map_or("-".to_owned(), |it| it.to_string()),
        held_by,
    ];
    cells.map(|it| one_line(&it))
}

/// Why a device is not healthy, and what mends it.
fn ill(resource: &str, it: &DeviceStatus) -> Option<String> {
    let reason = it.reason.as_ref()?;
    // Without a reason of its own it says so by itself.
    let is_said = reason.starts_with("injected");
    let injected = if it.is_injected && !is_said { " (injected)" } else { "" };
    let action = it.action.as_ref().map(|it| format!("; action: {it}")).unwrap_or_default();
    Some(format!("{resource}: {}: {reason}{injected}{action}", it.id))
}

fn since(since: Option<Moment>, now: Moment) -> String {
    since.map_or("-".to_owned(), |it| age(it, now))
}

/// How long ago that was, in the largest unit that is reached twice.
fn age(since: Moment, now: Moment) -> String {
    let seconds = now.0.saturating_sub(since.0);
    let units = [("d", 86_400), ("h", 3_600), ("m", 60)];
    match units.into_iter().find(|(_, len)| seconds >= 2 * len) {
        Some((unit, len)) => format!("{}{unit}", seconds / len),
        None => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::model::status::{
        CordonStatus, Degraded, KubeletStatus, OfferStatus, ResourceCounts,
    };

    #[test]
    fn people_see_who_serves_what_is_ill_and_who_holds_it() {
        let holder = HolderStatus {
            namespace: "shop".to_owned(),
            pod: "till-0".to_owned(),
            container: "main".to_owned(),
            since: None,
        };
        let offer = |id: &str, holder| OfferStatus { id: id.to_owned(), holder };
        let device = |id: &str, health: &str| DeviceStatus {
            id: id.to_owned(),
            health: health.to_owned(),
            since: Some(Moment(1000)),
            ..DeviceStatus::default()
        };
        let camera = DeviceStatus {
            numa_node: Some(1),
            offers: vec![offer("a::0", Some(holder)), offer("a::1", None)],
            ..device("a", "Healthy")
        };
        let ill = DeviceStatus {
            reason: Some("the node\nis gone".to_owned()),
            action: Some("reseat".to_owned()),
            ..device("b", "Unhealthy")
        };
        let cameras = ResourceStatus {
            name: "example.com/camera".to_owned(),
            state: "serving".to_owned(),
            since: Some(Moment(900)),
            capacity: 3,
            allocatable: 2,
            held: 1,
            devices: vec![camera, ill],
            counts: ResourceCounts { registrations: 3, refused: 1, ..ResourceCounts::default() },
            ..ResourceStatus::default()
        };
        let status = Status {
            version: "1.0".to_owned(),
            kubelet: KubeletStatus {
                socket: "/k.sock".to_owned(),
                since: Some(Moment(0)),
                client: Some("grpc-go/1.72.1\n".to_owned()),
            },
            resources: vec![cameras],
            cordons: vec![CordonStatus {
                device: "b".to_owned(),
                resource: None,
                reason: "loose".to_owned(),
            }],
            degraded: vec![Degraded { source: "hotplug".to_owned(), what: "slow".to_owned() }],
            ..Status::default()
        };
        expect![[r#"
            chandler 1.0; kubelet at /k.sock, since 18m; release unknown, client grpc-go/1.72.1\n

            RESOURCE            STATE    SINCE  REGISTERED  CAPACITY  FREE  HELD
            example.com/camera  serving  3m     2 times     3         1     1

            RESOURCE            DEVICE  HEALTH     SINCE  NUMA  HELD BY
            example.com/camera  a ×2    Healthy    100s   1     shop/till-0/main
            example.com/camera  b       Unhealthy  100s   -     -

            not healthy:
              example.com/camera: b: the node\nis gone; action: reseat

            cordoned:
              b: loose

            done without:
              hotplug: slow
        "#]]
        .assert_eq(&table(&status, Moment(1100)));
    }
}
