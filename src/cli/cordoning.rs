//! `chandler cordon` and `chandler uncordon`.

use std::path::Path;

use crate::{
    model::{
        cordon::Cordon,
        name::{DEVICE_ID_LEN_MAX, DeviceId, ResourceName},
    },
    operate::{
        cordons::{self, FILE_NAME},
        report,
    },
};

/// Why nothing was done. The text is for the operator.
#[derive(Debug)]
pub(super) enum Mistake {
    /// What was asked for makes no sense.
    Usage(String),
    /// It could not be done.
    Failed(String),
}

/// Cordons `device`; gives what to tell the operator.
pub(super) fn cordon(
    state_dir: &Path,
    device: &str,
    resource: Option<&str>,
    reason: &str,
) -> Result<String, Mistake> {
    let (device, resource) = parse(device, resource)?;
    let said = format!("cordoned {device}: {reason}\n");
    let cordon = Cordon { device, resource, reason: reason.to_owned() };
    cordons::cordon(&state_dir.join(FILE_NAME), cordon)
        .map_err(|err| Mistake::Failed(report::chain(&err)))?;
    Ok(said)
}

/// Uncordons `device`; gives what to tell the operator.
pub(super) fn uncordon(
    state_dir: &Path,
    device: &str,
    resource: Option<&str>,
) -> Result<String, Mistake> {
    let (device, resource) = parse(device, resource)?;
    let file = state_dir.join(FILE_NAME);
    match cordons::uncordon(&file, &device, resource.as_ref()) {
        Ok(0) => Err(Mistake::Failed(format!("{device} is not cordoned"))),
        Ok(_) => Ok(format!("uncordoned {device}\n")),
        Err(err) => Err(Mistake::Failed(report::chain(&err))),
    }
}

fn parse(
    device: &str,
    resource: Option<&str>,
) -> Result<(DeviceId, Option<ResourceName>), Mistake> {
    let id = DeviceId::new(device).ok_or_else(|| {
        let rule = format!("1 to {DEVICE_ID_LEN_MAX} bytes without blanks");
        Mistake::Usage(format!("`{device}` is not a device id: {rule}"))
    })?;
    let resource = resource
        .map(ResourceName::parse)
        .transpose()
        .map_err(|err| Mistake::Usage(format!("--resource: {err}")))?;
    Ok((id, resource))
}
