//! `chandler profiles`.

use crate::{
    cli::cordoning::Mistake,
    config::{Profile, near, quoted},
};

/// All profiles: what each is called, its resource, and what it offers.
pub(super) fn table() -> String {
    let all = Profile::all();
    let rows = all.iter().map(|it| {
        let note = if it.is_seen { "" } else { " (not seen on hardware)" };
        (it.name, it.resource_name().unwrap_or("-"), format!("{}{note}", it.offers))
    });
    let head = ("PROFILE", "RESOURCE", "OFFERS".to_owned());
    let rows: Vec<(&str, &str, String)> = [head].into_iter().chain(rows).collect();
    let width = |of: fn(&(&str, &str, String)) -> usize| rows.iter().map(of).max().unwrap_or(0);
    let (names, resources) = (width(|it| it.0.len()), width(|it| it.1.len()));
    let mut table = String::new();
    for (name, resource, offers) in &rows {
        table += &format!("{name:names$}  {resource:resources$}  {offers}\n");
    }
    table
}

/// The text of one.
pub(super) fn text(name: &str) -> Result<String, Mistake> {
    let found = Profile::all().into_iter().find(|it| it.name == name);
    found.map(|it| it.text.to_owned()).ok_or_else(|| {
        let help = near(name, Profile::names()).map_or_else(
            || "`chandler profiles` lists them".to_owned(),
            |it| format!("did you mean `{it}`?"),
        );
        Mistake::Usage(format!("unknown profile {}; {help}", quoted(name)))
    })
}
