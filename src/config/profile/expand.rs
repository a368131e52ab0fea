//! Puts what profiles say below what the resources say that name one.

use std::cell::RefCell;

use crate::config::{
    decode::Item,
    diagnostics::{Diagnostics, near, quoted},
    profile::{
        Parameter, Profile,
        merge::{Layer, merge},
        relocate,
    },
    tree::{Node, Value},
};

/// How many values profiles may add to one file: a few hundred resources.
const NODES_MAX: usize = 50_000;

/// What stands in a profile for the value of a parameter begins with this.
const HOLE: char = '$';

/// A profile, and what the user has chosen of it.
struct Chosen {
    profile: Profile,
    values: Vec<(Parameter, Vec<Node>)>,
}

/// Replaces each resource that names a profile by all that is said of it. One whose profile cannot be
/// used keeps the word `profile`. Gives the directories that the profile of each resource reads.
pub(in crate::config) fn expand(
    root: &mut Node,
    diagnostics: &RefCell<Diagnostics>,
) -> Vec<Vec<String>> {
    let mut reads = Vec::new();
    let Value::Map(entries) = &mut root.value else {
        return reads;
    };
    let lists = entries.iter_mut().filter(|(key, _)| key.as_text() == Some("resources"));
    let mut n_nodes = 0;
    for (_, list) in lists {
        let Value::List(resources) = &mut list.value else {
            continue;
        };
        for (idx, resource) in resources.iter_mut().enumerate() {
            reads.resize(idx + 1, Vec::new());
            let Some(named) = resource.get("profile").filter(|it| !it.is_null()).cloned() else {
                continue;
            };
            let item = Item::new(&named, "profile", diagnostics);
            let Some(chosen) = chosen(item) else { continue };
            let Some(base) = chosen.resource(item) else { continue };
            reads[idx].clone_from(&chosen.profile.reads);
            n_nodes += base.size();
            if n_nodes > NODES_MAX {
                let what = format!("the profiles of the file up to here are more than {NODES_MAX}");
                item.refuse_with::<()>(format!("{what} values"), "write fewer resources");
                return reads;
            }
            let mut own = resource.clone();
            if let Value::Map(entries) = &mut own.value {
                entries.retain(|(key, _)| key.as_text() != Some("profile"));
            }
            *resource = merge(Layer::User, base, own);
        }
    }
    reads
}

/// `NAME`, or a map of the name and the parameters.
fn chosen(item: Item<'_>) -> Option<Chosen> {
    if let Value::Scalar { .. } = item.node.value {
        let profile = find(item)?;
        return Some(Chosen { values: defaults(&profile, item), profile });
    }
    let mut fields = item.fields_or(|_| None)?;
    let profile = fields.require("name").map(|it| it.named("the name of a profile"))?;
    let profile = find(profile)?;
    let mut values = defaults(&profile, item);
    let mut is_fine = true;
    for given in fields.rest() {
        let Some((parameter, value)) = values.iter_mut().find(|(it, _)| it.name == given.what)
        else {
            let what = format!("profile {} has no parameter {}", profile.name, quoted(given.what));
            given.at_key().refuse_with::<()>(what, known(&profile, given.what));
            is_fine = false;
            continue;
        };
        if given.node.is_null() {
            continue;
        }
        match checked(given, parameter) {
            Some(nodes) => *value = nodes,
            None => is_fine = false,
        }
    }
    is_fine.then_some(Chosen { profile, values })
}

fn find(item: Item<'_>) -> Option<Profile> {
    let text = item.text()?;
    match Profile::find(text) {
        Some(Ok(profile)) => Some(profile),
        Some(Err(err)) => item.refuse(format!("profile {text} is broken: {err}")),
        None => {
            let help = match near(text, Profile::names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`chandler profiles` lists them".to_owned(),
            };
            item.refuse_with(format!("unknown profile {}", quoted(text)), help)
        }
    }
}

fn known(profile: &Profile, text: &str) -> String {
    let names: Vec<&str> = profile.parameters.iter().map(|it| it.name.as_str()).collect();
    match (near(text, names.iter().copied()), names.is_empty()) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, true) => "it has none; what is of the resource stands beside `profile`".to_owned(),
        (None, false) => format!("it has: {}", names.join(", ")),
    }
}

fn defaults(profile: &Profile, item: Item<'_>) -> Vec<(Parameter, Vec<Node>)> {
    let node = |parameter: &Parameter, text: &String| Node {
        position: item.node.position,
        // What may be several is names and numbers that identify, such as `02`, and no amount.
        value: Value::Scalar { text: text.clone(), quoted: parameter.is_list },
    };
    let parameters = profile.parameters.iter();
    let nodes = |it: &Parameter| it.default.iter().map(|text| node(it, text)).collect();
    parameters.map(|it| (it.clone(), nodes(it))).collect()
}

/// The values that are given to a parameter, if it may have them.
fn checked(item: Item<'_>, parameter: &Parameter) -> Option<Vec<Node>> {
    let nodes = match &item.node.value {
        Value::List(items) if parameter.is_list => items.clone(),
        Value::Scalar { .. } | Value::List(_) | Value::Map(_) => vec![item.node.clone()],
    };
    let mut is_fine = true;
    for node in &nodes {
        let item = item.on(node);
        let Some(text) = item.text() else {
            is_fine = false;
            continue;
        };
        let values = &parameter.values;
        if !values.is_empty() && !values.iter().any(|it| it == text) {
            let what = format!("{} cannot be {}", item.what, quoted(text));
            item.refuse_with::<()>(what, format!("it is one of {}", values.join(", ")));
            is_fine = false;
        }
    }
    is_fine.then_some(nodes)
}

impl Chosen {
    /// What the profile says of a resource for the values that are chosen, as if it stood where `item`
    /// does.
    fn resource(&self, item: Item<'_>) -> Option<Node> {
        let mut all = self.profile.resource.clone();
        relocate(&mut all, item.node.position, self.profile.name);
        for part in &self.profile.parts {
            let holds = part.when.iter().all(|it| self.is_one_of(&it.parameter, &it.values));
            if !holds {
                continue;
            }
            if let Some(why) = &part.refuse {
                return item.refuse(format!("profile {}: {why}", self.profile.name));
            }
            if let Some(mut over) = part.resource.clone() {
                relocate(&mut over, item.node.position, self.profile.name);
                all = merge(Layer::Part, all, over);
            }
        }
        self.filled(all, item)
    }

    fn is_one_of(&self, parameter: &str, wanted: &[String]) -> bool {
        let is_wanted = |value: &Node| {
            wanted.iter().any(|it| it == "*" || value.as_text() == Some(it.as_str()))
        };
        self.value(parameter).is_some_and(|values| values.iter().any(is_wanted))
    }

    fn value(&self, parameter: &str) -> Option<&[Node]> {
        let found = self.values.iter().find(|(it, _)| it.name == parameter);
        found.map(|(_, values)| values.as_slice())
    }

    /// The values of parameters put where `$NAME` stands for them.
    fn filled(&self, node: Node, item: Item<'_>) -> Option<Node> {
        let Node { position, value } = node;
        let value = match value {
            Value::Scalar { text, quoted: false } if text.starts_with(HOLE) => {
                let values = self.hole(&text, item)?;
                return match <[Node; 1]>::try_from(values) {
                    Ok([one]) => Some(one),
                    Err(several) => Some(Node { position, value: Value::List(several) }),
                };
            }
            scalar @ Value::Scalar { .. } => scalar,
            Value::List(items) => {
                let mut all = Vec::new();
                for it in items {
                    match it.as_bare().filter(|text| text.starts_with(HOLE)) {
                        Some(hole) => all.extend(self.hole(hole, item)?),
                        None => all.push(self.filled(it, item)?),
                    }
                }
                Value::List(all)
            }
            Value::Map(entries) => {
                let filled =
                    entries.into_iter().map(|(key, value)| Some((key, self.filled(value, item)?)));
                Value::Map(filled.collect::<Option<Vec<_>>>()?)
            }
        };
        Some(Node { position, value })
    }

    fn hole(&self, text: &str, item: Item<'_>) -> Option<Vec<Node>> {
        let name = text.trim_start_matches(HOLE);
        match self.value(name).filter(|it| !it.is_empty()) {
            Some(values) => Some(values.to_vec()),
            None => {
                let profile = self.profile.name;
                item.refuse(format!("profile {profile} needs a value for its parameter `{name}`"))
            }
        }
    }
}
