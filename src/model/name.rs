//! Names that the kubelet must accept: of resources, and of devices.

use std::{fmt, sync::Arc};

use serde::Serialize;

/// The longest device id, in bytes (comment on `Device.ID` in the device plugin API).
pub const DEVICE_ID_LEN_MAX: usize = 63;

/// The longest domain of a resource name: the kubelet puts `requests.` in front, and the two
/// together must be a DNS subdomain of at most 253 bytes.
pub const DOMAIN_LEN_MAX: usize = 244;

/// The longest part after the `/` of a resource name (a Kubernetes qualified name).
pub const NAME_LEN_MAX: usize = 63;

/// A fully qualified extended resource name, such as `example.com/fpga`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ResourceName(String);

/// Why the kubelet would refuse a resource name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No `/`, or more than one.
    #[error("must be of the form domain/name, with one `/`")]
    NotQualified,
    /// The kubelet takes anything that contains this for a native resource.
    #[error("must not contain `kubernetes.io/`, which is reserved")]
    Reserved,
    /// The kubelet takes anything that begins with this for a quota.
    #[error("must not begin with `requests.`, which is reserved")]
    Requests,
    /// See [`DOMAIN_LEN_MAX`].
    #[error("the domain is longer than {DOMAIN_LEN_MAX} bytes")]
    DomainTooLong,
    /// Not a DNS-1123 subdomain.
    #[error(
        "the domain may hold lower-case letters, digits, `-` and `.`, and each of its labels begins and ends with a letter or digit"
    )]
    Domain,
    /// See [`NAME_LEN_MAX`].
    #[error("the part after the `/` is longer than {NAME_LEN_MAX} bytes")]
    NameTooLong,
    /// Not the name part of a qualified name.
    #[error(
        "the part after the `/` may hold letters, digits, `-`, `_` and `.`, and begins and ends with a letter or digit"
    )]
    Name,
}

impl ResourceName {
    /// A short text that stands for it in the names of sockets, for people and programs to tell them
    /// apart (FNV-1a with 32 bits). Two in four thousand million share one.
    pub fn tag(&self) -> u32 {
        let bytes = self.0.bytes();
        bytes.fold(0x811c_9dc5, |hash, it| (hash ^ u32::from(it)).wrapping_mul(0x0100_0193))
    }

    /// Accepts `text` exactly if the kubelet does (`IsExtendedResourceName` in Kubernetes'
    /// `pkg/apis/core/v1/helper`).
    pub fn parse(text: &str) -> Result<ResourceName, NameError> {
        let Some((domain, name)) = text.split_once('/').filter(|(_, name)| !name.contains('/'))
        else {
            return Err(NameError::NotQualified);
        };
        if text.contains("kubernetes.io/") {
            return Err(NameError::Reserved);
        }
        if text.starts_with("requests.") {
            return Err(NameError::Requests);
        }
        if domain.len() > DOMAIN_LEN_MAX {
            return Err(NameError::DomainTooLong);
        }
        if !domain.split('.').all(is_dns_label) {
            return Err(NameError::Domain);
        }
        if name.len() > NAME_LEN_MAX {
            return Err(NameError::NameTooLong);
        }
        if !is_qualified_name(name) {
            return Err(NameError::Name);
        }
        Ok(ResourceName(text.to_owned()))
    }

    /// The text that pods ask for.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn is_dns_label(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_qualified_name(name: &str) -> bool {
    let outer = |it: Option<u8>| it.is_some_and(|it| it.is_ascii_alphanumeric());
    outer(name.bytes().next())
        && outer(name.bytes().next_back())
        && name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it))
}

/// Identifies a device to the kubelet. Never empty, never longer than [`DEVICE_ID_LEN_MAX`]. All who know a device
/// share one text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(Arc<str>);

impl DeviceId {
    /// Accepts `text` if the kubelet would.
    pub fn new(text: impl AsRef<str>) -> Option<DeviceId> {
        let text = text.as_ref();
        let ok = !text.is_empty()
            && text.len() <= DEVICE_ID_LEN_MAX
            && !text.chars().any(|it| it.is_control() || it.is_whitespace());
        ok.then(|| DeviceId(text.into()))
    }

    /// The text the kubelet sees.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_names_that_the_kubelet_takes() {
        let longest = format!("{}/{}", ["a23456789"; 24].join("."), "n".repeat(63));
        for name in
            ["example.com/fpga", "rdma/hca_1", "a/B", "nvidia.com/mig-1g.10gb", longest.as_str()]
        {
            assert_eq!(ResourceName::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn refuses_the_names_that_the_kubelet_refuses() {
        let domain = format!("{}/x", "a".repeat(245));
        let name = format!("example.com/{}", "n".repeat(64));
        for (text, err) in [
            ("fpga", NameError::NotQualified),
            ("a/b/c", NameError::NotQualified),
            ("kubernetes.io/x", NameError::Reserved),
            ("mykubernetes.io/x", NameError::Reserved),
            ("requests.example.com/x", NameError::Requests),
            (domain.as_str(), NameError::DomainTooLong),
            ("Example.com/x", NameError::Domain),
            ("-a.com/x", NameError::Domain),
            ("a..b/x", NameError::Domain),
            ("/x", NameError::Domain),
            (name.as_str(), NameError::NameTooLong),
            ("example.com/", NameError::Name),
            ("example.com/-x", NameError::Name),
            ("example.com/x y", NameError::Name),
        ] {
            assert_eq!(ResourceName::parse(text), Err(err), "{text:?}");
        }
    }

    #[test]
    fn a_device_id_has_one_to_sixty_three_bytes_and_no_blanks() {
        assert!(DeviceId::new("x".repeat(63)).is_some());
        assert!(DeviceId::new("x".repeat(64)).is_none());
        assert!(DeviceId::new("").is_none());
        assert!(DeviceId::new("a b").is_none());
    }
}
