//! `chandler capture`.

use std::path::Path;

use crate::{
    cli::{Args, cordoning::Mistake, setup::write_new},
    host::Host,
    operate::capture::{Captured, capture},
};

/// Writes what is known of this machine into `output`, which must not exist; gives what to tell the operator.
pub(super) fn capture_into(args: &Args, output: &Path) -> Result<String, Mistake> {
    let Captured { archive, n_entries, n_made_up } = capture(&Host::new(&args.host_root));
    write_new(output, &archive, "")?;
    let shown = output.display();
    Ok(format!(
        "{shown} has {n_entries} files; {n_made_up} serial numbers and addresses in it are made up\n\
         look into it before you give it away; unpacked with `tar xf {shown} -C DIR`, it is read by \
         `chandler discover --host-root DIR`\n"
    ))
}
