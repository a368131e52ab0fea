//! `health.events`: announcements of the kernel that say that a device is ill.

use crate::{
    config::{
        decode::{Fields, Item},
        diagnostics::quoted,
        health::consequence,
        requirement::regexp,
    },
    model::uevent::{EventRule, Values},
};

/// One entry.
pub(super) fn event_rule(item: Item<'_>) -> Option<EventRule> {
    item.named("an entry of events").map(|fields| {
        let subsystem = fields.require("subsystem").and_then(subsystem);
        let property = fields.require("property").and_then(property);
        let ill = ill(fields);
        let clears = fields.take("clears").map_or(Some(Vec::new()), |it| {
            it.filled("at least one value is needed", |it| {
                let value = it.named("a value").text()?;
                if matches!(&ill, Some(Values::In(values)) if values.iter().any(|it| it == value)) {
                    let value = quoted(value);
                    return it.refuse(format!(
                        "{value} cannot say both that a device is ill and that it is not"
                    ));
                }
                Some(value.to_owned())
            })
        });
        let consequence = consequence(fields);
        Some(EventRule {
            subsystem: subsystem?,
            property: property?,
            ill: ill?,
            clears: clears?,
            consequence,
        })
    })
}

/// Which values say that a device is ill: all, unless the file says which.
fn ill(fields: &mut Fields<'_>) -> Option<Values> {
    let (values, pattern) = (fields.take("values"), fields.take("pattern"));
    match (values, pattern) {
        (Some(_), Some(pattern)) => pattern
            .at_key()
            .refuse_with("values and pattern exclude each other", "write one of them"),
        (Some(values), None) => {
            let value = |it: Item<'_>| it.named("a value").text().map(str::to_owned);
            values
                .filled("at least one value is needed; without it, each counts", value)
                .map(Values::In)
        }
        (None, Some(pattern)) => regexp(pattern).map(Values::Pattern),
        (None, None) => Some(Values::All),
    }
}

fn subsystem(item: Item<'_>) -> Option<String> {
    let text = item.text()?;
    if let Some(name) = text.strip_prefix("class/").or_else(|| text.strip_prefix("bus/")) {
        return item.refuse_with(
            format!("a subsystem is a name, not {}", quoted(text)),
            format!("write {name}"),
        );
    }
    match text.is_empty() || text.contains(|it: char| it == '/' || it.is_whitespace()) {
        true => item.refuse_with(
            format!("{} is no subsystem", quoted(text)),
            "write the name of a class or bus: drm, pci, usb, nvme",
        ),
        false => Some(text.to_owned()),
    }
}

fn property(item: Item<'_>) -> Option<String> {
    let text = item.text()?;
    let is_one = |text: &str| {
        let is_part = |it: u8| it.is_ascii_uppercase() || it.is_ascii_digit() || it == b'_';
        !text.is_empty() && text.bytes().all(is_part)
    };
    if is_one(text) {
        return Some(text.to_owned());
    }
    let refused = format!("{} is no property of an event", quoted(text));
    let help = match (text.split_once('='), text.to_ascii_uppercase()) {
        (Some((name, value)), _) if is_one(name) => {
            format!("write property: {name}, values: [{value}]")
        }
        (_, upper) if is_one(&upper) => format!("write {upper}"),
        (Some(_) | None, _) => "write its name in capitals: WEDGED, ERROR_EVENT".to_owned(),
    };
    item.refuse_with(refused, help)
}
