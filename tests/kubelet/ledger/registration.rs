//! Registering, listing and disconnecting.

use std::{collections::BTreeSet, path::Path, time::Instant};

use super::{ClientId, Device, Endpoint, Ledger, PluginOptions};

const VERSION: &str = "v1beta1";

/// What a kubelet checks of a Register request before it does anything with it.
pub fn validate(version: &str, resource: &str) -> Result<(), String> {
    if version != VERSION {
        return Err(format!(
            "requested API version {version:?} is not supported by kubelet. \
             Supported version is [{VERSION:?}]"
        ));
    }
    match is_extended_resource(resource) {
        true => Ok(()),
        false => Err(format!("the ResourceName {resource:?} is invalid")),
    }
}

/// The rules for an extended resource, which are applied to the name with `requests.` before it.
fn is_extended_resource(resource: &str) -> bool {
    if resource.contains("kubernetes.io/") || resource.starts_with("requests.") {
        return false;
    }
    let Some((domain, name)) = resource.split_once('/') else { return false };
    let domain = format!("requests.{domain}");
    domain.len() <= 253
        && domain.split('.').all(is_label)
        && (1..=63).contains(&name.len())
        && name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it))
        && ends_alphanumeric(name)
}

fn is_label(label: &str) -> bool {
    let allowed = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    ends_alphanumeric(label) && label.bytes().all(allowed)
}

fn ends_alphanumeric(text: &str) -> bool {
    let ends = [text.bytes().next(), text.bytes().last()];
    ends.iter().all(|it| it.is_some_and(|it| it.is_ascii_alphanumeric()))
}

impl Ledger {
    /// A Register has begun. What was known of the resource's client is overwritten already.
    pub fn register(&mut self, resource: &str, path: &Path) -> ClientId {
        let client = self.new_client();
        self.paths.insert(client, path.to_owned());
        let slot = self.clients.entry(resource.to_owned()).or_default();
        if !self.release.keeps_clients_by_path() {
            // The old connection and its stream stay open: nobody is told.
            slot.clear();
        }
        slot.push(client);
        client
    }

    /// The plugin could not be dialled or refused its options.
    ///
    /// This also forgets an older client that still has a stream: its end will go unnoticed.
    pub fn registration_failed(&mut self, resource: &str, client: ClientId) {
        self.forget_clients(resource, client);
    }

    /// The plugin told its options. An error makes the registration fail.
    pub fn connected(
        &mut self,
        resource: &str,
        client: ClientId,
        options: PluginOptions,
    ) -> Result<(), String> {
        let path = self.paths[&client].clone();
        if self.release.keeps_clients_by_path() {
            let connected = self.connected.entry(resource.to_owned()).or_default();
            if connected.contains_key(&path) {
                return Err(format!("device plugin already connected: {}", path.display()));
            }
            connected.insert(path.clone(), client);
        }
        let endpoint = Endpoint {
            resource: resource.to_owned(),
            path,
            options: Some(options),
            stopped_at: None,
        };
        self.endpoints.insert(client, endpoint);
        self.primary.insert(resource.to_owned(), client);
        Ok(())
    }

    /// A message of any stream of the resource. It replaces all that was known of its devices.
    pub fn list(&mut self, resource: &str, devices: Vec<Device>) {
        let mut healthy = BTreeSet::new();
        let mut unhealthy = BTreeSet::new();
        for device in &devices {
            // An id that is listed twice with different health ends up in both.
            match device.is_healthy() {
                true => healthy.insert(device.id.clone()),
                false => unhealthy.insert(device.id.clone()),
            };
        }
        self.healthy.insert(resource.to_owned(), healthy);
        self.unhealthy.insert(resource.to_owned(), unhealthy);
        let by_id = devices.into_iter().map(|it| (it.id.clone(), it)).collect();
        self.devices.insert(resource.to_owned(), by_id);
    }

    /// A stream is over. Returns the client that is disconnected for it, if any.
    ///
    /// Legacy releases disconnect whoever holds the resource's slot, even if it is a newer one.
    pub fn stream_ended(
        &mut self,
        resource: &str,
        client: ClientId,
        now: Instant,
    ) -> Option<ClientId> {
        let slot = self.clients.get(resource)?;
        let victim = match self.release.keeps_clients_by_path() {
            true => *slot.iter().find(|it| self.paths[*it] == self.paths[&client])?,
            false => *slot.first()?,
        };
        self.forget_clients(resource, victim);
        self.disconnected(resource, victim, now);
        Some(victim)
    }

    fn forget_clients(&mut self, resource: &str, client: ClientId) {
        let Some(slot) = self.clients.get_mut(resource) else { return };
        match self.release.keeps_clients_by_path() {
            true => slot.retain(|it| self.paths[it] != self.paths[&client]),
            false => slot.clear(),
        }
        if slot.is_empty() {
            self.clients.remove(resource);
        }
    }

    fn disconnected(&mut self, resource: &str, client: ClientId, now: Instant) {
        if !self.release.keeps_clients_by_path() {
            if let Some(primary) = self.primary.get(resource) {
                let primary = *primary;
                self.mark_unhealthy(resource);
                self.stop(primary, now);
            }
            return;
        }
        let path = &self.paths[&client];
        let Some(connected) = self.connected.get_mut(resource) else { return };
        let Some(gone) = connected.remove(path) else { return };
        let heirs: Vec<ClientId> = connected.values().copied().collect();
        self.stop(gone, now);
        match heirs.as_slice() {
            [] => {
                self.connected.remove(resource);
                self.mark_unhealthy(resource);
            }
            heirs => {
                let heir = heirs[self.dice.below(heirs.len())];
                self.primary.insert(resource.to_owned(), heir);
            }
        }
    }

    fn mark_unhealthy(&mut self, resource: &str) {
        let healthy = self.healthy.get_mut(resource).map(std::mem::take).unwrap_or_default();
        self.unhealthy.entry(resource.to_owned()).or_default().extend(healthy);
    }

    fn stop(&mut self, client: ClientId, now: Instant) {
        if let Some(endpoint) = self.endpoints.get_mut(&client) {
            endpoint.stopped_at = Some(now);
        }
    }

    pub fn path(&self, client: ClientId) -> &Path {
        &self.paths[&client]
    }

    pub(super) fn new_client(&mut self) -> ClientId {
        let client = ClientId(self.next_client);
        self.next_client += 1;
        client
    }

    /// Where the resource's calls go to.
    pub fn client(&self, resource: &str) -> Option<ClientId> {
        self.primary.get(resource).copied()
    }

    /// All resources whose plugin is there.
    pub fn connected_resources(&self) -> Vec<String> {
        self.primary.keys().filter(|it| self.is_connected(it)).cloned().collect()
    }

    /// Whether the resource's calls go to a plugin that is still there.
    pub fn is_connected(&self, resource: &str) -> bool {
        self.primary
            .get(resource)
            .and_then(|it| self.endpoints.get(it))
            .is_some_and(|it| it.stopped_at.is_none())
    }
}
